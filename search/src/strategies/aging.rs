//! Regularised evolution.

use std::collections::VecDeque;

use netfit_spaces::{Genotype, Random, Space};

use super::{choices::Choices, proposals::Proposals};
use crate::{Error, Evaluated, Result, Strategy};

const NAME: &str = "aging-evolution";

/// How [`AgingEvolution`] searches.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `population` | 100 | networks that are alive; random ones at the start |
/// | `sample` | 25 | of them, drawn with replacement; the best is the parent |
/// | `tries` | 20 | mutations of one parent that are known already before one more choice is changed; random networks proposed for each of the start |
#[derive(Clone, Debug, PartialEq)]
pub struct AgingEvolutionOptions {
    /// Networks that are alive; random ones at the start.
    pub population: usize,
    /// Of them, drawn with replacement; the best is the parent.
    pub sample: usize,
    /// Mutations of one parent that are known already before one more choice is changed; random networks proposed for
    /// each of the start.
    pub tries: usize,
}

impl Default for AgingEvolutionOptions {
    fn default() -> Self {
        Self { population: 100, sample: 25, tries: 20 }
    }
}

/// Regularised evolution (Real et al., AAAI 2019, algorithm 1): the best of a sample has a child, the oldest dies.
///
/// A mutation changes one active choice to another value; what it switches on is drawn uniformly. Departures: the
/// paper's identity mutation is left out, since it proposes what is known; where one change leads to nothing new,
/// a child has two, then three, and at last it is a uniform draw; where the budget leaves few random networks the start
/// is closed after `tries` proposals for each. A child is proposed at a time.
pub struct AgingEvolution {
    choices: Choices,
    options: AgingEvolutionOptions,
    random: Random,
    proposals: Proposals,
    /// Oldest first.
    alive: VecDeque<Evaluated>,
    /// Random networks proposed for the start.
    proposed: usize,
}

impl AgingEvolution {
    /// Regularised evolution in `space`.
    ///
    /// # Errors
    /// Options of 0.
    pub fn new(space: &Space, options: AgingEvolutionOptions, seed: u64) -> Result<Self> {
        if options.population == 0 || options.sample == 0 || options.tries == 0 {
            let reason = "expected `population`, `sample` and `tries` of at least 1".to_owned();
            return Err(Error::Configuration { strategy: NAME, reason });
        }
        Ok(Self {
            choices: Choices::new(space),
            options,
            random: Random::new(seed, "strategy/aging-evolution"),
            proposals: Proposals::default(),
            alive: VecDeque::new(),
            proposed: 0,
        })
    }

    fn child(&mut self) -> Option<Genotype> {
        let Self { choices, options, random, proposals, alive, .. } = self;
        let drawn = (0..options.sample).map(|_| &alive[random.below(alive.len())]);
        let parent = drawn.min_by(|a, b| a.better_first(b))?;
        let attempts = options.tries * choices.sizes().len();
        proposals.fresh(attempts, choices.space(), random, |attempt, random| {
            choices.mutate(&parent.genotype, 1 + attempt / options.tries, random)
        })
    }
}

impl Strategy for AgingEvolution {
    fn ask(&mut self, most: usize) -> Vec<Genotype> {
        let AgingEvolutionOptions { population, tries, .. } = self.options;
        let missing = population.saturating_sub(self.alive.len());
        let tired = self.proposed >= tries.saturating_mul(population) && !self.alive.is_empty();
        if missing == 0 || tired {
            return self.child().into_iter().take(most).collect();
        }
        let space = self.choices.space();
        let start = self.proposals.uniform(missing.min(most), space, &mut self.random);
        self.proposed += start.len();
        start
    }

    fn tell(&mut self, evaluated: &[Evaluated]) {
        for network in evaluated {
            self.proposals.note(&network.genotype);
            self.alive.push_back(network.clone());
            if self.alive.len() > self.options.population {
                self.alive.pop_front();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scored(genotype: Genotype, accuracy: f64) -> Evaluated {
        Evaluated { genotype, accuracy, latency_s: 1.0, latency_interval_s: [1.0, 1.0] }
    }

    #[test]
    fn the_best_of_a_sample_has_a_child_and_the_oldest_dies() {
        let space = Space::preset("nas-bench-macro").unwrap();
        // A sample that surely holds everyone: the parent is the best one alive.
        let options = AgingEvolutionOptions { population: 4, sample: 200, tries: 20 };
        let mut evolution = AgingEvolution::new(&space, options, 0).unwrap();
        let start = evolution.ask(100);
        assert_eq!(start.len(), 4);
        // The oldest is the best.
        let accuracies = [0.9, 0.1, 0.8, 0.2];
        let told: Vec<_> =
            start.iter().zip(accuracies).map(|(g, accuracy)| scored(g.clone(), accuracy)).collect();
        evolution.tell(&told);
        let distance = |a: &Genotype, b: &Genotype| {
            a.values().iter().zip(b.values()).filter(|(a, b)| a != b).count()
        };
        let child = evolution.ask(100);
        assert_eq!((child.len(), distance(&child[0], &start[0])), (1, 1));
        evolution.tell(&[scored(child[0].clone(), 0.0)]);
        assert!(evolution.alive.iter().all(|network| network.genotype != start[0]));
        let child = evolution.ask(100);
        assert_eq!(distance(&child[0], &start[2]), 1, "the child of the best one left alive");
    }

    #[test]
    fn options_of_0_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let options = AgingEvolutionOptions { sample: 0, ..Default::default() };
        let error = AgingEvolution::new(&space, options, 0).err().unwrap().to_string();
        assert!(error.starts_with("strategy `aging-evolution`: expected"), "{error}");
    }
}
