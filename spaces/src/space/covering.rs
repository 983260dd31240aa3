//! Networks that together hold every block of a space, and these blocks.

use std::collections::BTreeSet;

use crate::{Block, Genotype, Slot, Space, stage::Stage};

impl Space {
    /// Genotypes of full depth with the same option in all layers, for each input shape: together they hold every block
    /// of the space at least once. Where layers are skipped there is nothing to hold.
    ///
    /// Of stages whose layers are all alike, neighbouring widths meet in every pair, and so do a stage's width and its
    /// skip; as the skip changes no first layer and the stage before no later one, one set of networks serves both.
    pub fn covering(&self) -> Vec<Genotype> {
        let skips = self.stages[0].alike.unwrap_or(1);
        let shared = self.stages.iter().all(|stage| stage.alike == Some(skips));
        self.probes(if shared { skips } else { 1 })
    }

    /// As [`Space::covering`], with every option beside every pair of neighbouring widths.
    pub fn combinations(&self) -> Vec<Genotype> {
        self.probes(1)
    }

    /// Options `skips * a + (y mod skips)` for each `a`, width `(x + stage * y) mod N` for each `x` and `y`: for one
    /// option all pairs of neighbouring widths, whose difference is `y`, and for one `y` every width.
    fn probes(&self, skips: usize) -> Vec<Genotype> {
        let longest = |of: fn(&Stage) -> usize| self.stages.iter().map(of).max().unwrap_or(1);
        let (options, widths) =
            (longest(|stage| stage.options.len()), longest(|stage| stage.widths.len()));
        let mut genotypes = Vec::new();
        for resolution in 0..self.inputs.len() {
            for base in 0..options.div_ceil(skips) {
                for x in 0..widths {
                    for y in 0..widths.max(skips) {
                        let option = base * skips + y % skips;
                        if !self.skips(option) {
                            genotypes.push(
                                self.probe(resolution, option, |stage| (x + stage * y) % widths),
                            );
                        }
                    }
                }
            }
        }
        genotypes
    }

    fn probe(&self, resolution: usize, option: usize, width: impl Fn(usize) -> usize) -> Genotype {
        let mut genotype = self.largest();
        if let Some(index) = self.resolution {
            genotype.0[index] = resolution as u8;
        }
        for (number, stage) in self.stages.iter().enumerate() {
            if let Some(index) = stage.width {
                genotype.0[index] = (width(number) % stage.widths.len()) as u8;
            }
            for (index, layer) in stage.layers.iter().enumerate() {
                layer.set(&mut genotype, stage.nearest(index, option));
            }
        }
        genotype
    }

    /// Every block that can stand in each slot for an input shape, in the order of a layer's options.
    ///
    /// # Panics
    /// Never for what this space hands out: it is checked when it is built.
    pub fn slots(&self, input: usize) -> Vec<(Slot, Vec<Block>)> {
        let mut slots: Vec<(Slot, Vec<Block>)> = Vec::new();
        for genotype in self.covering() {
            if self.resolution.is_some_and(|index| usize::from(genotype.0[index]) != input) {
                continue;
            }
            for (slot, block) in self.blocks(&genotype) {
                match slots.iter_mut().find(|(known, _)| *known == slot) {
                    Some((_, blocks)) if blocks.contains(&block) => {}
                    Some((_, blocks)) => blocks.push(block),
                    None => slots.push((slot, vec![block])),
                }
            }
        }
        slots.sort_by_key(|(slot, _)| *slot);
        slots
    }

    /// Every distinct block of the space, by its line.
    pub fn distinct_blocks(&self) -> Vec<Block> {
        let mut seen = BTreeSet::new();
        let all = (0..self.inputs.len())
            .flat_map(|input| self.slots(input))
            .flat_map(|(_, blocks)| blocks);
        all.filter(|block| seen.insert(block.to_string())).collect()
    }

    /// Whether an option leaves every layer out that can be.
    fn skips(&self, option: usize) -> bool {
        self.stages.iter().all(|stage| stage.skips(option))
    }
}
