//! Networks and their weights as ONNX files.
//!
//! [`Weights`] are named tensors that travel between crates and files (safetensors). [`to_onnx`] turns a network and
//! its weights into the bytes of an ONNX model: batch normalisation folded, every node and tensor named after its
//! block ([`block_of`] reads the name back), classes and preprocessing in the metadata ([`read_metadata`]). [`quantize`]
//! makes one of 8-bit numbers of it.
//!
//! ```
//! use netfit_export::{ModelInfo, Weights, to_onnx};
//! use netfit_spaces::{Network, Random};
//!
//! let network: Network = "conv k3 s2 hswish 1x9x9 -> 8x5x5\npool 8x5x5 -> 8x1x1\nlinear 8x1x1 -> 3x1x1".parse()?;
//! let weights = Weights::random(&network, &mut Random::new(0, "weights"));
//! let model = to_onnx(&network, &weights, &ModelInfo::unlabelled(&network))?;
//! let nodes = netfit_export::nodes(&model)?;
//! assert_eq!(nodes[0].name, "b00_conv/conv/conv");
//! assert_eq!(netfit_export::block_of(&nodes[0].name), Some(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod fold;
mod graph;
mod metadata;
mod model;
mod names;
mod proto;
mod quantize;
mod random;
#[cfg(test)]
mod reference;
mod size;
mod weights;

pub use error::{Error, Result};
pub use metadata::{ModelInfo, read_metadata};
pub use model::{Node, nodes, save_model, to_onnx, to_onnx_at_batch};
pub use names::{INPUT, OUTPUT, block_of};
pub use quantize::{Ranges, any_ranges, is_quantized, observable, quantize};
pub use size::{block_bytes, quantized_block_bytes};
pub use weights::{Tensor, Weights};
