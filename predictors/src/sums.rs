//! Costs that add up over blocks, as an index by choice.

use netfit_spaces::{Block, ChoiceKind, Genotype, Slot, Space};

use crate::Result;

/// A cost of networks that is the sum of their blocks' costs: seconds, multiply-adds, parameters.
///
/// Built once for a space; a genotype's sum is then one look-up for each layer, by the values of its choices, with
/// no block built and no string touched. The block at a layer depends on that layer's choices and on the input size
/// alone, so the smallest sum is exact too: the cheapest option in each layer, the cheapest depth of each stage.
#[derive(Clone, Debug)]
pub struct BlockSums {
    space: Space,
    resolution: Option<usize>,
    /// Stem and head, for each input size.
    fixed: Vec<f64>,
    stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
struct Stage {
    depth: Option<usize>,
    depths: Vec<usize>,
    layers: Vec<Layer>,
}

/// A layer's option is `major * minor_size + minor`, each the value of a choice, or 0 where there is none.
#[derive(Clone, Debug)]
struct Layer {
    major: Option<usize>,
    minor: Option<usize>,
    minor_size: usize,
    /// `[input size][option]`
    costs: Vec<Vec<f64>>,
}

impl BlockSums {
    /// The sums of `cost` over the networks of `space`.
    ///
    /// # Errors
    /// What `cost` reports.
    pub fn new(space: &Space, mut cost: impl FnMut(&Block) -> Result<f64>) -> Result<Self> {
        let find = |kind| space.choices().iter().position(|choice| choice.kind == kind);
        let inputs = space.inputs().len();
        let stage = |(index, spec): (usize, &netfit_spaces::StageSpec)| {
            let deepest = spec.depth.iter().copied().max().unwrap_or(0);
            let layer = |layer| Layer::new(space, index, layer, inputs);
            Stage {
                depth: find(ChoiceKind::Depth { stage: index }),
                depths: spec.depth.clone(),
                layers: (0..deepest).map(layer).collect(),
            }
        };
        let stages = space.spec().stages.iter().enumerate().map(stage).collect();
        let resolution = find(ChoiceKind::Resolution);
        let mut sums = Self { space: space.clone(), resolution, fixed: vec![0.0; inputs], stages };
        for genotype in space.covering() {
            let input = value(&genotype, resolution);
            let mut fixed = 0.0;
            for (slot, block) in space.blocks(&genotype) {
                let seconds = cost(&block)?;
                match slot {
                    Slot::Layer { stage, layer } => {
                        let layer = &mut sums.stages[stage].layers[layer];
                        let option = layer.option(&genotype);
                        layer.costs[input][option] = seconds;
                    }
                    Slot::Stem(_) | Slot::Head(_) => fixed += seconds,
                }
            }
            sums.fixed[input] = fixed;
        }
        Ok(sums)
    }

    /// The space it was built for.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The sum of a genotype's blocks.
    pub fn sum(&self, genotype: &Genotype) -> f64 {
        let input = value(genotype, self.resolution);
        let mut sum = self.fixed[input];
        for stage in &self.stages {
            let depth = stage.depths[value(genotype, stage.depth)];
            for layer in &stage.layers[..depth] {
                sum += layer.costs[input][layer.option(genotype)];
            }
        }
        sum
    }

    /// The genotype with the smallest sum, and that sum.
    ///
    /// # Panics
    /// Never: a space has an input size, and what is chosen is a value of its choice.
    pub fn smallest(&self) -> (Genotype, f64) {
        let mut best: Option<(f64, Vec<u8>)> = None;
        for (input, &fixed) in self.fixed.iter().enumerate() {
            let mut values = vec![0; self.space.choices().len()];
            set(&mut values, self.resolution, input);
            let stages = self.stages.iter().map(|stage| stage.smallest(input, &mut values));
            let sum = fixed + stages.sum::<f64>();
            if best.as_ref().is_none_or(|(least, _)| sum < *least) {
                best = Some((sum, values));
            }
        }
        let (_, values) = best.expect("a space has at least one input size");
        let digit = |&value: &u8| char::from_digit(u32::from(value), 36).unwrap_or('?');
        let word: String = values.iter().map(digit).collect();
        let genotype = self.space.parse(&word).expect("every value is one of its choice's");
        let sum = self.sum(&genotype);
        (genotype, sum)
    }
}

impl Stage {
    /// The smallest sum over depths and options; sets the choices that reach it.
    fn smallest(&self, input: usize, values: &mut [u8]) -> f64 {
        let cheapest: Vec<(usize, f64)> =
            self.layers.iter().map(|layer| least(layer.costs[input].iter().copied())).collect();
        let sum = |depth: &usize| cheapest[..*depth].iter().map(|(_, cost)| cost).sum::<f64>();
        let (depth, cost) = least(self.depths.iter().map(sum));
        set(values, self.depth, depth);
        for (layer, (option, _)) in self.layers.iter().zip(&cheapest).take(self.depths[depth]) {
            set(values, layer.major, option / layer.minor_size);
            set(values, layer.minor, option % layer.minor_size);
        }
        cost
    }
}

impl Layer {
    fn new(space: &Space, stage: usize, layer: usize, inputs: usize) -> Self {
        let (mut major, mut minor) = (None, None);
        let (mut major_size, mut minor_size) = (1, 1);
        for (index, choice) in space.choices().iter().enumerate() {
            let kind = choice.kind;
            if kind == (ChoiceKind::Kernel { stage, layer })
                || kind == (ChoiceKind::Op { stage, layer })
            {
                (major, major_size) = (Some(index), choice.size);
            } else if kind == (ChoiceKind::Expand { stage, layer }) {
                (minor, minor_size) = (Some(index), choice.size);
            }
        }
        let costs = vec![vec![0.0; major_size * minor_size]; inputs];
        Self { major, minor, minor_size, costs }
    }

    fn option(&self, genotype: &Genotype) -> usize {
        value(genotype, self.major) * self.minor_size + value(genotype, self.minor)
    }
}

fn value(genotype: &Genotype, choice: Option<usize>) -> usize {
    choice.map_or(0, |index| usize::from(genotype.values()[index]))
}

fn set(values: &mut [u8], choice: Option<usize>, value: usize) {
    if let Some(index) = choice {
        values[index] = value as u8;
    }
}

/// The first smallest cost, with its place.
fn least(costs: impl Iterator<Item = f64>) -> (usize, f64) {
    costs
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("a stage has a depth and a layer an option")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::Random;

    use super::*;

    fn multiply_adds(space: &Space) -> BlockSums {
        BlockSums::new(space, |block| Ok(block.multiply_adds().0 as f64)).unwrap()
    }

    /// The network's own count is the oracle; whole numbers, so the sums are exact.
    #[test]
    fn sums_agree_with_the_networks_own_counts() {
        for preset in ["ofa-mbv3", "ofa-mbv3-multi", "ofa-28", "nas-bench-macro", "proxyless"] {
            let space = Space::preset(preset).unwrap();
            let sums = multiply_adds(&space);
            let mut random = Random::new(1, "sums");
            for _ in 0..60 {
                let genotype = space.sample(&mut random);
                let expected = space.network(&genotype).multiply_adds().0 as f64;
                assert_eq!(sums.sum(&genotype).to_bits(), expected.to_bits(), "{genotype}");
            }
        }
    }

    #[test]
    fn the_smallest_sum_is_that_of_enumeration() {
        let space = Space::preset("nas-bench-macro").unwrap();
        // Costs that favour no one option everywhere, some below 0.
        let cost = |block: &Block| {
            let text = block.to_string();
            let hash =
                text.bytes().fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
            Ok((hash % 1000) as f64 - 300.0)
        };
        let sums = BlockSums::new(&space, cost).unwrap();
        let (genotype, smallest) = sums.smallest();
        let expected = space.enumerate().map(|g| sums.sum(&g)).fold(f64::INFINITY, f64::min);
        assert!((smallest - expected).abs() < 1e-9);
        assert!((sums.sum(&genotype) - smallest).abs() < 1e-9);
    }

    #[test]
    fn elastic_spaces_have_their_smallest_network_at_the_smallest_choices() {
        for preset in ["ofa-mbv3-multi", "ofa-28"] {
            let space = Space::preset(preset).unwrap();
            assert_eq!(multiply_adds(&space).smallest().0, space.smallest());
        }
    }
}
