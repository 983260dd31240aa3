//! Accuracy predictors and latency models of networks.
//!
//! [`Accuracy`] scores genotypes and [`LatencyModel`] times them, both in batches. [`Mlp`] is the predictor of
//! Once-for-All, [`CsvAccuracy`] a file of known accuracies, [`TableLatency`] a latency table as an index by choice.
//!
//! ```
//! use netfit_predictors::{Accuracy as _, Mlp, MlpOptions};
//! use netfit_spaces::{Random, Space};
//!
//! let space = Space::preset("nas-bench-macro")?;
//! let mut random = Random::new(0, "example");
//! let known: Vec<_> = (0..40)
//!     .map(|_| space.sample(&mut random))
//!     .map(|genotype| {
//!         let accuracy = 0.5 + 0.01 * f64::from(genotype.values()[0]);
//!         (genotype, accuracy)
//!     })
//!     .collect();
//! let options = MlpOptions { layers: vec![32], epochs: 30, ..MlpOptions::default() };
//! let mut predictor = Mlp::fit(&space, &known, &options)?;
//! let predicted = predictor.accuracies(&[space.smallest(), space.largest()])?;
//! assert!(predicted[0] < predicted[1]);
//! # Ok::<(), netfit_predictors::Error>(())
//! ```

mod accuracy;
mod block_cost;
mod block_latency;
mod dense;
mod error;
mod evaluate;
mod file;
mod inference;
mod known;
mod latency;
mod mlp;
mod product;
mod sums;

pub use accuracy::Accuracy;
pub use block_latency::{BlockErrors, BlockLatency, GroupError};
pub use error::{Error, Result};
pub use evaluate::{Evaluation, cross_validate};
pub use known::CsvAccuracy;
pub use latency::{LatencyModel, TableLatency};
pub use mlp::{Mlp, MlpOptions};
pub use netfit_latency_tables::Latency;
pub use sums::BlockSums;
