//! Latency tables: measured block latencies, calibrated on whole networks.
//!
//! A [`LatencyTable`] holds one time for each block of a search space on one device ([`Fingerprint`]), a
//! [`Calibration`] that turns sums of block times into latencies of whole networks, and a [`Validation`] on networks
//! that the calibration has not seen. Times are seconds, of one call on the whole batch. Latencies are medians; where
//! percentiles of single calls were measured, a [`Tail`] predicts each from the median.
//!
//! Two clocks are kept apart. *Raw* seconds are what a user's budget is about; they drift by several per cent between
//! processes. *Reference-normalised* seconds are `time / time of the reference network in the same process * the
//! reference's stored median`: the drift cancels, so calibration and errors are computed in them.
//!
//! ```
//! use netfit_latency_tables::{Errors, Timing};
//!
//! let timing = Timing::of(&[2.0e-3, 2.1e-3, 1.9e-3, 9.0e-3]).ok_or("no samples")?;
//! assert!((timing.median_s - 2.05e-3).abs() < 1e-12);
//! let errors = Errors::of(&[1.0, 2.0, 3.1], &[1.0, 2.0, 3.0]);
//! assert!((errors.kendall_tau - 1.0).abs() < 1e-12 && errors.within_5 > 0.99);
//! # Ok::<(), &str>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bend;
mod bootstrap;
mod calibration;
mod correction;
mod csv;
mod diff;
mod error;
mod file;
mod fingerprint;
mod fitting;
mod hygiene;
mod merge;
mod metrics;
mod noise;
mod regression;
mod ridge;
mod statistics;
mod table;
mod tails;
mod timing;
mod validation;

pub use bend::Bend;
pub use bootstrap::{Bootstrap, Estimate};
pub use calibration::{COVERAGE, Calibration, Candidate, LEAST_NETWORKS};
pub use correction::{Affine, Correction};
pub use diff::{BlockDiff, FieldDiff, TableDiff};
pub use error::{Error, Result};
pub use file::FORMAT;
pub use fingerprint::{Difference, Fingerprint};
pub use hygiene::{Hygiene, Verdict};
pub use metrics::{Errors, kendall_tau, rmspe, spearman, within};
pub use noise::{ANCHORS, standard_error};
pub use regression::fit as robust_fit;
pub use statistics::{mad, median, quantile, trimmed_mean};
pub use table::{Entry, Latency, LatencyTable, Reference, Source};
pub use tails::{Tail, TailTiming, TailValidation};
pub use timing::{NetworkTiming, Timing};
pub use validation::Validation;
