//! What can be wrong with weights and models.

use std::path::PathBuf;

/// An error of this crate; each message names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is wrong with a network.
    #[error(transparent)]
    Space(#[from] netfit_spaces::Error),
    /// A file that cannot be read.
    #[error("cannot read `{path}`: {source}; hint: is it there, and may you read it?")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write `{path}`: {source}; hint: is the folder there, writable and not full?")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it cannot be written.
        source: std::io::Error,
    },
    /// A file that is no whole safetensors file of 32-bit floats.
    #[error(
        "weights `{path}`: {reason}; hint: the file is damaged or not one of netfit's, write it again"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        reason: String,
    },
    /// A tensor that the network needs and the weights lack.
    #[error(
        "no tensor `{name}` among {count} weights; hint: these weights belong to another network"
    )]
    Missing {
        /// The tensor's name.
        name: String,
        /// How many tensors there are.
        count: usize,
    },
    /// A tensor that the network does not have.
    #[error(
        "unexpected tensor `{name}`: the network has none of that name; hint: these weights belong to another network"
    )]
    Unexpected {
        /// The tensor's name.
        name: String,
    },
    /// A tensor of another shape than the network's.
    #[error(
        "tensor `{name}`: expected the shape {expected:?}, found {found:?}; hint: these weights belong to another network"
    )]
    Shape {
        /// The tensor's name.
        name: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The weights' shape.
        found: Vec<usize>,
    },
    /// A tensor whose shape and data disagree.
    #[error(
        "tensor `{name}`: expected {} numbers for the shape {shape:?}, found {found}; hint: write the file anew",
        shape.iter().fold(1, |product: usize, &side| product.saturating_mul(side))
    )]
    Elements {
        /// The tensor's name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How many numbers it holds.
        found: usize,
    },
    /// A number that no trained network holds.
    #[error(
        "tensor `{name}`: found {value}, expected {expected}; hint: training has diverged, go back to an earlier checkpoint"
    )]
    Value {
        /// The tensor's name.
        name: String,
        /// The number.
        value: f64,
        /// What it should be.
        expected: &'static str,
    },
    /// Facts about a model that do not fit its network.
    #[error("model information: {0}")]
    Info(String),
    /// Something that is not an ONNX model.
    #[error("not an ONNX model: {reason}; hint: the file is damaged or of another kind")]
    Onnx {
        /// Where and why.
        reason: String,
    },
    /// A model that cannot be quantised.
    #[error(
        "node `{node}` is a {op}, which is not quantised; hint: expected a model of 32-bit numbers as netfit exports it"
    )]
    Quantize {
        /// The first node that stands in the way.
        node: String,
        /// Its operator.
        op: String,
    },
    /// A tensor that cannot be quantised.
    #[error(
        "tensor `{tensor}`: expected a smallest and a largest number to quantise by, found {found:?}; hint: are the \
         network's weights and its images ordinary numbers?"
    )]
    Range {
        /// The tensor's name.
        tensor: String,
        /// What was known; not numbers where nothing was.
        found: [f32; 2],
    },
    /// A model beyond protobuf's limit.
    #[error("the model takes {bytes} bytes, expected at most {limit}; hint: use a smaller network")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
