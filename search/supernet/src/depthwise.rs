//! Depth-wise convolution with a fast weight gradient on CPUs (`shim/depthwise.cpp`).
// The one foreign function of this crate: its arguments outlive the call, and what it returns is ours to free.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn netfit_depthwise(
        x: *const C_tensor,
        weight: *const C_tensor,
        stride: i64,
        message: *mut c_char,
        room: usize,
    ) -> *mut C_tensor;
}

/// `x [N, C, H, W]` by `weight [C, 1, K, K]` with `K / 2` padding.
///
/// # Errors
/// Shapes that do not meet.
pub(crate) fn depthwise(x: &Tensor, weight: &Tensor, stride: i64) -> Result<Tensor, TchError> {
    let mut message = [0; 2048];
    // SAFETY: both tensors are alive, and the message's last byte stays zero.
    unsafe {
        let y = netfit_depthwise(
            x.as_ptr(),
            weight.as_ptr(),
            stride,
            message.as_mut_ptr(),
            message.len(),
        );
        if y.is_null() {
            return Err(TchError::Torch(
                CStr::from_ptr(message.as_ptr()).to_string_lossy().into_owned(),
            ));
        }
        Ok(Tensor::from_ptr(y))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn values_and_gradients_are_those_of_libtorch() {
        let _alone = crate::tests::alone();
        tch::manual_seed(3);
        for (channels, side, kernel, stride) in
            [(5, 4, 5, 1), (16, 7, 7, 1), (40, 9, 7, 2), (33, 8, 3, 2), (17, 3, 7, 1), (8, 5, 1, 1)]
        {
            let leaf = |shape: &[i64]| {
                Tensor::randn(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true)
            };
            let (x, weight) =
                (leaf(&[6, channels, side, side]), leaf(&[channels, 1, kernel, kernel]));
            let gradients = |y: Tensor| {
                let scale =
                    Tensor::arange(y.numel() as i64, (Kind::Float, Device::Cpu)).cos().view_as(&y);
                Tensor::run_backward(&[(y * scale).sum(Kind::Float)], &[&x, &weight], false, false)
            };
            let padding = [kernel / 2; 2];
            let theirs = x.conv2d(&weight, None::<Tensor>, [stride; 2], padding, [1, 1], channels);
            let ours = depthwise(&x, &weight, stride).unwrap();
            assert!(f64::try_from((&ours - &theirs).abs().max()).unwrap() < 1e-5);
            for (own, known) in gradients(ours).iter().zip(gradients(theirs)) {
                assert_eq!(own.size(), known.size());
                assert!(
                    f64::try_from((own - known).abs().max()).unwrap() < 1e-3,
                    "{channels} {side} {kernel} {stride}"
                );
            }
        }
    }

    #[test]
    fn shapes_that_do_not_meet_are_an_error() {
        let _alone = crate::tests::alone();
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        assert!(depthwise(&zeros(&[1, 4, 5, 5]), &zeros(&[3, 1, 3, 3]), 1).is_err());
    }
}
