//! Tensors in channels-last order: the memory format in which libtorch's CPU convolutions run fastest.
//!
//! libtorch's Rust interface has no memory formats. A tensor is laid out by its strides instead; every convolution
//! then keeps the order of its input. `permute` + `contiguous` would silently do nothing for one channel and for
//! 1x1 and depth-wise weights, whose dense strides are ambiguous.

use netfit_export::{self as export, Weights};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{Error, Result};

/// Strides of a dense tensor: channels-last for four dimensions (NCHW), row-major otherwise.
pub(crate) fn strides(shape: &[i64]) -> Vec<i64> {
    if let &[_, c, h, w] = shape {
        return vec![c * h * w, 1, w * c, c];
    }
    let mut strides = vec![1; shape.len()];
    for dimension in (1..shape.len()).rev() {
        strides[dimension - 1] = strides[dimension] * shape[dimension];
    }
    strides
}

/// A copy of `tensor` on `device` with the strides of channels-last order.
pub fn channels_last(tensor: &Tensor, device: Device) -> Tensor {
    let shape = tensor.size();
    let mut laid_out = Tensor::empty_strided(&shape, strides(&shape), (Kind::Float, device));
    laid_out.copy_(tensor);
    laid_out
}

/// Brings a tensor here from libtorch, row-major.
pub(crate) fn to_host(tensor: &Tensor) -> export::Tensor {
    let tensor = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut data = vec![0.0; tensor.numel()];
    tensor.copy_data(&mut data, tensor.numel());
    export::Tensor { shape: tensor.size().iter().map(|&side| side as usize).collect(), data }
}

/// Sides as libtorch counts them.
pub(crate) fn sides(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&side| side as i64).collect()
}

/// A row-major view of host data as a libtorch tensor (on the CPU).
pub(crate) fn from_host(tensor: &export::Tensor) -> Tensor {
    Tensor::from_slice(&tensor.data).reshape(sides(&tensor.shape))
}

/// Copies the tensor called `name` into `target`.
///
/// # Errors
/// A missing tensor, or one of another shape.
pub(crate) fn read(target: &mut Tensor, name: &str, weights: &Weights) -> Result<()> {
    let tensor = weights.get(name)?;
    if sides(&tensor.shape) != target.size() {
        let (expected, found) = (target.size(), tensor.shape.clone());
        return Err(Error::TensorShape { name: name.to_owned(), expected, found });
    }
    no_grad(|| target.copy_(&from_host(tensor)));
    Ok(())
}

/// The first `length` entries along `dimension`; the tensor itself where that is all of them.
pub(crate) fn first(tensor: &Tensor, dimension: i64, length: usize) -> Tensor {
    if tensor.size()[dimension as usize] == length as i64 {
        tensor.shallow_clone()
    } else {
        tensor.narrow(dimension, 0, length as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strides are what convolutions look at, so both the tensor's and those of a convolution's output count.
    #[test]
    fn convolutions_keep_channels_last_for_one_and_for_three_channels() {
        let _alone = crate::tests::alone();
        for channels in [1, 3] {
            let images = Tensor::rand([2, channels, 8, 6], (Kind::Float, Device::Cpu));
            let images = channels_last(&images, Device::Cpu);
            let weight = Tensor::rand([16, channels, 3, 3], (Kind::Float, Device::Cpu));
            let weight = channels_last(&weight, Device::Cpu);
            assert_eq!(images.stride(), [48 * channels, 1, 6 * channels, channels]);
            let inner = images.conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
            assert_eq!(inner.stride(), [16 * 48, 1, 16 * 6, 16], "{channels} channels");
        }
    }

    #[test]
    fn a_tensor_comes_back_row_major() {
        let _alone = crate::tests::alone();
        let host = export::Tensor { shape: vec![1, 2, 1, 3], data: vec![1., 2., 3., 4., 5., 6.] };
        let there = channels_last(&from_host(&host), Device::Cpu);
        assert_eq!(to_host(&there), host);
    }
}
