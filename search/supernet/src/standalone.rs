//! A network with weights of its own: the libtorch module of `export::Weights`, for inference and for training.

use netfit_export::Weights;
use netfit_spaces::{LayerKind, NORM_EPSILON, Network};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{
    Mode, Parameters, Result, Statistics, initial, layout, ops, parameters::ParametersBuilder,
};

/// A network's layers with their tensors.
#[derive(Debug)]
pub struct Standalone {
    network: Network,
    /// Per block, per layer.
    tensors: Vec<Vec<LayerTensors>>,
    /// Those that came with the weights; none in training.
    statistics: Statistics,
}

#[derive(Debug)]
enum LayerTensors {
    /// Filter; scale and shift of the normalisation, and its number.
    Conv(Tensor, [Tensor; 2], usize),
    /// Filter and bias, batch normalisation folded in.
    Folded(Tensor, Tensor),
    Gate([Tensor; 4]),
    Pool,
    Linear(Tensor, Option<Tensor>),
}

impl LayerTensors {
    /// All but normalisations, which stay in 32 bits.
    fn all(&mut self) -> Vec<&mut Tensor> {
        match self {
            Self::Conv(filter, ..) => vec![filter],
            Self::Folded(filter, bias) => vec![filter, bias],
            Self::Gate(tensors) => tensors.iter_mut().collect(),
            Self::Pool => Vec::new(),
            Self::Linear(weight, bias) => std::iter::once(weight).chain(bias).collect(),
        }
    }
}

impl Standalone {
    /// The network with these weights, under the names that [`Network::weights`] lists.
    ///
    /// # Errors
    /// A missing tensor, or one of another shape.
    pub fn new(network: &Network, weights: &Weights, device: Device) -> Result<Self> {
        weights.check(network)?;
        let tensor = |name: &str| {
            let tensor = layout::from_host(weights.get(name)?);
            Ok(layout::channels_last(&tensor, device))
        };
        let mut statistics = Statistics::default();
        for spec in network.weights() {
            if let Some(norm) = spec.name.strip_suffix(".mean") {
                statistics.push(&tensor(&spec.name)?, &tensor(&format!("{norm}.variance"))?);
            }
        }
        Self::build(network, statistics, tensor)
    }

    /// The network with seeded initial weights (see [`initial::learned`]) that learn.
    ///
    /// # Errors
    /// None for a network of a space.
    pub(crate) fn trainable(
        network: &Network,
        seed: u64,
        device: Device,
    ) -> Result<(Self, Parameters)> {
        let mut builder = ParametersBuilder::default();
        for spec in network.weights().iter().filter(|spec| !is_statistic(&spec.name)) {
            builder.add(spec.name.clone(), initial::learned(seed, spec));
        }
        let parameters = builder.build(device);
        let module = Self::build(network, Statistics::default(), |name| {
            Ok(parameters.named(name).expect("every weight is learned").shallow_clone())
        })?;
        Ok((module, parameters))
    }

    fn build(
        network: &Network,
        statistics: Statistics,
        tensor: impl Fn(&str) -> Result<Tensor>,
    ) -> Result<Self> {
        let (mut tensors, mut norms) = (Vec::new(), 0..);
        for (index, block) in network.blocks().iter().enumerate() {
            let mut layers = Vec::new();
            for layer in block.layers() {
                let prefix = format!("{}.{}", network.block_name(index), layer.name);
                let tensor = |name: &str| tensor(&format!("{prefix}.{name}"));
                layers.push(match layer.kind {
                    LayerKind::Conv(_) => LayerTensors::Conv(
                        tensor("weight")?,
                        [tensor("norm.weight")?, tensor("norm.bias")?],
                        norms.next().unwrap_or_default(),
                    ),
                    LayerKind::SqueezeExcite { .. } => LayerTensors::Gate([
                        tensor("reduce.weight")?,
                        tensor("reduce.bias")?,
                        tensor("expand.weight")?,
                        tensor("expand.bias")?,
                    ]),
                    LayerKind::Pool => LayerTensors::Pool,
                    LayerKind::Linear { bias, .. } => LayerTensors::Linear(
                        tensor("weight")?,
                        bias.then(|| tensor("bias")).transpose()?,
                    ),
                });
            }
            tensors.push(layers);
        }
        Ok(Self { network: network.clone(), tensors, statistics })
    }

    /// The same with batch normalisation folded into the filters: faster, equal up to rounding.
    pub fn folded(mut self) -> Self {
        for layer in self.tensors.iter_mut().flatten() {
            if let LayerTensors::Conv(filter, [scale, shift], number) = layer {
                let [mean, variance] = self.statistics.of(*number);
                let scale = &*scale / (variance + NORM_EPSILON).sqrt();
                let bias = &*shift - mean * &scale;
                let filter = &*filter * scale.view([-1, 1, 1, 1]);
                *layer = LayerTensors::Folded(filter, bias);
            }
        }
        self
    }

    /// The same with all tensors of another kind, for example 16-bit floating point.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        for layer in self.tensors.iter_mut().flatten() {
            for tensor in layer.all() {
                *tensor = tensor.to_kind(kind);
            }
        }
        self
    }

    /// Its network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Logits `[N, classes]` for normalised images `[N, C, H, W]` in channels-last order, without gradients.
    pub fn logits(&self, images: &Tensor) -> Tensor {
        self.logits_by_block(images, &mut || {})
    }

    /// The same; `after_block` is called after each block's last operation was given to the device.
    pub fn logits_by_block(&self, images: &Tensor, after_block: &mut dyn FnMut()) -> Tensor {
        let mut mode = Mode::Calibrated(&self.statistics);
        no_grad(|| self.through(images, &mut mode, after_block))
    }

    /// Logits by the statistics that `mode` names.
    pub(crate) fn forward(&self, images: &Tensor, mode: &mut Mode<'_>) -> Tensor {
        self.through(images, mode, &mut || {})
    }

    fn through(
        &self,
        images: &Tensor,
        mode: &mut Mode<'_>,
        after_block: &mut dyn FnMut(),
    ) -> Tensor {
        let mut x = images.shallow_clone();
        let last = self.tensors.len() - 1;
        for (index, (block, tensors)) in self.network.blocks().iter().zip(&self.tensors).enumerate()
        {
            if index == last {
                x = mode.dropout(x);
            }
            x = ops::input_of(block, &x);
            let input = x.shallow_clone();
            for (layer, tensors) in block.layers().iter().zip(tensors) {
                x = match (tensors, layer.kind) {
                    (LayerTensors::Conv(filter, norm, number), LayerKind::Conv(conv)) => {
                        let y = ops::convolve(&x, filter, None, conv.stride, conv.groups);
                        let y = mode.normalise(*number, &y, norm.each_ref());
                        ops::activate(y, conv.activation)
                    }
                    (LayerTensors::Folded(filter, bias), LayerKind::Conv(conv)) => {
                        let y = ops::convolve(&x, filter, Some(bias), conv.stride, conv.groups);
                        ops::activate(y, conv.activation)
                    }
                    (LayerTensors::Gate(tensors), _) => ops::squeeze_excite(&x, tensors.each_ref()),
                    (LayerTensors::Linear(weight, bias), LayerKind::Linear { activation, .. }) => {
                        let y = x.flatten(1, -1).linear(weight, bias.as_ref());
                        ops::activate(y, activation)
                    }
                    _ => ops::pool(&x),
                };
            }
            x = ops::add_skip(x, &input, block);
            after_block();
        }
        x
    }
}

/// Whether a tensor is one that training does not learn by its gradient.
fn is_statistic(name: &str) -> bool {
    name.ends_with(".norm.mean") || name.ends_with(".norm.variance")
}
