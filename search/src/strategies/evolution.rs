//! The evolutionary search of Once-for-All.

use netfit_spaces::{ChoiceKind, Genotype, Random, Space};
use serde::{Deserialize, Serialize};

use crate::{Error, Evaluated, Result, Strategy};

/// How [`Evolution`] searches.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `population` | 100 | random networks at the start, and children of a generation |
/// | `generations` | 500 | generations after the start |
/// | `parents` | 0.25 | parents of the next generation, a share of the population |
/// | `mutated` | 0.5 | share of the children that come by mutation; the others by crossover |
/// | `layer_rate` | 0.1 | probability that a layer's choices are drawn again |
/// | `depth_rate` | 0.1 | the same of a stage's depth |
/// | `resolution_rate` | 0.5 | the same of the resolution |
/// | `tries` | 100 | proposals for each child before a generation is closed as it is |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvolutionOptions {
    /// Random networks at the start, and children of a generation.
    pub population: usize,
    /// Generations after the start.
    pub generations: usize,
    /// Parents of the next generation, a share of the population.
    pub parents: f64,
    /// Share of the children that come by mutation; the others by crossover.
    pub mutated: f64,
    /// Probability that a layer's choices are drawn again.
    pub layer_rate: f64,
    /// Probability that a stage's depth is drawn again.
    pub depth_rate: f64,
    /// Probability that the resolution is drawn again.
    pub resolution_rate: f64,
    /// Proposals for each child before a generation is closed as it is.
    pub tries: usize,
}

impl Default for EvolutionOptions {
    fn default() -> Self {
        Self {
            population: 100,
            generations: 500,
            parents: 0.25,
            mutated: 0.5,
            layer_rate: 0.1,
            depth_rate: 0.1,
            resolution_rate: 0.5,
            tries: 100,
        }
    }
}

impl EvolutionOptions {
    /// Evaluations of a whole search, where no generation is closed early.
    pub fn evaluations(&self) -> usize {
        self.population.saturating_mul(self.generations.saturating_add(1))
    }

    fn check(&self) -> Result<()> {
        let fail = |reason: &str| {
            Err(Error::Configuration { strategy: "evolution", reason: reason.to_owned() })
        };
        if self.population == 0 || self.tries == 0 {
            return fail("expected `population` and `tries` of at least 1");
        }
        let shares =
            [self.parents, self.mutated, self.layer_rate, self.depth_rate, self.resolution_rate];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return fail("expected every share and rate from 0 to 1");
        }
        Ok(())
    }
}

/// Evolution as in Once-for-All (Cai et al., ICLR 2020; the authors' `evolution.py`).
///
/// A generation's parents are the best of the parents before and their children. Departures: a child that is known
/// already is no child; a crossing that is known or over the budget is mutated before two others are crossed, since
/// parents that have grown alike cross to what is known; where children are hard to find a generation is closed with
/// those that it has, so no loop is without bound; the last generation counts.
pub struct Evolution {
    space: Space,
    options: EvolutionOptions,
    random: Random,
    /// 0: the random start.
    generation: usize,
    parents: Vec<Evaluated>,
    children: Vec<Evaluated>,
    /// Of the children, how many came by mutation.
    mutants: usize,
    /// Proposals in this generation.
    proposed: usize,
}

impl Evolution {
    /// Evolution in `space`.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(space: &Space, options: EvolutionOptions, seed: u64) -> Result<Self> {
        options.check()?;
        Ok(Self {
            space: space.clone(),
            options,
            random: Random::new(seed, "strategy/evolution"),
            generation: 0,
            parents: Vec::new(),
            children: Vec::new(),
            mutants: 0,
            proposed: 0,
        })
    }

    /// Whether this generation has had all the proposals that it gets.
    fn tired(&self) -> bool {
        self.proposed >= self.options.tries.saturating_mul(self.options.population)
    }

    fn complete(&self) -> bool {
        let someone = !(self.children.is_empty() && self.parents.is_empty());
        self.children.len() >= self.options.population || (self.tired() && someone)
    }

    fn next_generation(&mut self) {
        let mut pool = std::mem::take(&mut self.parents);
        pool.append(&mut self.children);
        pool.sort_by(Evaluated::better_first);
        let share = self.options.parents * self.options.population as f64;
        pool.truncate((share.round() as usize).max(1));
        self.parents = pool;
        (self.generation, self.mutants, self.proposed) = (self.generation + 1, 0, 0);
    }

    fn parent(&mut self) -> usize {
        self.random.below(self.parents.len())
    }

    fn mutate(&mut self, genotype: &Genotype) -> Genotype {
        let EvolutionOptions { layer_rate, depth_rate, resolution_rate, .. } = self.options;
        self.space.mutate(genotype, &mut self.random, |kind| match kind {
            ChoiceKind::Resolution => resolution_rate,
            ChoiceKind::Depth { .. } => depth_rate,
            ChoiceKind::Kernel { .. }
            | ChoiceKind::Expand { .. }
            | ChoiceKind::Op { .. }
            | ChoiceKind::Squeeze { .. }
            | ChoiceKind::Skip { .. }
            | ChoiceKind::Width { .. } => layer_rate,
        })
    }

    fn cross(&mut self) -> Genotype {
        let (a, b) = (self.parent(), self.parent());
        let (a, b) = (&self.parents[a].genotype, &self.parents[b].genotype);
        self.space.crossover(a, b, &mut self.random)
    }

    /// The next proposal of this generation; `refused` is the crossing that was refused last.
    fn child(&mut self, mutant: bool, refused: Option<Genotype>) -> Genotype {
        match (self.generation, mutant, refused) {
            (0, ..) => self.space.sample(&mut self.random),
            (_, true, _) => {
                let parent = self.parent();
                let parent = self.parents[parent].genotype.clone();
                self.mutate(&parent)
            }
            (_, false, Some(crossing)) => self.mutate(&crossing),
            (_, false, None) => self.cross(),
        }
    }
}

impl Strategy for Evolution {
    fn ask(&mut self, most: usize) -> Vec<Genotype> {
        let mut asked = Vec::new();
        self.offer(most, &mut |genotype| {
            asked.push(genotype.clone());
            true
        });
        asked
    }

    fn offer(&mut self, most: usize, admit: &mut dyn FnMut(&Genotype) -> bool) {
        if self.complete() {
            self.next_generation();
        }
        if self.generation > self.options.generations {
            return;
        }
        let EvolutionOptions { population, mutated, .. } = self.options;
        let mutants = (mutated * population as f64).round() as usize;
        let mut missing = most.min(population - self.children.len());
        let mut refused = None;
        while missing > 0 {
            let mutant = self.generation > 0 && self.mutants < mutants;
            let mended = refused.is_some();
            let child = self.child(mutant, refused.take());
            self.proposed += 1;
            if admit(&child) {
                self.mutants += usize::from(mutant);
                missing -= 1;
            } else if self.tired() {
                return;
            } else if !mutant && !mended {
                refused = Some(child);
            }
        }
    }

    fn tell(&mut self, evaluated: &[Evaluated]) {
        self.children.extend_from_slice(evaluated);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn scored(genotypes: Vec<Genotype>) -> Vec<Evaluated> {
        let score = |genotype: Genotype| {
            let sum = genotype.values().iter().map(|&value| f64::from(value)).sum::<f64>();
            Evaluated { genotype, accuracy: sum, latency_s: 1.0, latency_interval_s: [1.0, 1.0] }
        };
        genotypes.into_iter().map(score).collect()
    }

    #[test]
    fn a_generation_is_half_mutants_of_the_best_quarter() {
        let space = Space::preset("ofa-28").unwrap();
        let options = EvolutionOptions { population: 20, generations: 1, ..Default::default() };
        assert_eq!(options.evaluations(), 40);
        let mut evolution = Evolution::new(&space, options, 0).unwrap();
        let start = evolution.ask(15);
        assert_eq!(start.len(), 15);
        let mut start = scored(start);
        evolution.tell(&start);
        let rest = scored(evolution.ask(15));
        assert_eq!(rest.len(), 5);
        evolution.tell(&rest);
        start.extend(rest);
        start.sort_by(Evaluated::better_first);
        // As the loop does: some children are refused, each genotype is taken once.
        let (mut offered, mut taken) = (0, HashSet::new());
        evolution.offer(50, &mut |child| {
            offered += 1;
            offered % 3 > 0 && taken.insert(child.clone())
        });
        assert_eq!(evolution.parents, start[..5]);
        assert_eq!((taken.len(), evolution.mutants), (20, 10));
        assert!(offered >= 29, "{offered}");
    }

    #[test]
    fn a_generation_without_children_is_closed() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let options = EvolutionOptions {
            population: 4,
            generations: 3,
            tries: 5,
            ..EvolutionOptions::default()
        };
        let mut evolution = Evolution::new(&space, options, 0).unwrap();
        let start = scored(evolution.ask(1));
        evolution.tell(&start);
        let mut asked = 0;
        while !evolution.ask(4).is_empty() {
            evolution.tell(&[]);
            asked += 1;
            assert!(asked < 100);
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        for options in [
            EvolutionOptions { population: 0, ..Default::default() },
            EvolutionOptions { mutated: 1.5, ..Default::default() },
            EvolutionOptions { parents: f64::NAN, ..Default::default() },
        ] {
            let error = Evolution::new(&space, options, 0).err().unwrap().to_string();
            assert!(error.starts_with("strategy `evolution`: expected"), "{error}");
        }
    }
}
