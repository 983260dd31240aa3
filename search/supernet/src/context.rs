//! libtorch as a whole (`shim/context.cpp`).
// Foreign functions: one returns a text that lives as long as the program, the others set flags or return numbers.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use netfit_search::job::Precision;
use tch::Device;

unsafe extern "C" {
    fn netfit_torch_version() -> *const c_char;
    fn netfit_tf32() -> Tf32;
    fn netfit_allow_tf32(allowed: Tf32);
    fn netfit_deterministic(wanted: bool);
    fn netfit_autocast(gpu: bool, begin: bool);
    fn netfit_peak_memory(gpu: i32) -> u64;
    fn netfit_free_memory(gpu: i32) -> u64;
}

/// Where tensor cores may take 10 bits of each mantissa in products of 32-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Tf32 {
    matrices: bool,
    convolutions: bool,
}

/// The version of libtorch that this was compiled with.
pub fn torch_version() -> String {
    // SAFETY: it returns a literal.
    unsafe { CStr::from_ptr(netfit_torch_version()) }.to_string_lossy().into_owned()
}

/// Whether tensor cores may take 10 bits of each mantissa in products of 32-bit numbers. libtorch's own default is
/// yes for convolutions and no for matrices.
pub fn allow_tf32(allowed: bool) {
    set_tf32(Tf32 { matrices: allowed, convolutions: allowed });
}

fn set_tf32(allowed: Tf32) {
    // SAFETY: it sets two flags of libtorch's context, which it guards itself.
    unsafe { netfit_allow_tf32(allowed) }
}

fn tf32() -> Tf32 {
    // SAFETY: it reads two flags of libtorch's context.
    unsafe { netfit_tf32() }
}

/// While this is kept, products of 32-bit numbers are computed from all their bits, whatever [`allow_tf32`] has set;
/// dropped, it puts back what was there.
#[derive(Debug)]
pub(crate) struct Exact {
    before: Tf32,
}

impl Exact {
    pub(crate) fn begin() -> Self {
        let before = tf32();
        allow_tf32(false);
        Self { before }
    }
}

impl Drop for Exact {
    fn drop(&mut self) {
        set_tf32(self.before);
    }
}

/// Whether a GPU is kept to algorithms whose sums are the same each time. An operation that has none is then an error.
pub(crate) fn deterministic(wanted: bool) {
    // SAFETY: it sets flags of libtorch's context, which it guards itself.
    unsafe { netfit_deterministic(wanted) }
}

/// The most bytes that tensors took on a GPU at one time, since this process began; `None` for a CPU.
pub fn peak_memory(device: Device) -> Option<u64> {
    match device {
        // SAFETY: it takes and returns plain numbers; what libtorch throws is caught.
        Device::Cuda(gpu) => Some(unsafe { netfit_peak_memory(gpu as i32) }),
        _ => None,
    }
}

/// The bytes that a GPU has for new tensors now; `None` for a CPU, and where libtorch does not tell.
pub(crate) fn free_memory(device: Device) -> Option<u64> {
    let Device::Cuda(gpu) = device else { return None };
    // SAFETY: it takes and returns plain numbers; what libtorch throws is caught.
    Some(unsafe { netfit_free_memory(gpu as i32) }).filter(|&bytes| bytes > 0)
}

/// What a training's forward passes run in.
#[derive(Clone, Copy, Debug)]
pub struct Autocast {
    gpu: bool,
    mixed: bool,
}

impl Autocast {
    /// For a training in this precision on this device.
    pub fn new(precision: Precision, device: Device) -> Self {
        Self { gpu: device.is_cuda(), mixed: precision == Precision::Bf16 }
    }

    /// Runs a forward pass. In mixed precision each product is computed in bfloat16 and each sum over many numbers in 32
    /// bits, as libtorch lists them; gradients follow what was computed.
    pub fn run<T>(self, forward: impl FnOnce() -> T) -> T {
        let _stretch = self.mixed.then(|| Stretch::begin(self.gpu));
        forward()
    }
}

/// A stretch in mixed precision; it ends when this is dropped.
struct Stretch {
    gpu: bool,
}

impl Stretch {
    fn begin(gpu: bool) -> Self {
        // SAFETY: it sets flags of this thread.
        unsafe { netfit_autocast(gpu, true) }
        Self { gpu }
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        // SAFETY: as above, and `begin` came before.
        unsafe { netfit_autocast(self.gpu, false) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn products_have_16_bits_within_a_stretch_and_gradients_32() {
        let _alone = crate::tests::alone();
        tch::manual_seed(1);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (x, weight) = (random(&[8, 32]), random(&[32, 4]).set_requires_grad(true));
        let exact = x.matmul(&weight);
        for (precision, kind) in [(Precision::Bf16, Kind::BFloat16), (Precision::Fp32, Kind::Float)]
        {
            let found = Autocast::new(precision, Device::Cpu).run(|| x.matmul(&weight));
            assert_eq!(found.kind(), kind);
            let error = (found.to_kind(Kind::Float) - &exact).abs().max();
            assert!(f64::try_from(&error).unwrap() < 0.1, "{precision:?}: {error}");
            let gradient =
                Tensor::run_backward(&[found.sum(Kind::Float)], &[&weight], false, false);
            assert_eq!(gradient[0].kind(), Kind::Float);
        }
        // Nothing is left behind, not even after a panic.
        let caught = std::panic::catch_unwind(|| {
            Autocast::new(Precision::Bf16, Device::Cpu).run(|| panic!("in a forward pass"))
        });
        assert!(caught.is_err());
        assert_eq!(x.matmul(&weight).kind(), Kind::Float);
    }

    #[test]
    fn what_tensor_cores_may_do_is_put_back() {
        let _alone = crate::tests::alone();
        let none = Tf32 { matrices: false, convolutions: false };
        let before = tf32();
        for allowed in [
            Tf32 { matrices: true, ..none },
            Tf32 { convolutions: true, ..none },
            Tf32 { matrices: true, convolutions: true },
        ] {
            set_tf32(allowed);
            let exact = Exact::begin();
            assert_eq!(tf32(), none);
            // One within another, as where a subnet is cut out to be judged.
            drop(Exact::begin());
            assert_eq!(tf32(), none);
            drop(exact);
            assert_eq!(tf32(), allowed);
        }
        set_tf32(before);
    }

    #[test]
    fn a_cpu_tells_no_memory() {
        assert_eq!((free_memory(Device::Cpu), peak_memory(Device::Cpu)), (None, None));
    }

    #[test]
    fn the_version_is_the_one_that_is_installed() {
        assert!(torch_version().starts_with("2."), "{}", torch_version());
    }
}
