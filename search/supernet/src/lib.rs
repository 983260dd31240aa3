//! Supernets in libtorch: elastic blocks, training and evaluation.
//!
//! A [`Supernet`] shares its weights among all networks of a space; a [`Standalone`] network has its own. [`serve`] trains
//! for another process: a supernet by progressive shrinking, whose subnets it judges and cuts out; an architecture beside
//! candidates that share no weights; networks of their own from scratch.
//!
//! ```
//! use netfit_spaces::Space;
//! use netfit_supernet::{Standalone, Supernet};
//! use tch::{Device, Kind, Tensor};
//!
//! let space = Space::preset("ofa-28")?;
//! let supernet = Supernet::new(&space, Device::Cpu, 0)?;
//! let images = Tensor::rand([4, 1, 28, 28], (Kind::Float, Device::Cpu));
//! let statistics = supernet.calibrate(&space.smallest(), [images.shallow_clone()]);
//! let weights = supernet.extract(&space.smallest(), &statistics);
//! let module = Standalone::new(&space.network(&space.smallest()), &weights, Device::Cpu)?;
//! assert_eq!(module.logits(&images).size(), [4, 10]);
//! # Ok::<(), netfit_supernet::Error>(())
//! ```

mod ahead;
mod allocator;
mod checkpoint;
mod context;
mod cuda;
mod depthwise;
mod elastic;
mod elastic_block;
mod error;
mod evaluation;
mod extract;
mod feed;
mod images;
mod initial;
mod layout;
mod ops;
mod pace;
mod parameters;
mod pixels;
mod proxyless;
mod range;
mod schedule;
mod scratch;
mod serve;
mod settings;
mod sgd;
mod sort;
mod standalone;
mod statistics;
mod still;
#[cfg(test)]
mod tests;
mod training;
mod words;

pub use allocator::keep_large_buffers;
pub use context::{Autocast, allow_tf32, peak_memory, torch_version};
pub use elastic::Supernet;
pub use error::{Error, Result};
pub use layout::channels_last;
pub use parameters::Parameters;
pub use serve::serve;
pub use settings::device;
pub use sgd::Sgd;
pub use standalone::Standalone;
pub use statistics::{Mode, Statistics};
pub use words::Refusal;
