//! What a block is made of. Costs, ONNX graphs and libtorch modules are all read off this one lowering.

use crate::{Activation, Block, Op, Shape};

/// One primitive step of a block. A block computes its layers in order and then adds what its [`crate::Skip`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Name within the block: `conv`, `expand`, `depthwise`, `se`, `project`, `pool` or `linear`.
    pub name: &'static str,
    /// What it computes.
    pub kind: LayerKind,
    /// Shape of one input image.
    pub input: Shape,
    /// Shape of one output image.
    pub output: Shape,
}

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// Convolution without bias, batch normalisation, activation.
    Conv(Conv),
    /// `x * hsigmoid(expand(relu(reduce(mean(x)))))`, where reduce and expand are 1x1 convolutions with bias
    /// (Hu et al., CVPR 2018; the gate of MobileNetV3).
    SqueezeExcite {
        /// Channels between reduce and expand.
        squeeze: usize,
    },
    /// Mean over height and width.
    Pool,
    /// Linear map of the channels of a 1x1 image, then an activation.
    Linear {
        /// Whether a bias is added.
        bias: bool,
        /// What follows.
        activation: Activation,
    },
}

/// A square convolution with `kernel / 2` padding, batch normalisation and an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Channel groups: 1, or the number of channels in a depth-wise convolution.
    pub groups: usize,
    /// What follows the normalisation.
    pub activation: Activation,
}

impl Block {
    /// The block's layers, in order.
    pub fn layers(&self) -> Vec<Layer> {
        let (input, output) = (self.input(), self.output());
        match *self.op() {
            Op::Conv { kernel, stride, squeeze, activation, .. } => {
                let kind = LayerKind::Conv(Conv { kernel, stride, groups: 1, activation });
                let conv = Layer { name: "conv", kind, input, output };
                std::iter::once(conv).chain(gate(output, squeeze)).collect()
            }
            Op::Separable { kernel, stride, squeeze, activation, .. } => {
                depthwise_separable(input, output, kernel, stride, squeeze, activation)
            }
            Op::MbConv { kernel, middle, stride, squeeze, activation, .. } => {
                let wide = Shape { channels: middle, ..input };
                let mut layers = vec![pointwise("expand", input, wide, activation)];
                layers
                    .extend(depthwise_separable(wide, output, kernel, stride, squeeze, activation));
                layers
            }
            Op::Pool => vec![Layer { name: "pool", kind: LayerKind::Pool, input, output }],
            Op::Linear { bias, activation } => {
                vec![Layer {
                    name: "linear",
                    kind: LayerKind::Linear { bias, activation },
                    input,
                    output,
                }]
            }
        }
    }
}

/// Depth-wise convolution, squeeze-and-excite where asked for, point-wise projection without activation.
fn depthwise_separable(
    input: Shape,
    output: Shape,
    kernel: usize,
    stride: usize,
    squeeze: Option<usize>,
    activation: Activation,
) -> Vec<Layer> {
    let inner = input.strided(stride, input.channels);
    let conv = Conv { kernel, stride, groups: input.channels, activation };
    let mut layers =
        vec![Layer { name: "depthwise", kind: LayerKind::Conv(conv), input, output: inner }];
    layers.extend(gate(inner, squeeze));
    layers.push(pointwise("project", inner, output, Activation::None));
    layers
}

/// Squeeze-and-excite, where asked for.
fn gate(shape: Shape, squeeze: Option<usize>) -> Option<Layer> {
    let kind = LayerKind::SqueezeExcite { squeeze: squeeze? };
    Some(Layer { name: "se", kind, input: shape, output: shape })
}

fn pointwise(name: &'static str, input: Shape, output: Shape, activation: Activation) -> Layer {
    let conv = Conv { kernel: 1, stride: 1, groups: 1, activation };
    Layer { name, kind: LayerKind::Conv(conv), input, output }
}
