//! What supernets and stand-alone networks compute alike.

use netfit_spaces::{Activation, Block, NORM_EPSILON, Op, Skip};
use tch::{Device, Kind, Reduction, Tensor};

use crate::depthwise::depthwise;

/// Labels that a cross-entropy leaves out; ours are never negative.
const IGNORED: i64 = -100;

/// Mean cross-entropy against classes `[N]` or probabilities `[N, classes]`, smoothed; in 32 bits.
pub(crate) fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Tensor {
    let logits = logits.to_kind(Kind::Float);
    logits.cross_entropy_loss(targets, None::<&Tensor>, Reduction::Mean, IGNORED, smoothing)
}

/// Applies an activation, in place where its gradient allows it.
pub(crate) fn activate(mut x: Tensor, activation: Activation) -> Tensor {
    match activation {
        Activation::None => x,
        Activation::Relu => x.relu_(),
        Activation::Relu6 => x.relu6_(),
        // In place, libtorch would first copy the input that the gradient needs.
        Activation::HSwish if x.requires_grad() => x.hardswish(),
        Activation::HSwish => x.hardswish_(),
    }
}

/// A convolution with `kernel / 2` padding.
pub(crate) fn convolve(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    groups: usize,
) -> Tensor {
    let (stride, padding) = (stride as i64, weight.size()[2] / 2);
    if groups > 1 && weight.requires_grad() {
        // Refused in libtorch's own words, as all other operations are.
        return depthwise(x, weight, stride).unwrap_or_else(|error| panic!("{error:?}"));
    }
    x.conv2d(weight, bias, [stride; 2], [padding; 2], [1, 1], groups as i64)
}

/// Batch normalisation by a given mean and variance, or by those of the batch.
pub(crate) fn normalise(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    given: Option<[&Tensor; 2]>,
) -> Tensor {
    let (scale, shift, unused) = (Some(scale), Some(shift), 0.0);
    let by_batch = given.is_none();
    let [mean, variance] = given.map_or([None, None], |given| given.map(Some));
    x.batch_norm(scale, shift, mean, variance, by_batch, unused, NORM_EPSILON, true)
}

/// Adds to a block's output `x` what its skip makes of its input; in place where no gradient needs `x` as it was, as that
/// of an activation at the block's end does.
pub(crate) fn add_skip(mut x: Tensor, input: &Tensor, block: &Block) -> Tensor {
    let skipped = match block.skip() {
        Skip::None => return x,
        Skip::Identity => input.shallow_clone(),
        Skip::Pool => input.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None::<i64>),
    };
    let ends_linear = !matches!(
        block.op(),
        Op::Conv { activation: Activation::Relu | Activation::Relu6 | Activation::HSwish, .. }
    );
    if ends_linear || !x.requires_grad() { x.g_add_(&skipped) } else { x + skipped }
}

/// The numbers that tensors of one element hold; they are read at once, so that a GPU is waited for once.
pub(crate) fn numbers(scalars: &[Tensor]) -> Vec<f64> {
    let wide: Vec<Tensor> = scalars.iter().map(|one| one.detach().to_kind(Kind::Double)).collect();
    let all = Tensor::stack(&wide, 0).to_device(Device::Cpu);
    Vec::try_from(all).expect("a vector of doubles")
}

/// What a block reads of `x`. Vectors are images of one pixel to all but linear maps: a convolution or a pool may follow a
/// pool or a linear layer.
pub(crate) fn input_of(block: &Block, x: &Tensor) -> Tensor {
    if block.kind() != "linear" && x.dim() == 2 {
        x.unsqueeze(-1).unsqueeze(-1)
    } else {
        x.shallow_clone()
    }
}

/// Mean over height and width: `[N, C, H, W]` -> `[N, C]`.
pub(crate) fn pool(x: &Tensor) -> Tensor {
    x.adaptive_avg_pool2d([1, 1]).flatten(1, -1)
}

/// `x * hsigmoid(expand(relu(reduce(mean(x)))))`; the weights are those of 1x1 convolutions.
pub(crate) fn squeeze_excite(
    x: &Tensor,
    [reduce_weight, reduce_bias, expand_weight, expand_bias]: [&Tensor; 4],
) -> Tensor {
    let matrix = |weight: &Tensor| weight.flatten(1, -1);
    let squeezed = pool(x).linear(&matrix(reduce_weight), Some(reduce_bias)).relu_();
    let gate = squeezed.linear(&matrix(expand_weight), Some(expand_bias)).hardsigmoid();
    x * gate.unsqueeze(-1).unsqueeze(-1)
}
