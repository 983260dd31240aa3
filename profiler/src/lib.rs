//! Measures networks and blocks on devices and builds latency tables.
//!
//! A [`Device`] runs models and tells times: [`OrtDevice`] drives one of ONNX Runtime's providers in a process of its own,
//! [`CudaDevice`] libtorch on a GPU, [`FakeDevice`] needs no clock. [`profile`] makes a latency table of a search space,
//! [`validate`] judges one on fresh networks, [`measure`] times any ONNX file. [`Session`] runs a model for its results.
//!
//! ```
//! use netfit_profiler::{FakeDevice, ProfileOptions, profile};
//! use netfit_spaces::Space;
//!
//! let space = Space::preset("ofa-28")?;
//! let table = profile(&space, &mut FakeDevice::new(0), &ProfileOptions::default(), &mut |_| {})?;
//! assert_eq!(table.entries().count(), space.distinct_blocks().len());
//! # Ok::<(), netfit_profiler::Error>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod anchors;
mod canary;
mod connection;
pub mod conversation;
mod cores;
mod cuda;
mod device;
mod draw;
mod error;
mod fake;
mod files;
mod gate;
mod gpu;
mod journal;
mod levels;
mod measure;
mod memory;
mod model_folder;
mod ort_device;
mod precision;
mod probe;
mod profile;
mod protocol;
mod provider;
mod runtime;
mod samples;
mod session;
mod sources;
mod speed;
mod states;
mod tails;
mod trace;
mod validate;
mod views;
mod weights;
mod whole;
pub mod worker;

#[cfg(test)]
mod conformance;

#[doc(hidden)]
pub use connection::Server;
pub use cuda::{CUDA, CudaDevice, CudaOptions};
pub use device::{BlockTimes, Burst, Device, Model, Progress, Ran};
pub use error::{Error, Result};
pub use fake::FakeDevice;
pub use files::{FileTiming, time_files};
pub use gpu::{Driver, Gpu, GpuClock, Reading};
pub use measure::{MeasureOptions, Measurement, measure};
pub use ort_device::{OrtDevice, OrtOptions};
pub use precision::{Precision, sums_saturate};
pub use probe::Probe;
pub use profile::{ProfileOptions, profile};
pub use protocol::Protocol;
pub use provider::Provider;
pub use runtime::library;
pub use session::{Session, extremes};
pub use sources::{IN_PLACE, NEIGHBOURS};
pub use validate::{TimedNetworks, time_networks, validate};
