//! Devices apart from their parameters.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Error, Result};
use netfit_profiler::{CudaOptions, Precision, Provider};

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    /// ONNX Runtime's CPU provider.
    #[default]
    Cpu,
    /// libtorch on the GPU of this number.
    Cuda(usize),
    /// ONNX Runtime's CUDA provider on it.
    CudaOrt(usize),
    /// ONNX Runtime's `TensorRT` provider on it.
    TensorRt(usize),
}

/// A kind by its name before the GPU's number, and by that number.
type OnGpu = (&'static str, fn(usize) -> DeviceKind);

/// What can be measured on a GPU.
pub(crate) const GPUS: [OnGpu; 3] = [
    ("cuda", DeviceKind::Cuda),
    ("cuda-ort", DeviceKind::CudaOrt),
    ("tensorrt", DeviceKind::TensorRt),
];

impl DeviceKind {
    /// The numbers that it can compute with, its default first.
    pub(super) fn precisions(self) -> &'static [Precision] {
        match self {
            Self::Cpu => Provider::CPU,
            Self::Cuda(_) => CudaOptions::PRECISIONS,
            Self::CudaOrt(_) => Provider::CUDA,
            Self::TensorRt(_) => Provider::TENSORRT,
        }
    }
}

impl FromStr for DeviceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = |(name, kind): OnGpu| {
            let number = text.strip_prefix(name)?.strip_prefix(':')?.parse().ok()?;
            Some(kind(number))
        };
        match text {
            "cpu" => Ok(Self::Cpu),
            _ => GPUS
                .into_iter()
                .find_map(named)
                .context("expected `cpu`, `cuda:NUMBER`, `cuda-ort:NUMBER` or `tensorrt:NUMBER`"),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(gpu) => write!(f, "cuda:{gpu}"),
            Self::CudaOrt(gpu) => write!(f, "cuda-ort:{gpu}"),
            Self::TensorRt(gpu) => write!(f, "tensorrt:{gpu}"),
        }
    }
}
