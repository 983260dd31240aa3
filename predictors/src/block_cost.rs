//! What a block costs, read off its layers, and how it compares with other blocks.

use std::collections::BTreeMap;

use netfit_spaces::{Activation, Block, LayerKind, Op, Skip};

/// Bytes of a number.
const BYTES: f64 = 4.0;

/// How many costs a block has.
pub(crate) const COSTS: usize = 8;

/// Costs to which a block's time is proportional in part: multiply-adds of dense convolutions, of depth-wise ones and
/// of linear maps, numbers that squeeze-and-excite goes over, numbers read and written, parameters, layers, h-swishes.
pub(crate) fn costs(block: &Block) -> [f64; COSTS] {
    let [mut dense, mut depthwise, mut linear, mut squeezed] = [0.0; 4];
    let (mut moved, mut swished) = (0.0, 0.0);
    let layers = block.layers();
    for layer in &layers {
        let (read, written) = (layer.input.elements() as f64, layer.output.elements() as f64);
        let multiply_adds = layer.multiply_adds().0 as f64;
        moved += read + written;
        let activation = match layer.kind {
            LayerKind::Conv(conv) => {
                *(if conv.groups == 1 { &mut dense } else { &mut depthwise }) += multiply_adds;
                conv.activation
            }
            LayerKind::Linear { activation, .. } => {
                linear += multiply_adds;
                activation
            }
            LayerKind::SqueezeExcite { .. } => {
                squeezed += read;
                Activation::None
            }
            LayerKind::Pool => Activation::None,
        };
        if activation == Activation::HSwish {
            swished += written;
        }
    }
    // What is added is read and written again; a mean of it is made first.
    moved += match block.skip() {
        Skip::None => 0.0,
        Skip::Identity => 2.0 * block.output().elements() as f64,
        Skip::Pool => 4.0 * block.output().elements() as f64,
    };
    let parameters = block.parameters().0 as f64;
    [dense, depthwise, linear, squeezed, moved, parameters, layers.len() as f64, swished]
}

/// Kinds whose times follow from the same costs.
pub(crate) fn family(block: &Block) -> &'static str {
    match block.op() {
        Op::Conv { .. } | Op::Separable { .. } | Op::MbConv { .. } => "convolution",
        Op::Pool => "pool",
        Op::Linear { .. } => "linear",
    }
}

/// Features by name that must lie between those of known blocks.
type Features = Vec<(&'static str, f64)>;

fn features(block: &Block) -> Features {
    let [kernel, stride, middle, squeeze] = match *block.op() {
        Op::Conv { kernel, stride, squeeze, .. }
        | Op::Separable { kernel, stride, squeeze, .. } => {
            [kernel, stride, 0, squeeze.unwrap_or(0)]
        }
        Op::MbConv { kernel, middle, stride, squeeze, .. } => {
            [kernel, stride, middle, squeeze.unwrap_or(0)]
        }
        Op::Pool | Op::Linear { .. } => [0; 4],
    };
    let (input, output) = (block.input(), block.output());
    let [.., moved, _, _, _] = costs(block);
    vec![
        ("kernel", kernel as f64),
        ("stride", stride as f64),
        ("input channels", input.channels as f64),
        ("middle channels", middle as f64),
        ("squeeze channels", squeeze as f64),
        ("output channels", output.channels as f64),
        ("input pixels", (input.height * input.width) as f64),
        ("multiply-adds", block.multiply_adds().0 as f64),
        ("parameters", block.parameters().0 as f64),
        ("bytes moved", BYTES * moved),
    ]
}

/// Kind and activation: blocks of another kind, or with another activation, are never alike.
fn sort(block: &Block) -> String {
    let activation = match *block.op() {
        Op::Conv { activation, .. }
        | Op::Separable { activation, .. }
        | Op::MbConv { activation, .. }
        | Op::Linear { activation, .. } => activation,
        Op::Pool => Activation::None,
    };
    match activation {
        Activation::None => block.kind().to_owned(),
        Activation::Relu => format!("{} with relu", block.kind()),
        Activation::Relu6 => format!("{} with relu6", block.kind()),
        Activation::HSwish => format!("{} with hswish", block.kind()),
    }
}

/// The smallest and the largest of each feature, for each kind and activation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(BTreeMap<String, Vec<(f64, f64)>>);

impl Ranges {
    pub(crate) fn of<'a>(blocks: impl Iterator<Item = &'a Block>) -> Self {
        let mut ranges = Self::default();
        for block in blocks {
            let features = features(block);
            let start = || features.iter().map(|&(_, value)| (value, value)).collect();
            let known: &mut Vec<(f64, f64)> = ranges.0.entry(sort(block)).or_insert_with(start);
            for ((low, high), (_, value)) in known.iter_mut().zip(&features) {
                *low = low.min(*value);
                *high = high.max(*value);
            }
        }
        ranges
    }

    /// Why the block is outside; none where it is not.
    pub(crate) fn outside(&self, block: &Block) -> Option<String> {
        let sort = sort(block);
        let Some(known) = self.0.get(&sort) else {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            return Some(format!("expected {}, found {sort}", known.join(", ")));
        };
        let outside = |((name, value), (low, high)): ((&'static str, f64), &(f64, f64))| {
            (value < *low || value > *high)
                .then(|| format!("expected {name} from {low} to {high}, found {value}"))
        };
        features(block).into_iter().zip(known).find_map(outside)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)] // Counts are exact.
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_counted_by_hand() {
        let block: Block = "mbconv k3 m6 s1 se8 hswish res 2x4x4 -> 2x4x4".parse().unwrap();
        let [dense, depthwise, linear, squeezed, moved, parameters, layers, swished] =
            costs(&block);
        assert_eq!(dense, 16.0 * 12.0 * 2.0);
        assert_eq!(depthwise, 16.0 * 6.0 * 9.0);
        assert_eq!((linear, squeezed, layers, swished), (0.0, 96.0, 4.0, 2.0 * 96.0));
        // Expansion, depth-wise convolution, squeeze-and-excite, projection, residual.
        assert_eq!(moved, (32.0 + 96.0) + 192.0 + 192.0 + (96.0 + 32.0) + 64.0);
        assert_eq!(parameters, block.parameters().0 as f64);
    }

    #[test]
    fn what_is_outside_is_named() {
        let known: Vec<Block> = [
            "mbconv k3 m48 s1 relu 8x8x8 -> 16x8x8",
            "mbconv k7 m96 s1 relu 32x8x8 -> 64x8x8",
            "pool 64x8x8 -> 64x1x1",
        ]
        .iter()
        .map(|line| line.parse().unwrap())
        .collect();
        let ranges = Ranges::of(known.iter());
        let outside = |line: &str| ranges.outside(&line.parse().unwrap());
        assert_eq!(outside("mbconv k5 m64 s1 relu 16x8x8 -> 24x8x8"), None);
        let found = outside("mbconv k9 m64 s1 relu 16x8x8 -> 24x8x8").unwrap();
        assert_eq!(found, "expected kernel from 3 to 7, found 9");
        let found = outside("mbconv k5 m64 s1 relu 16x9x9 -> 24x9x9").unwrap();
        assert_eq!(found, "expected input pixels from 64 to 64, found 81");
        let found = outside("mbconv k5 m64 s1 hswish 16x8x8 -> 24x8x8").unwrap();
        assert_eq!(found, "expected mbconv with relu, pool, found mbconv with hswish");
    }
}
