//! The parts of a supernet: blocks whose layers serve every smaller block, and how they are made from a space.

use std::collections::BTreeSet;

use netfit_export as export;
use netfit_spaces::{Block, ChoiceKind, Conv, Layer, LayerKind, Slot, Space};

use crate::{Error, Result, initial, parameters::ParametersBuilder};

#[derive(Debug)]
pub(crate) struct ElasticBlock {
    /// Widths inside that can be chosen, ascending; empty without an expansion.
    pub(crate) widths: Vec<Width>,
    pub(crate) layers: Vec<ElasticLayer>,
}

/// Middle channels, and those that squeeze-and-excite squeezes them to (0 without).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Width {
    pub(crate) middle: usize,
    pub(crate) squeeze: usize,
}

/// A layer of the largest block; numbers are those of [`Parameters`].
#[derive(Debug)]
pub(crate) enum ElasticLayer {
    Conv(ElasticConv),
    /// Weight and bias of reduce, weight and bias of expand.
    SqueezeExcite([usize; 4]),
    Pool,
    Linear {
        weight: usize,
        bias: Option<usize>,
    },
}

#[derive(Debug)]
pub(crate) struct ElasticConv {
    pub(crate) weight: usize,
    /// From the largest kernel to the smallest.
    pub(crate) transforms: Vec<Transform>,
    pub(crate) norm: Norm,
}

/// Makes a smaller kernel of the centre of a larger one: `flatten(centre(w)) * matrix^T`, shared over channels.
#[derive(Debug)]
pub(crate) struct Transform {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) matrix: usize,
}

/// A batch normalisation: its scale and shift, and its number among all.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) scale: usize,
    pub(crate) shift: usize,
    pub(crate) number: usize,
}

impl ElasticConv {
    /// The transforms between the largest kernel and `kernel`.
    pub(crate) fn used(&self, kernel: usize) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().take_while(move |transform| transform.to >= kernel)
    }
}

impl ElasticLayer {
    /// The parameters that a layer uses when it stands for `active`.
    pub(crate) fn numbers(&self, active: &Layer) -> Vec<usize> {
        match (self, active.kind) {
            (Self::Conv(conv), LayerKind::Conv(spec)) => {
                let matrices = conv.used(spec.kernel).map(|transform| transform.matrix);
                [conv.weight, conv.norm.scale, conv.norm.shift]
                    .into_iter()
                    .chain(matrices)
                    .collect()
            }
            (Self::SqueezeExcite(numbers), _) => numbers.to_vec(),
            (Self::Linear { weight, bias }, _) => [*weight].into_iter().chain(*bias).collect(),
            _ => Vec::new(),
        }
    }
}

/// The blocks that can stand in each slot, if they can share weights.
pub(crate) fn elastic_slots(space: &Space) -> Result<Vec<(Slot, Vec<Block>)>> {
    let fail = |reason: String| Err(Error::NotElastic { space: space.name().to_owned(), reason });
    if space.inputs().len() > 1 {
        return fail(format!("expected one resolution, found {}", space.inputs().len()));
    }
    for choice in space.choices() {
        let place =
            |stage: usize, layer: usize| format!("in layer {} of stage {}", layer + 1, stage + 1);
        let found = match choice.kind {
            ChoiceKind::Op { stage, layer } => format!("`ops` {}", place(stage, layer)),
            ChoiceKind::Squeeze { stage }
            | ChoiceKind::Skip { stage }
            | ChoiceKind::Width { stage } => format!("`alike` in stage {}", stage + 1),
            ChoiceKind::Resolution
            | ChoiceKind::Depth { .. }
            | ChoiceKind::Kernel { .. }
            | ChoiceKind::Expand { .. } => continue,
        };
        return fail(format!("expected an elastic MBConv, found a choice of {found}"));
    }
    let largest = space.blocks(&space.largest());
    let mut slots = space.slots(0);
    for (slot, options) in &mut slots {
        let Some((_, full)) = largest.iter().find(|(known, _)| known == slot) else {
            return fail(format!("expected a block at `{slot}` in the largest network"));
        };
        if let Some(other) = options.iter().find(|option| !fits(option, full)) {
            return fail(format!("expected a part of `{full}` at `{slot}`, found `{other}`"));
        }
        // The largest block comes last.
        options.retain(|option| option != full);
        options.push(full.clone());
    }
    Ok(slots)
}

/// Whether `part` is `full` with fewer channels inside or a smaller depth-wise kernel.
fn fits(part: &Block, full: &Block) -> bool {
    let (ours, theirs) = (part.layers(), full.layers());
    ours.len() == theirs.len()
        && part.skip() == full.skip()
        && (part.input(), part.output()) == (full.input(), full.output())
        && ours.iter().zip(&theirs).all(|(part, full)| match (part.kind, full.kind) {
            (LayerKind::Conv(a), LayerKind::Conv(b)) => {
                let elastic_kernel = full.name == "depthwise" && a.kernel <= b.kernel;
                (a.stride, a.activation) == (b.stride, b.activation)
                    && (a.kernel == b.kernel || elastic_kernel)
            }
            (LayerKind::SqueezeExcite { squeeze: a }, LayerKind::SqueezeExcite { squeeze: b }) => {
                a <= b
            }
            (a, b) => a == b,
        })
}

/// Kernel of a block's depth-wise layer, and its widths.
fn inside(block: &Block) -> Option<(usize, Width)> {
    let layers = block.layers();
    let squeeze = layers.iter().find_map(|layer| match layer.kind {
        LayerKind::SqueezeExcite { squeeze } => Some(squeeze),
        _ => None,
    });
    layers.iter().find(|layer| layer.name == "depthwise").and_then(|layer| match layer.kind {
        LayerKind::Conv(conv) => {
            let middle = layer.input.channels;
            Some((conv.kernel, Width { middle, squeeze: squeeze.unwrap_or(0) }))
        }
        _ => None,
    })
}

/// The values, ascending, each once.
fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Adds blocks' parameters in the order in which the network uses them.
#[derive(Default)]
pub(crate) struct Builder {
    seed: u64,
    pub(crate) parameters: ParametersBuilder,
    /// How many normalisations there are so far.
    norms: usize,
}

impl Builder {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Adds the block that serves all `options`, the last of which is the largest, under the name of its place.
    pub(crate) fn block(&mut self, place: &str, options: &[Block]) -> ElasticBlock {
        let largest = &options[options.len() - 1];
        let kernels = distinct(options.iter().filter_map(inside).map(|(kernel, _)| kernel));
        let mut layers = Vec::new();
        for layer in largest.layers() {
            let name = format!("{place}.{}", layer.name);
            layers.push(match layer.kind {
                LayerKind::Conv(conv) => {
                    let kernels = if layer.name == "depthwise" { &kernels[..] } else { &[] };
                    ElasticLayer::Conv(self.conv(&name, &layer, conv, kernels))
                }
                LayerKind::SqueezeExcite { squeeze } => self.gate(&name, &layer, squeeze),
                LayerKind::Pool => ElasticLayer::Pool,
                LayerKind::Linear { bias, .. } => self.linear(&name, &layer, bias),
            });
        }
        let widths = options.iter().filter(|option| option.kind() == "mbconv").filter_map(inside);
        ElasticBlock { widths: distinct(widths.map(|(_, width)| width)), layers }
    }

    fn conv(&mut self, name: &str, layer: &Layer, conv: Conv, kernels: &[usize]) -> ElasticConv {
        let (outputs, side) = (layer.output.channels, conv.kernel);
        let shape = [outputs, layer.input.channels / conv.groups, side, side];
        let weight = self.filter(format!("{name}.weight"), &shape);
        let transforms = kernels.windows(2).rev().map(|pair| Transform {
            from: pair[1],
            to: pair[0],
            matrix: self.identity(format!("{name}.transform.{}to{}", pair[1], pair[0]), pair[0]),
        });
        let transforms = transforms.collect();
        let norm = Norm {
            scale: self.constant(format!("{name}.norm.weight"), outputs, 1.0),
            shift: self.constant(format!("{name}.norm.bias"), outputs, 0.0),
            number: self.norms,
        };
        self.norms += 1;
        ElasticConv { weight, transforms, norm }
    }

    fn gate(&mut self, name: &str, layer: &Layer, squeeze: usize) -> ElasticLayer {
        let channels = layer.input.channels;
        ElasticLayer::SqueezeExcite([
            self.filter(format!("{name}.reduce.weight"), &[squeeze, channels, 1, 1]),
            self.constant(format!("{name}.reduce.bias"), squeeze, 0.0),
            self.filter(format!("{name}.expand.weight"), &[channels, squeeze, 1, 1]),
            self.constant(format!("{name}.expand.bias"), channels, 0.0),
        ])
    }

    fn linear(&mut self, name: &str, layer: &Layer, bias: bool) -> ElasticLayer {
        let (inputs, outputs) = (layer.input.channels, layer.output.channels);
        let weight = format!("{name}.weight");
        let initial = initial::matrix(self.seed, &weight, &[outputs, inputs]);
        let weight = self.parameters.add(weight, initial);
        let bias = bias.then(|| self.constant(format!("{name}.bias"), outputs, 0.0));
        ElasticLayer::Linear { weight, bias }
    }

    fn filter(&mut self, name: String, shape: &[usize; 4]) -> usize {
        let initial = initial::filter(self.seed, &name, shape);
        self.parameters.add(name, initial)
    }

    fn constant(&mut self, name: String, length: usize, value: f32) -> usize {
        self.parameters.add(name, initial::constant(length, value))
    }

    fn identity(&mut self, name: String, kernel: usize) -> usize {
        let side = kernel * kernel;
        let data = (0..side * side).map(|i| f32::from(u8::from(i % (side + 1) == 0))).collect();
        self.parameters.add(name, export::Tensor { shape: vec![side, side], data })
    }
}
