//! What can be chosen in a space, and where blocks stand.

use std::fmt;

/// One categorical choice; its values are `0..size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What is chosen, and where.
    pub kind: ChoiceKind,
    /// How many values there are.
    pub size: usize,
    /// Active only while the choice at `.0` has at least the value `.1`.
    pub(crate) condition: Option<(usize, u8)>,
}

impl Choice {
    /// Whether it matters among these values of all choices, or of those before it.
    pub fn active(&self, values: &[u8]) -> bool {
        self.condition.is_none_or(|(on, least)| values[on] >= least)
    }
}

/// What a choice is about; stages and layers count from 0. What all layers of a stage share stands at its layer 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChoiceKind {
    /// Side of the input image.
    Resolution,
    /// Number of layers of a stage.
    Depth {
        /// Its stage.
        stage: usize,
    },
    /// Kernel of a layer.
    Kernel {
        /// Its stage.
        stage: usize,
        /// Its layer.
        layer: usize,
    },
    /// Expansion ratio of a layer.
    Expand {
        /// Its stage.
        stage: usize,
        /// Its layer.
        layer: usize,
    },
    /// One of a layer's listed ops.
    Op {
        /// Its stage.
        stage: usize,
        /// Its layer.
        layer: usize,
    },
    /// Squeeze-and-excite of all layers of a stage.
    Squeeze {
        /// Its stage.
        stage: usize,
    },
    /// What all layers of a stage but the first add to their outputs.
    Skip {
        /// Its stage.
        stage: usize,
    },
    /// Output channels of a stage.
    Width {
        /// Its stage.
        stage: usize,
    },
}

/// A place of the space where a block can stand; prints as `stages.1.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// The n-th block before the stages.
    Stem(usize),
    /// A layer of a stage.
    Layer {
        /// Its stage.
        stage: usize,
        /// Its layer.
        layer: usize,
    },
    /// The n-th block after the stages.
    Head(usize),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stem(index) => write!(f, "stem.{index}"),
            Self::Layer { stage, layer } => write!(f, "stages.{stage}.{layer}"),
            Self::Head(index) => write!(f, "head.{index}"),
        }
    }
}
