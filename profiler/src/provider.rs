//! ONNX Runtime's execution providers.

use std::path::Path;

use ort::ep::{
    ArenaExtendStrategy, CPU, CUDA, ExecutionProvider, ExecutionProviderDispatch, TensorRT,
    cuda::ConvAlgorithmSearch,
};
use serde::{Deserialize, Serialize};

use crate::{Driver, Error, Precision, Result, gpu::Chip};

/// What ONNX Runtime runs a device's networks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// The processor, in one of [`Provider::CPU`].
    Cpu {
        /// The numbers that it computes with.
        precision: Precision,
    },
    /// A GPU by cuDNN, in one of [`Provider::CUDA`].
    Cuda {
        /// Its number, as `CUDA_VISIBLE_DEVICES` leaves it.
        gpu: usize,
        /// The numbers that it computes with.
        precision: Precision,
    },
    /// A GPU by `TensorRT`, in one of [`Provider::TENSORRT`].
    TensorRt {
        /// Its number, as `CUDA_VISIBLE_DEVICES` leaves it.
        gpu: usize,
        /// The numbers that it computes with.
        precision: Precision,
    },
}

impl Default for Provider {
    /// The processor, in 32 bits.
    fn default() -> Self {
        Self::Cpu { precision: Precision::Fp32 }
    }
}

impl Provider {
    /// What the processor can compute with, its usual one first.
    pub const CPU: &'static [Precision] = &[Precision::Fp32, Precision::Int8];
    /// What the CUDA provider can compute with, its usual one first.
    pub const CUDA: &'static [Precision] = &[Precision::Fp32, Precision::Tf32];
    /// What the `TensorRT` provider can compute with, its usual one first: of 32-bit products it takes what it may.
    pub const TENSORRT: &'static [Precision] = &[Precision::Tf32, Precision::Fp16, Precision::Bf16];

    /// As ONNX Runtime spells it; a table's fingerprint has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu { .. } => "CPUExecutionProvider",
            Self::Cuda { .. } => "CUDAExecutionProvider",
            Self::TensorRt { .. } => "TensorrtExecutionProvider",
        }
    }

    /// The GPU's number, if it is one.
    pub fn gpu(self) -> Option<usize> {
        match self {
            Self::Cpu { .. } => None,
            Self::Cuda { gpu, .. } | Self::TensorRt { gpu, .. } => Some(gpu),
        }
    }

    /// The numbers that it computes with.
    pub fn precision(self) -> Precision {
        match self {
            Self::Cpu { precision }
            | Self::Cuda { precision, .. }
            | Self::TensorRt { precision, .. } => precision,
        }
    }

    /// For a session; an error where it does not work, never another provider in its place. What `TensorRT` builds goes to
    /// `cache`: the next process takes it from there.
    pub(crate) fn dispatch(self, cache: &Path) -> Result<ExecutionProviderDispatch> {
        let dispatch = match self {
            Self::Cpu { .. } => {
                self.check::<CPU>(Self::CPU)?;
                // Without `with_arena_allocator` ort turns the runtime's own default off.
                CPU::default().with_arena_allocator(true).build()
            }
            Self::Cuda { gpu, precision } => {
                self.check::<CUDA>(Self::CUDA)?;
                let provider = CUDA::default()
                    .with_device_id(self.number(gpu)?)
                    .with_tf32(precision == Precision::Tf32)
                    // A search by trial chooses others from process to process, and takes memory for each.
                    .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
                    // Many sessions share the GPU: each takes what it needs, not the next power of two.
                    .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested);
                provider.build()
            }
            Self::TensorRt { gpu, precision } => {
                self.check::<TensorRT>(Self::TENSORRT)?;
                let provider = TensorRT::default()
                    .with_device_id(self.number(gpu)?)
                    .with_fp16(precision == Precision::Fp16)
                    .with_bf16(precision == Precision::Bf16)
                    .with_engine_cache(true)
                    .with_engine_cache_path(cache.display())
                    .with_timing_cache(true)
                    .with_timing_cache_path(cache.display());
                provider.build()
            }
        };
        Ok(dispatch.error_on_failure())
    }

    fn check<P: ExecutionProvider>(self, precisions: &[Precision]) -> Result<()> {
        let precision = self.precision();
        if !precisions.contains(&precision) {
            return Err(self.unusable(&format!("it does not compute in {}", precision.name())));
        }
        if !P::is_available()? {
            return Err(self.unusable("this ONNX Runtime was built without it"));
        }
        Ok(())
    }

    fn number(self, gpu: usize) -> Result<i32> {
        i32::try_from(gpu).map_err(|_| self.unusable(&format!("there is no GPU {gpu}")))
    }

    pub(crate) fn unusable(self, reason: &str) -> Error {
        Error::Provider { provider: self.name(), reason: reason.to_owned() }
    }

    /// What the driver tells of the GPU, if it is one.
    pub(crate) fn chip(self, driver: &Driver) -> Result<Option<Chip>> {
        let Some(gpu) = self.gpu() else { return Ok(None) };
        driver.chip(gpu).map(Some).map_err(|reason| self.unusable(&reason))
    }
}
