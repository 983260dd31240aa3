//! Blocks, networks and search spaces: the nouns that every other part of netfit talks about.
//!
//! A [`Block`] is one line of text that prints and parses back. A [`Network`] is blocks in order; its
//! parameters and multiply-adds are exact. A [`Space`] is a list of categorical [`Choice`]s, some of them
//! inactive under others, and a [`Genotype`] is one value for each choice.
//!
//! ```
//! use netfit_spaces::Space;
//!
//! let space = Space::preset("nas-bench-macro")?;
//! let network = space.network(&space.parse("00000000")?);
//! assert_eq!(network.parameters().0, 387_882);
//! assert_eq!(network.multiply_adds().0, 7_713_280);
//! # Ok::<(), netfit_spaces::Error>(())
//! ```

mod alike;
mod block;
mod choice;
mod cost;
mod error;
mod genotype;
mod layer;
mod network;
mod random;
mod shape;
mod space;
mod spec;
mod stage;
mod variation;

pub use block::{Activation, Block, Op, Skip};
pub use choice::{Choice, ChoiceKind, Slot};
pub use cost::{MultiplyAdds, Parameters};
pub use error::{Error, Result};
pub use genotype::Genotype;
pub use layer::{Conv, Layer, LayerKind};
pub use network::{Network, WeightSpec, short_hash};
pub use random::Random;
pub use shape::Shape;
pub use space::Space;
pub use spec::{AlikeSpec, PRESETS, SpaceSpec, StageSpec};

/// Added to the variance by every batch normalisation, in training and when it is folded.
pub const NORM_EPSILON: f64 = 1e-5;
