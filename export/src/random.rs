//! Random weights, for profiling: a network's speed does not depend on what it has learned, as long as its numbers
//! stay ordinary (subnormal ones are slow).

use netfit_spaces::{Activation, Layer, LayerKind, Network, Random, Skip};

use crate::{Tensor, Weights};

/// Normal numbers that are drawn for a network's convolutions, which take them over and over from places drawn anew:
/// millions of them would take longer than all that is then measured.
const DRAWN: usize = 1 << 14;

impl Weights {
    /// Weights for every tensor of the network, drawn in the order of [`Network::weights`].
    ///
    /// Convolutions and linear maps are normal with variance `g / fan-in`, where g is 2 before an activation (He et
    /// al., ICCV 2015), 1/4 where the input is added next, so that long networks do not grow, and 1 elsewhere.
    /// Normalisation has a scale in 0.8..1.2, a variance in 0.5..1.5, and a shift and a mean of standard deviation
    /// 0.1, as have the biases. Activations neither vanish nor overflow.
    pub fn random(network: &Network, random: &mut Random) -> Self {
        let mut gains: Vec<(String, f64)> = Vec::new();
        for (index, block) in network.blocks().iter().enumerate() {
            let name = network.block_name(index);
            let prefix = |layer: &Layer| format!("{name}.{}.", layer.name);
            gains.extend(block.layers().iter().map(|layer| (prefix(layer), gain(layer))));
            if let Some((_, last)) = gains.last_mut().filter(|_| block.skip() != Skip::None) {
                *last = 0.25;
            }
        }
        let drawn: Vec<f64> = (0..DRAWN).map(|_| random.normal()).collect();
        let mut weights = Self::new();
        for spec in network.weights() {
            let gain = gains
                .iter()
                .find(|(prefix, _)| spec.name.starts_with(prefix))
                .map_or(1.0, |(_, gain)| *gain);
            let count = spec.shape.iter().product();
            let fan_in: usize = spec.shape[1..].iter().product();
            let vector =
                |draw: &mut dyn FnMut() -> f64| (0..count).map(|_| draw() as f32).collect();
            let data = match spec.name.rsplit_once("norm.").map(|(_, which)| which) {
                Some("weight") => vector(&mut || 0.8 + 0.4 * random.uniform()),
                Some("variance") => vector(&mut || 0.5 + random.uniform()),
                _ if spec.shape.len() == 1 => vector(&mut || 0.1 * random.normal()),
                _ => {
                    let deviation = (gain / fan_in.max(1) as f64).sqrt();
                    let from = drawn.iter().cycle().skip(random.below(DRAWN));
                    from.take(count).map(|x| (x * deviation) as f32).collect()
                }
            };
            weights.insert(spec.name, Tensor { shape: spec.shape, data });
        }
        weights
    }
}

fn gain(layer: &Layer) -> f64 {
    let activation = match layer.kind {
        LayerKind::Conv(conv) => conv.activation,
        LayerKind::Linear { activation, .. } => activation,
        LayerKind::SqueezeExcite { .. } | LayerKind::Pool => Activation::None,
    };
    if activation == Activation::None { 1.0 } else { 2.0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use netfit_spaces::Space;

    use super::*;

    #[test]
    fn random_weights_fit_their_network_and_follow_the_seed() {
        let space = Space::preset("ofa-mbv3").unwrap();
        let network = space.network(&space.smallest());
        let draw = |seed| Weights::random(&network, &mut Random::new(seed, "weights"));
        let weights = draw(3);
        weights.check(&network).unwrap();
        assert_eq!(weights, draw(3));
        assert_ne!(weights, draw(4));
        let name =
            network.weights().into_iter().find(|s| s.name.ends_with("variance")).unwrap().name;
        assert!(weights.get(&name).unwrap().data.iter().all(|v| (0.5..=1.5).contains(v)));
    }
}
