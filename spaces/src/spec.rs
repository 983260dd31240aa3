//! Spaces as data: presets and TOML files.

use serde::{Deserialize, Serialize};

use crate::{Activation, Block, Error, Op, Result, Shape, Skip};

/// The presets, by name.
pub const PRESETS: [(&str, &str); 8] = [
    ("ofa-mbv3", include_str!("../presets/ofa-mbv3.toml")),
    ("ofa-mbv3-multi", include_str!("../presets/ofa-mbv3-multi.toml")),
    ("ofa-28", include_str!("../presets/ofa-28.toml")),
    ("proxyless", include_str!("../presets/proxyless.toml")),
    ("proxyless-28", include_str!("../presets/proxyless-28.toml")),
    ("mnasnet", include_str!("../presets/mnasnet.toml")),
    ("mnasnet-28", include_str!("../presets/mnasnet-28.toml")),
    ("nas-bench-macro", include_str!("../presets/nas-bench-macro.toml")),
];

/// A search space as it stands in a TOML file: a fixed stem, stages of searched layers, a fixed head.
///
/// The stem's and head's blocks are templates: a block's line without shapes, with `oN` for the output channels
/// (the last one's are the classes) and `se0.25` for a ratio of squeeze-and-excite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceSpec {
    /// Name for people; not part of the space's identity.
    pub name: String,
    /// Shape of one input image, `CxHxW`.
    pub input: String,
    /// Sides of square input images to choose from, ascending; empty: only `input`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolutions: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Templates of the blocks before the stages.
    pub stem: Vec<String>,
    /// Templates of the blocks after the stages.
    pub head: Vec<String>,
    /// The searched part.
    pub stages: Vec<StageSpec>,
}

/// A stage: layers of one output width, the first of which has the stage's stride.
///
/// Its layers choose either `kernel` and `expand` of an MBConv each (elastic, as in Once-for-All), or one of `ops`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSpec {
    /// Output channels.
    pub width: usize,
    /// Stride of the first layer.
    pub stride: usize,
    /// Numbers of layers to choose from, ascending; the first so many layers are kept.
    pub depth: Vec<usize>,
    /// Kernel sides to choose from, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<usize>,
    /// Expansion ratios to choose from, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expand: Vec<usize>,
    /// Ratio of squeeze-and-excite to the middle channels; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub squeeze: Option<f64>,
    /// Activation of the MBConvs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Templates to choose from. `identity` is a skip, or a strided 1x1 convolution where the shape changes. `skip`,
    /// which comes first, leaves a layer out and is an option only where the shape does not change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<String>,
    /// Choices that all layers share, in place of `kernel`, `expand`, `squeeze`, `activation` and `ops`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alike: Option<AlikeSpec>,
}

/// Choices that all layers of a stage share: a block of the factorised hierarchical space (Tan et al., CVPR 2019,
/// section 4.2).
///
/// What the paper leaves open is decided here. A plain convolution has its squeeze-and-excite after its activation, of
/// a ratio to its output channels. A skip needs equal shapes on both sides, so a stage's first layer, which changes
/// them, has none; a pool skip is a 3x3 mean at stride 1. Where a stage has one layer only, its skip is no choice.
///
/// Where a stage of stride 1 can have the width of the stage before, two genotypes may mean one network, as a layer may be
/// the last of one or the first of the other; the presets' widths rule that out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlikeSpec {
    /// Templates to choose from, without kernel and squeeze-and-excite.
    pub ops: Vec<String>,
    /// Kernel sides to choose from, ascending.
    pub kernel: Vec<usize>,
    /// Ratios of squeeze-and-excite to choose from, ascending; 0: none.
    pub squeeze: Vec<f64>,
    /// Skips to choose from, `none`, `pool` and `identity`, in this order.
    pub skip: Vec<String>,
    /// Output channels to choose from, as ascending multiples of the stage's `width`, rounded to whole channels.
    pub filters: Vec<f64>,
}

/// A block without shapes, relative to its input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    pub(crate) kind: Kind,
    pub(crate) kernel: usize,
    pub(crate) expand: usize,
    pub(crate) squeeze: Option<f64>,
    pub(crate) activation: Activation,
    pub(crate) stride: Option<usize>,
    pub(crate) width: Option<usize>,
    pub(crate) bias: bool,
    /// What is added to its output; a residual wherever there can be one, where nothing is said. A plain convolution
    /// then has none.
    pub(crate) skip: Option<Skip>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Identity,
    Skip,
    Conv,
    Separable,
    MbConv,
    Pool,
    Linear,
}

/// What a token of a template is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Activation,
    Bias,
    Squeeze,
    Kernel,
    Expand,
    Stride,
    Width,
}

impl Kind {
    /// Whether a token has a meaning for it.
    fn takes(self, token: Token) -> bool {
        match self {
            Self::Conv | Self::Separable => !matches!(token, Token::Bias | Token::Expand),
            Self::MbConv => token != Token::Bias,
            Self::Linear => matches!(token, Token::Bias | Token::Activation | Token::Width),
            Self::Identity | Self::Skip | Self::Pool => false,
        }
    }
}

impl Template {
    pub(crate) fn mbconv(
        kernel: usize,
        expand: usize,
        squeeze: Option<f64>,
        activation: Activation,
    ) -> Self {
        let kind = Kind::MbConv;
        let (stride, width, skip) = (None, None, None);
        Self { kind, kernel, expand, squeeze, activation, stride, width, bias: true, skip }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fail = |reason: String| Error::Template { text: text.to_owned(), reason };
        let mut words = text.split_whitespace();
        let kind = match words.next() {
            Some("identity") => Kind::Identity,
            Some("skip") => Kind::Skip,
            Some("conv") => Kind::Conv,
            Some("dsconv") => Kind::Separable,
            Some("mbconv") => Kind::MbConv,
            Some("pool") => Kind::Pool,
            Some("linear") => Kind::Linear,
            _ => {
                return Err(fail(
                    "expected identity, skip, conv, dsconv, mbconv, pool or linear first".into(),
                ));
            }
        };
        let mut template = Self { kind, ..Self::mbconv(0, 0, None, Activation::None) };
        let mut known = Vec::new();
        for word in words {
            let token =
                template.read(word).ok_or_else(|| fail(format!("unknown token `{word}`")))?;
            if !kind.takes(token) {
                return Err(fail(format!("its kind takes no token `{word}`")));
            }
            if known.contains(&token) {
                return Err(fail(format!("`{word}` says again what a token before it has said")));
            }
            known.push(token);
        }
        if matches!(kind, Kind::Conv | Kind::Separable | Kind::MbConv)
            && template.kernel.is_multiple_of(2)
        {
            return Err(fail("expected a token `k` with an odd number".into()));
        }
        if kind == Kind::MbConv && template.expand < 2 {
            return Err(fail(
                "expected a token `e` of at least 2 (a `dsconv` has no expansion)".into(),
            ));
        }
        Ok(template)
    }

    /// Takes a token and tells what it is about.
    fn read(&mut self, word: &str) -> Option<Token> {
        let number = |prefix: &str| word.strip_prefix(prefix)?.parse::<usize>().ok();
        if let Some(activation) = Activation::named(word) {
            self.activation = activation;
            Some(Token::Activation)
        } else if word == "nobias" {
            self.bias = false;
            Some(Token::Bias)
        } else if let Some(ratio) = word.strip_prefix("se") {
            self.squeeze =
                Some(ratio.parse().ok().filter(|r| (0.0..=1.0).contains(r) && *r > 0.0)?);
            Some(Token::Squeeze)
        } else if let Some(n) = number("k") {
            self.kernel = n;
            Some(Token::Kernel)
        } else if let Some(n) = number("e") {
            self.expand = n;
            Some(Token::Expand)
        } else if let Some(n) = number("s") {
            self.stride = Some(n);
            Some(Token::Stride)
        } else {
            self.width = Some(number("o")?);
            Some(Token::Width)
        }
    }

    /// Whether the template that begins so has a kernel, as the layers of stages do that are all alike.
    pub(crate) fn has_kernel(text: &str) -> bool {
        matches!(text.split_whitespace().next(), Some("conv" | "dsconv" | "mbconv"))
    }

    /// The block on `input`; none for a skip, and for an identity that changes nothing.
    pub(crate) fn block(&self, input: Shape, stride: usize, width: usize) -> Result<Option<Block>> {
        let (kernel, activation) = (self.kernel, self.activation);
        let same = stride == 1 && input.channels == width;
        let squeeze =
            |channels: usize| self.squeeze.map(|ratio| make_divisible(channels as f64 * ratio, 8));
        let residual = self.skip.unwrap_or(if same { Skip::Identity } else { Skip::None });
        let op = match self.kind {
            Kind::Identity if same => return Ok(None),
            Kind::Skip => return Ok(None),
            Kind::Identity => Op::Conv {
                kernel: 1,
                stride,
                squeeze: None,
                activation: Activation::None,
                skip: Skip::None,
            },
            Kind::Conv => {
                let skip = self.skip.unwrap_or_default();
                Op::Conv { kernel, stride, squeeze: squeeze(width), activation, skip }
            }
            Kind::Separable => {
                let squeeze = squeeze(input.channels);
                Op::Separable { kernel, stride, squeeze, activation, skip: residual }
            }
            Kind::MbConv => {
                let middle = make_divisible(input.channels.saturating_mul(self.expand) as f64, 8);
                Op::MbConv {
                    kernel,
                    middle,
                    stride,
                    squeeze: squeeze(middle),
                    activation,
                    skip: residual,
                }
            }
            Kind::Pool => Op::Pool,
            Kind::Linear => Op::Linear { bias: self.bias, activation },
        };
        Block::new(op, input, width).map(Some)
    }
}

/// The multiple of `divisor` nearest to `value`, but never below 90 % of it nor below `divisor` (MobileNetV2's code).
pub(crate) fn make_divisible(value: f64, divisor: usize) -> usize {
    let half = divisor as f64 / 2.0;
    let nearest = (((value + half) as usize) / divisor * divisor).max(divisor);
    if (nearest as f64) < 0.9 * value { nearest + divisor } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_rounded_as_in_mobilenet() {
        for (value, expected) in
            [(18.0, 24), (20.0, 24), (16.0, 16), (3.0, 8), (44.0, 48), (11.9, 16), (10.0, 16)]
        {
            assert_eq!(make_divisible(value, 8), expected, "{value}");
        }
    }
}
