//! What can go wrong in training, evaluating and extracting.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A space whose slots cannot share weights.
    #[error(
        "space `{space}` cannot be trained as one Once-for-All supernet: {reason}; hint: give every stage `kernel` and `expand` lists, as `ofa-28` does"
    )]
    NotElastic {
        /// The space's name.
        space: String,
        /// Where, expected and found.
        reason: String,
    },
    /// A space whose choices are not one of `ops` in each layer.
    #[error(
        "space `{space}` cannot be trained as a supernet of candidates: {reason}; hint: give every stage `ops` and one `depth`, as `proxyless-28` does"
    )]
    NotCandidates {
        /// The space's name.
        space: String,
        /// Where, expected and found.
        reason: String,
    },
    /// A device that is not there, or not known.
    #[error(
        "device `{device}`: {reason}; hint: `cpu` always works (`--train-device cpu` trains on the processor)"
    )]
    Device {
        /// The device as it was asked for.
        device: String,
        /// Expected and found.
        reason: String,
    },
    /// A setting outside its range.
    #[error(
        "setting `{name}`: expected {expected}, found {found}; hint: change it in the configuration"
    )]
    Setting {
        /// The table of the configuration and the key in it.
        name: String,
        /// What is allowed.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Data that does not fit the space, or is too small.
    #[error("data: expected {expected}, found {found}; hint: {remedy}")]
    Images {
        /// What the space or the settings ask for.
        expected: String,
        /// What the data set holds.
        found: String,
        /// What to change.
        remedy: &'static str,
    },
    /// A loss that is not a number.
    #[error(
        "the loss became {loss} in phase `{phase}` at step {step}; hint: the last checkpoint is kept, lower `{setting}` and start a new run"
    )]
    Diverged {
        /// NaN or an infinity.
        loss: f64,
        /// The phase's name.
        phase: String,
        /// The step in the phase.
        step: u64,
        /// The learning rate's key in `[training]`.
        setting: &'static str,
    },
    /// A checkpoint of another run.
    #[error(
        "checkpoint `{path}` was made with another {what}; hint: use another run folder, or remove its `checkpoints`"
    )]
    Checkpoint {
        /// The state file.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A checkpoint that is not whole.
    #[error("checkpoint `{path}`: {reason}; hint: remove the folder `checkpoints` to start again")]
    BrokenCheckpoint {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        reason: String,
    },
    /// A tensor of another shape than the space's.
    #[error("tensor `{name}`: expected the shape {expected:?}, found {found:?}")]
    TensorShape {
        /// The tensor's name.
        name: String,
        /// The space's shape.
        expected: Vec<i64>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// An operation that libtorch refuses, for example for want of memory; or a bug.
    #[error("{words}{hint}")]
    Panicked {
        /// The first line of what libtorch says.
        words: String,
        /// What to do about it, if that is known.
        hint: &'static str,
    },
    /// A request that cannot be carried out now.
    #[error("request: {0}")]
    Request(String),
    /// A file that cannot be read or written.
    #[error("cannot access `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The pipe to the other process.
    #[error("cannot answer: {0}")]
    Pipe(#[from] std::io::Error),
    /// A space or genotype.
    #[error(transparent)]
    Space(#[from] netfit_spaces::Error),
    /// The data set.
    #[error(transparent)]
    Data(#[from] netfit_data::Error),
    /// Weights.
    #[error(transparent)]
    Weights(#[from] netfit_export::Error),
}

impl Error {
    /// A setting outside its range.
    pub(crate) fn setting(name: &str, expected: &str, found: &impl ToString) -> Self {
        let (name, expected) = (name.to_owned(), expected.to_owned());
        Self::Setting { name, expected, found: found.to_string() }
    }
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
