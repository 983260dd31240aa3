//! Numbers that devices compute with.

use serde::{Deserialize, Serialize};

/// Whether ONNX Runtime's sums of two products of 8-bit numbers saturate at 16 bits on this processor, so that weights want
/// 7 bits: on x86-64 without VNNI.
pub fn sums_saturate() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !(is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni"));
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Numbers that a device computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point throughout.
    #[default]
    Fp32,
    /// 32 bits in memory; products of tensor cores take 10 bits of each mantissa.
    Tf32,
    /// 16-bit floating point.
    Fp16,
    /// 16 bits with the exponent of 32.
    Bf16,
    /// 8-bit whole numbers, but where the network has no such operation ([`netfit_export::quantize`]).
    Int8,
}

impl Precision {
    /// As in `--device cuda:0,precision=fp16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// As in a table's fingerprint.
    pub fn long_name(self) -> &'static str {
        match self {
            Self::Fp32 => "float32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::Int8 => "int8",
        }
    }
}
