//! Costs that add up over blocks, as an index by choice.

use netfit_spaces::{Block, ChoiceKind, Genotype, Slot, Space};

use crate::Result;

/// A cost of networks that is the sum of their blocks' costs: seconds, multiply-adds, parameters.
///
/// Built once for a space; a genotype's sum is then one look-up for each layer, by the values of its choices, with
/// no block built and no string touched. The block at a layer depends on that layer's choices, on the input size and,
/// where widths are chosen, on those of its stage and of the one before, so the smallest sum is exact too: the cheapest
/// options and depth of each stage for each pair of widths, then the cheapest sequence of widths.
#[derive(Clone, Debug)]
pub struct BlockSums {
    space: Space,
    resolution: Option<usize>,
    /// Stem and head, for each input size and width of the last stage.
    fixed: Vec<Vec<f64>>,
    stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
struct Stage {
    depth: Option<usize>,
    depths: Vec<usize>,
    width: Option<usize>,
    widths: usize,
    /// Whether one option is chosen for all layers.
    alike: bool,
    layers: Vec<Layer>,
}

/// A layer's place among its costs is the sum of its choices' values times their steps: its option first, then the
/// width of its stage, and for a stage's first layer that of the stage before.
#[derive(Clone, Debug)]
struct Layer {
    /// Index, number of values, step; the last runs fastest.
    digits: Vec<(usize, usize, usize)>,
    options: usize,
    /// The choices of widths with their steps.
    widths: Vec<(usize, usize)>,
    /// `[input size][place]`
    costs: Vec<Vec<f64>>,
}

/// The cheapest networks up to a stage, for one width of it.
#[derive(Clone)]
struct Cheapest {
    cost: f64,
    values: Vec<u8>,
}

impl BlockSums {
    /// The sums of `cost` over the networks of `space`.
    ///
    /// # Errors
    /// What `cost` reports.
    pub fn new(space: &Space, mut cost: impl FnMut(&Block) -> Result<f64>) -> Result<Self> {
        let resolution = find(space, ChoiceKind::Resolution).map(|(index, _)| index);
        let mut stages: Vec<Stage> = Vec::new();
        for index in 0..space.spec().stages.len() {
            let before = stages.last().and_then(|stage| Some((stage.width?, stage.widths)));
            stages.push(Stage::new(space, index, before));
        }
        let last = stages.last().map_or(1, |stage| stage.widths);
        let fixed = vec![vec![0.0; last]; space.inputs().len()];
        let mut sums = Self { space: space.clone(), resolution, fixed, stages };
        for genotype in space.combinations() {
            let input = value(genotype.values(), resolution);
            let mut fixed = 0.0;
            for (slot, block) in space.blocks(&genotype) {
                let seconds = cost(&block)?;
                match slot {
                    Slot::Layer { stage, layer } => {
                        let layer = &mut sums.stages[stage].layers[layer];
                        let place = layer.place(genotype.values());
                        layer.costs[input][place] = seconds;
                    }
                    Slot::Stem(_) | Slot::Head(_) => fixed += seconds,
                }
            }
            let width = sums.last_width(genotype.values());
            sums.fixed[input][width] = fixed;
        }
        Ok(sums)
    }

    /// The space it was built for.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The sum of a genotype's blocks.
    pub fn sum(&self, genotype: &Genotype) -> f64 {
        let values = genotype.values();
        let input = value(values, self.resolution);
        let mut sum = self.fixed[input][self.last_width(values)];
        for stage in &self.stages {
            let depth = stage.depths[value(values, stage.depth)];
            for layer in &stage.layers[..depth] {
                sum += layer.costs[input][layer.place(values)];
            }
        }
        sum
    }

    fn last_width(&self, values: &[u8]) -> usize {
        self.stages.last().map_or(0, |stage| value(values, stage.width))
    }

    /// The sum as what is fixed and what each option of each choice adds, in a genotype's order; none where something
    /// else is chosen than one of each layer's listed ops.
    pub fn by_choice(&self) -> Option<(f64, Vec<Vec<f64>>)> {
        let (mut fixed, mut options) = (self.fixed[0][0], Vec::new());
        for layer in self.stages.iter().flat_map(|stage| &stage.layers) {
            if layer.digits.is_empty() {
                fixed += layer.costs[0][0];
            } else {
                options.push(layer.costs[0].clone());
            }
        }
        let listed = |choice: &netfit_spaces::Choice| matches!(choice.kind, ChoiceKind::Op { .. });
        let each = self.stages.iter().all(|stage| !stage.alike);
        (each && self.space.choices().iter().all(listed)).then_some((fixed, options))
    }

    /// The genotype with the smallest sum, and that sum.
    ///
    /// # Panics
    /// Never: a space has an input size, and what is chosen is a value of its choice.
    pub fn smallest(&self) -> (Genotype, f64) {
        let cheapest = (0..self.fixed.len())
            .flat_map(|input| self.smallest_of(input))
            .reduce(cheaper)
            .expect("a space has at least one input size");
        let genotype =
            self.space.genotype(&cheapest.values).expect("every value is one of its choice's");
        let sum = self.sum(&genotype);
        (genotype, sum)
    }

    /// The smallest sum for an input size and each width of the last stage.
    fn smallest_of(&self, input: usize) -> Vec<Cheapest> {
        let mut values = vec![0; self.space.choices().len()];
        set(&mut values, self.resolution, input);
        let mut before = vec![Cheapest { cost: 0.0, values }];
        for stage in &self.stages {
            let at = |width: usize| {
                let after = |(other, start): (usize, &Cheapest)| {
                    stage.cheapest(input, (other, width), start)
                };
                let all = before.iter().enumerate().map(after);
                all.reduce(cheaper).expect("at least one width before")
            };
            before = (0..stage.widths).map(at).collect();
        }
        for (end, fixed) in before.iter_mut().zip(&self.fixed[input]) {
            end.cost += fixed;
        }
        before
    }
}

impl Stage {
    fn new(space: &Space, index: usize, before: Option<(usize, usize)>) -> Self {
        let spec = &space.spec().stages[index];
        let width = find(space, ChoiceKind::Width { stage: index });
        let alike = spec.alike.is_some();
        let deepest = spec.depth.iter().copied().max().unwrap_or(0);
        let layer = |layer| {
            let own = if alike { 0 } else { layer };
            Layer::new(space, (index, own), width, before.filter(|_| layer == 0))
        };
        Self {
            depth: find(space, ChoiceKind::Depth { stage: index }).map(|(index, _)| index),
            depths: spec.depth.clone(),
            width: width.map(|(index, _)| index),
            widths: width.map_or(1, |(_, size)| size),
            alike,
            layers: (0..deepest).map(layer).collect(),
        }
    }

    /// The smallest sum after `start` with these widths of the stage before and of this one.
    fn cheapest(
        &self,
        input: usize,
        (before, width): (usize, usize),
        start: &Cheapest,
    ) -> Cheapest {
        let cost = |layer: usize, option: usize| {
            let shared = if layer == 0 { before * self.widths } else { 0 };
            let layer = &self.layers[layer];
            layer.costs[input][option + layer.options * (width + shared)]
        };
        let mut chosen = vec![0; self.layers.len()];
        let (depth, least) = if self.alike {
            let options = self.layers[0].options;
            let sum = |depth: usize, option| (0..depth).map(|layer| cost(layer, option)).sum();
            let each = |&depth: &usize| least((0..options).map(|option| sum(depth, option)));
            let each: Vec<(usize, f64)> = self.depths.iter().map(each).collect();
            let (depth, least) = least(each.iter().map(|(_, sum)| *sum));
            chosen.fill(each[depth].0);
            (depth, least)
        } else {
            let each = |layer: usize| {
                least((0..self.layers[layer].options).map(|option| cost(layer, option)))
            };
            let each: Vec<(usize, f64)> = (0..self.layers.len()).map(each).collect();
            chosen = each.iter().map(|(option, _)| *option).collect();
            let sum = |depth: &usize| each[..*depth].iter().map(|(_, cost)| cost).sum::<f64>();
            least(self.depths.iter().map(sum))
        };
        let mut values = start.values.clone();
        set(&mut values, self.depth, depth);
        set(&mut values, self.width, width);
        for (layer, option) in self.layers.iter().zip(chosen).take(self.depths[depth]) {
            for &(index, size, step) in &layer.digits {
                values[index] = (option / step % size) as u8;
            }
        }
        Cheapest { cost: start.cost + least, values }
    }
}

impl Layer {
    fn new(
        space: &Space,
        (stage, layer): (usize, usize),
        width: Option<(usize, usize)>,
        before: Option<(usize, usize)>,
    ) -> Self {
        // The last of them runs fastest.
        let kinds = [
            ChoiceKind::Op { stage, layer },
            ChoiceKind::Kernel { stage, layer },
            ChoiceKind::Expand { stage, layer },
            ChoiceKind::Squeeze { stage },
            ChoiceKind::Skip { stage },
        ];
        let (mut digits, mut widths, mut places) = (Vec::new(), Vec::new(), 1);
        for (index, size) in kinds.into_iter().rev().filter_map(|kind| find(space, kind)) {
            digits.push((index, size, places));
            places *= size;
        }
        let options = places;
        for (index, size) in width.into_iter().chain(before) {
            widths.push((index, places));
            places *= size;
        }
        let costs = vec![vec![0.0; places]; space.inputs().len()];
        Self { digits, options, widths, costs }
    }

    fn place(&self, values: &[u8]) -> usize {
        let value = |index: usize| usize::from(values[index]);
        let option: usize = self.digits.iter().map(|&(index, _, step)| value(index) * step).sum();
        option + self.widths.iter().map(|&(index, step)| value(index) * step).sum::<usize>()
    }
}

/// A choice of the space with its number of values.
fn find(space: &Space, kind: ChoiceKind) -> Option<(usize, usize)> {
    let index = space.choices().iter().position(|choice| choice.kind == kind)?;
    Some((index, space.choices()[index].size))
}

/// The first where both cost the same.
fn cheaper(a: Cheapest, b: Cheapest) -> Cheapest {
    if b.cost < a.cost { b } else { a }
}

fn value(values: &[u8], choice: Option<usize>) -> usize {
    choice.map_or(0, |index| usize::from(values[index]))
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
        for preset in
            ["ofa-mbv3", "ofa-mbv3-multi", "ofa-28", "nas-bench-macro", "proxyless", "mnasnet"]
        {
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

    /// Two stages whose layers are all alike and whose widths are chosen.
    const ALIKE: &str = r#"
name = "alike"
input = "1x8x8"
classes = 3
stem = ["conv k3 s1 relu o8"]
head = ["conv k1 s1 relu o16", "pool", "linear"]

[[stages]]
width = 8
stride = 1
depth = [1, 2]
[stages.alike]
ops = ["conv relu", "mbconv e2 relu"]
kernel = [3]
squeeze = [0.0, 0.25]
skip = ["none", "identity"]
filters = [1.0, 2.0]

[[stages]]
width = 16
stride = 2
depth = [2, 3]
[stages.alike]
ops = ["dsconv relu"]
kernel = [3, 5]
squeeze = [0.25]
skip = ["none", "pool", "identity"]
filters = [0.5, 1.0, 1.5]
"#;

    #[test]
    fn the_smallest_sum_is_that_of_enumeration() {
        for space in
            [Space::preset("nas-bench-macro").unwrap(), Space::from_toml("alike", ALIKE).unwrap()]
        {
            the_smallest_sum_is_that_of_enumeration_in(&space);
        }
    }

    fn the_smallest_sum_is_that_of_enumeration_in(space: &Space) {
        // Costs that favour no one option everywhere, some below 0.
        let cost = |block: &Block| {
            let text = block.to_string();
            let hash =
                text.bytes().fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
            Ok((hash % 1000) as f64 - 300.0)
        };
        let sums = BlockSums::new(space, cost).unwrap();
        for genotype in space.enumerate().take(400) {
            let blocks = space.blocks(&genotype);
            let expected: f64 = blocks.iter().map(|(_, block)| cost(block).unwrap()).sum();
            assert!((sums.sum(&genotype) - expected).abs() < 1e-9, "{genotype}");
        }
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
