//! Times networks on an NVIDIA GPU: libtorch runs them, CUDA events tell when.
//!
//! [`serve`] is the process that `netfit_profiler::CudaDevice` talks to. Inputs lie on the GPU in channels-last order and
//! outputs stay there, batch normalisation is folded into the filters, and a call ends when its last kernel does. An
//! event at each block's end, inside whole networks, is what ONNX Runtime's record of nodes is on processors.

mod clock;
mod error;
mod gpu;
mod worker;

pub(crate) use error::{Error, Result};
pub use worker::serve;
