//! Cutting a subnet out of the supernet.

use netfit_export::Weights;
use netfit_spaces::{Genotype, LayerKind};
use tch::{Tensor, no_grad};

use crate::{Statistics, Supernet, elastic_block::ElasticLayer, layout::to_host};

impl Supernet {
    /// The weights of a genotype's network under the names that `Network::weights` lists, with statistics that were
    /// collected on it.
    ///
    /// # Panics
    /// Where the statistics were collected on another network.
    pub fn extract(&self, genotype: &Genotype, statistics: &Statistics) -> Weights {
        no_grad(|| self.cut(genotype, statistics))
    }

    fn cut(&self, genotype: &Genotype, statistics: &Statistics) -> Weights {
        let mut weights = Weights::new();
        for (name, elastic, layer) in self.layers(genotype).1 {
            let mut put = |part: &str, tensor: &Tensor| {
                weights.insert(format!("{name}.{part}"), to_host(tensor));
            };
            match (elastic, layer.kind) {
                (ElasticLayer::Conv(elastic), LayerKind::Conv(conv)) => {
                    put("weight", &self.filter(elastic, &layer, conv));
                    let [scale, shift] = self.norm(&elastic.norm, layer.output.channels);
                    let [mean, variance] = statistics.of(elastic.norm.number);
                    put("norm.weight", &scale);
                    put("norm.bias", &shift);
                    put("norm.mean", &mean);
                    put("norm.variance", &variance);
                }
                (ElasticLayer::SqueezeExcite(_), LayerKind::SqueezeExcite { squeeze }) => {
                    let parts = self.gate(elastic, layer.input.channels, squeeze);
                    let names = ["reduce.weight", "reduce.bias", "expand.weight", "expand.bias"];
                    names.iter().zip(&parts).for_each(|(name, part)| put(name, part));
                }
                (ElasticLayer::Linear { weight, bias }, _) => {
                    put("weight", self.parameters().get(*weight));
                    if let Some(bias) = bias {
                        put("bias", self.parameters().get(*bias));
                    }
                }
                _ => {}
            }
        }
        weights
    }
}
