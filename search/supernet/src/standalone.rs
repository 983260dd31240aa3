//! A network with weights of its own: the libtorch module of `export::Weights`.

use netfit_export::Weights;
use netfit_spaces::{LayerKind, NORM_EPSILON, Network};
use tch::{Device, Tensor, no_grad};

use crate::{Result, layout, ops};

/// A network's layers with their tensors, for inference.
#[derive(Debug)]
pub struct Standalone {
    network: Network,
    /// Per block, per layer.
    tensors: Vec<Vec<LayerTensors>>,
}

#[derive(Debug)]
enum LayerTensors {
    /// Filter; scale, shift, mean and variance.
    Conv(Tensor, [Tensor; 4]),
    /// Filter and bias, batch normalisation folded in.
    Folded(Tensor, Tensor),
    Gate([Tensor; 4]),
    Pool,
    Linear(Tensor, Option<Tensor>),
}

impl Standalone {
    /// The network with these weights, under the names that [`Network::weights`] lists.
    ///
    /// # Errors
    /// A missing tensor, or one of another shape.
    pub fn new(network: &Network, weights: &Weights, device: Device) -> Result<Self> {
        weights.check(network)?;
        let mut tensors = Vec::new();
        for (index, block) in network.blocks().iter().enumerate() {
            let mut layers = Vec::new();
            for layer in block.layers() {
                let prefix = format!("{}.{}", network.block_name(index), layer.name);
                let tensor = |name: &str| -> Result<Tensor> {
                    let tensor = weights.get(&format!("{prefix}.{name}"))?;
                    Ok(layout::channels_last(&layout::from_host(tensor), device))
                };
                layers.push(match layer.kind {
                    LayerKind::Conv(_) => LayerTensors::Conv(
                        tensor("weight")?,
                        [
                            tensor("norm.weight")?,
                            tensor("norm.bias")?,
                            tensor("norm.mean")?,
                            tensor("norm.variance")?,
                        ],
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
        Ok(Self { network: network.clone(), tensors })
    }

    /// The same with batch normalisation folded into the filters: faster, equal up to rounding.
    pub fn folded(mut self) -> Self {
        for layer in self.tensors.iter_mut().flatten() {
            if let LayerTensors::Conv(filter, [weight, bias, mean, variance]) = layer {
                let scale = &*weight / (&*variance + NORM_EPSILON).sqrt();
                let shift = &*bias - &*mean * &scale;
                let filter = &*filter * scale.view([-1, 1, 1, 1]);
                *layer = LayerTensors::Folded(filter, shift);
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
        no_grad(|| self.forward(images))
    }

    fn forward(&self, images: &Tensor) -> Tensor {
        let mut x = images.shallow_clone();
        for (block, tensors) in self.network.blocks().iter().zip(&self.tensors) {
            let input = x.shallow_clone();
            for (layer, tensors) in block.layers().iter().zip(tensors) {
                x = match (tensors, layer.kind) {
                    (LayerTensors::Conv(filter, norm), LayerKind::Conv(conv)) => {
                        let y = ops::convolve(&x, filter, None, conv.stride, conv.groups);
                        ops::activate(ops::normalise(&y, norm.each_ref(), false), conv.activation)
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
            if block.residual() {
                x = x.g_add_(&input);
            }
        }
        x
    }
}
