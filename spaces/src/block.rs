//! Blocks: what networks are made of.

mod text;

use crate::{Error, MultiplyAdds, Parameters, Result, Shape};

/// Channels of a block at most, those within it included.
const MAX_CHANNELS: usize = 1 << 16;
/// Kernel's side and stride at most.
const MAX_SIDE: usize = 255;
/// Numbers of an activation at most: a block's multiply-adds then fit into 64 bits.
const MAX_ELEMENTS: f64 = (1_u64 << 30) as f64;

/// An activation function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x * min(max(x + 3, 0), 6) / 6` (MobileNetV3).
    HSwish,
}

impl Activation {
    const NAMED: [(&'static str, Self); 3] =
        [("relu", Self::Relu), ("relu6", Self::Relu6), ("hswish", Self::HSwish)];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }

    fn name(self) -> Option<&'static str> {
        Self::NAMED.iter().find(|(_, activation)| *activation == self).map(|(name, _)| *name)
    }
}

/// What is added to a block's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Nothing.
    #[default]
    None,
    /// `respool`: the block's input, each pixel the mean of the 3x3 around it (at the border, of those that are there).
    Pool,
    /// `res`: the block's input, a residual.
    Identity,
}

impl Skip {
    const NAMED: [(&'static str, Self); 3] =
        [("none", Self::None), ("pool", Self::Pool), ("identity", Self::Identity)];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, skip)| *skip)
    }

    fn token(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Pool => Some("respool"),
            Self::Identity => Some("res"),
        }
    }
}

/// What a block computes, apart from its shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `conv`: convolution, batch normalisation, activation, optional squeeze-and-excite.
    Conv {
        /// Side of the kernel, odd.
        kernel: usize,
        /// Stride in both directions.
        stride: usize,
        /// Channels inside squeeze-and-excite.
        squeeze: Option<usize>,
        /// What follows the normalisation.
        activation: Activation,
        /// What is added to the output.
        skip: Skip,
    },
    /// `dsconv`: depth-wise convolution, optional squeeze-and-excite, point-wise projection.
    Separable {
        /// Side of the depth-wise kernel, odd.
        kernel: usize,
        /// Stride of the depth-wise convolution.
        stride: usize,
        /// Channels inside squeeze-and-excite.
        squeeze: Option<usize>,
        /// What follows the depth-wise convolution.
        activation: Activation,
        /// What is added to the output.
        skip: Skip,
    },
    /// `mbconv`: point-wise expansion, then as `dsconv` (Sandler et al., CVPR 2018).
    MbConv {
        /// Side of the depth-wise kernel, odd.
        kernel: usize,
        /// Channels after the expansion.
        middle: usize,
        /// Stride of the depth-wise convolution.
        stride: usize,
        /// Channels inside squeeze-and-excite.
        squeeze: Option<usize>,
        /// What follows the expansion and the depth-wise convolution.
        activation: Activation,
        /// What is added to the output.
        skip: Skip,
    },
    /// `pool`: mean over height and width.
    Pool,
    /// `linear`: linear map of a 1x1 image's channels.
    Linear {
        /// Whether a bias is added (`nobias` where not).
        bias: bool,
        /// What follows.
        activation: Activation,
    },
}

/// A block with its shapes; together they are the key of a latency table.
///
/// It prints and parses back as `KIND [TOKEN ...] CxHxW -> CxHxW`. Kinds: `conv`, `dsconv`, `mbconv`, `pool`,
/// `linear`. Tokens, in this order: `k` kernel side, `m` middle channels, `s` stride, `se` squeeze channels,
/// `nobias`, an activation (`relu`, `relu6`, `hswish`; none where left out), `res` or `respool` for a [`Skip`].
///
/// ```
/// let line = "mbconv k5 m144 s2 se36 hswish 24x56x56 -> 40x28x28";
/// let block: netfit_spaces::Block = line.parse()?;
/// assert_eq!(block.to_string(), line);
/// # Ok::<(), netfit_spaces::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    op: Op,
    input: Shape,
    output: Shape,
}

impl Block {
    /// A block of `channels` output channels on `input`.
    ///
    /// # Errors
    /// An even kernel, a stride of 0, a residual between different shapes, a linear map of more than one pixel.
    pub fn new(op: Op, input: Shape, channels: usize) -> Result<Self> {
        let output = match op {
            Op::Conv { stride, .. } | Op::Separable { stride, .. } | Op::MbConv { stride, .. } => {
                input.strided(stride.max(1), channels)
            }
            Op::Pool => Shape::new(input.channels, 1, 1),
            Op::Linear { .. } => Shape::new(channels, 1, 1),
        };
        let block = Self { op, input, output };
        match block.fault() {
            None => Ok(block),
            Some(reason) => {
                Err(Error::Block { text: block.to_string(), reason: reason.to_owned() })
            }
        }
    }

    /// What it computes.
    pub fn op(&self) -> &Op {
        &self.op
    }

    /// Shape of one input image.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Shape of one output image.
    pub fn output(&self) -> Shape {
        self.output
    }

    /// What is added to the block's output.
    pub fn skip(&self) -> Skip {
        match self.op {
            Op::Conv { skip, .. } | Op::Separable { skip, .. } | Op::MbConv { skip, .. } => skip,
            Op::Pool | Op::Linear { .. } => Skip::None,
        }
    }

    /// The first word of the block's line.
    pub fn kind(&self) -> &'static str {
        match self.op {
            Op::Conv { .. } => "conv",
            Op::Separable { .. } => "dsconv",
            Op::MbConv { .. } => "mbconv",
            Op::Pool => "pool",
            Op::Linear { .. } => "linear",
        }
    }

    /// Learned numbers.
    pub fn parameters(&self) -> Parameters {
        self.layers().iter().map(crate::Layer::parameters).sum()
    }

    /// Multiply-adds for one image.
    pub fn multiply_adds(&self) -> MultiplyAdds {
        self.layers().iter().map(crate::Layer::multiply_adds).sum()
    }

    fn fault(&self) -> Option<&'static str> {
        if self.largest_number() > MAX_CHANNELS {
            return Some(
                "expected at most 65,536 channels, and kernels and strides of at most 255",
            );
        }
        if self.largest_activation() > MAX_ELEMENTS {
            return Some("expected activations of at most 1,073,741,824 numbers");
        }
        if let Op::Conv { kernel, stride, .. }
        | Op::Separable { kernel, stride, .. }
        | Op::MbConv { kernel, stride, .. } = self.op
        {
            if kernel.is_multiple_of(2) {
                return Some("expected an odd kernel");
            }
            if stride == 0 {
                return Some("expected a stride of at least 1");
            }
        }
        if let Op::MbConv { middle: 0, .. } = self.op {
            return Some("expected at least one middle channel");
        }
        if let Op::Conv { squeeze: Some(0), .. }
        | Op::Separable { squeeze: Some(0), .. }
        | Op::MbConv { squeeze: Some(0), .. } = self.op
        {
            return Some("expected at least one channel inside squeeze-and-excite");
        }
        if self.output.channels == 0 {
            return Some("expected at least one output channel");
        }
        if self.skip() != Skip::None && self.input != self.output {
            return Some("expected equal shapes for a residual");
        }
        if matches!(self.op, Op::Linear { .. }) && (self.input.height, self.input.width) != (1, 1) {
            return Some("expected an image of 1x1 before a linear map");
        }
        None
    }

    /// Numbers of the larger one of its input and its output; as a float, for the product may be beyond all integers.
    fn largest_activation(&self) -> f64 {
        let elements =
            |shape: Shape| shape.channels as f64 * shape.height as f64 * shape.width as f64;
        elements(self.input).max(elements(self.output))
    }

    /// The largest of its channels, kernels and strides, these in units of their own bound.
    fn largest_number(&self) -> usize {
        let scaled = |side: usize| side.saturating_mul(MAX_CHANNELS / MAX_SIDE);
        let within = match self.op {
            Op::Conv { kernel, stride, squeeze, .. }
            | Op::Separable { kernel, stride, squeeze, .. } => {
                scaled(kernel.max(stride)).max(squeeze.unwrap_or(0))
            }
            Op::MbConv { kernel, middle, stride, squeeze, .. } => {
                scaled(kernel.max(stride)).max(middle).max(squeeze.unwrap_or(0))
            }
            Op::Pool | Op::Linear { .. } => 0,
        };
        within.max(self.input.channels).max(self.output.channels)
    }
}
