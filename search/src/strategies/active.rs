//! Active learning: a predictor learns from what was evaluated and says what to evaluate next.

use std::collections::{HashSet, VecDeque};

use netfit_predictors::{Method, Predictor, PredictorOptions};
use netfit_spaces::{Genotype, Random, Space};

use super::{choices::Choices, proposals::Proposals};
use crate::{Error, Evaluated, Result, Strategy};

const NAME: &str = "active";

/// How [`Active`] searches.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `method` | `kernels` | how the predictor is fitted |
/// | `start` | 20 | random networks before the first fit |
/// | `round` | 5 | networks evaluated between two fits at least |
/// | `growth` | 0.1 | the same as a share of those evaluated, so that fits become rarer as they become slower |
/// | `candidates` | 2,000 | genotypes that the predictor ranks at a time |
/// | `parents` | 20 | the best networks, whose mutants and crossovers are candidates |
/// | `mutated` | 0.5 | share of the candidates that are mutants of one or two choices |
/// | `crossed` | 0.25 | share that are crossovers; the others are uniform draws |
/// | `optimism` | 0.5 | spreads of the predictor's members that are added to a predicted accuracy |
/// | `tries` | 20 | random networks proposed for each of the start before it is closed as it is |
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveOptions {
    /// How the predictor is fitted.
    pub method: Method,
    /// Random networks before the first fit.
    pub start: usize,
    /// Networks evaluated between two fits at least.
    pub round: usize,
    /// The same as a share of those evaluated.
    pub growth: f64,
    /// Genotypes that the predictor ranks at a time.
    pub candidates: usize,
    /// The best networks, whose mutants and crossovers are candidates.
    pub parents: usize,
    /// Share of the candidates that are mutants.
    pub mutated: f64,
    /// Share of the candidates that are crossovers.
    pub crossed: f64,
    /// Spreads of the predictor's members that are added to a predicted accuracy.
    pub optimism: f64,
    /// Random networks proposed for each of the start before it is closed as it is.
    pub tries: usize,
}

impl Default for ActiveOptions {
    fn default() -> Self {
        Self {
            method: Method::Kernels,
            start: 20,
            round: 5,
            growth: 0.1,
            candidates: 2000,
            parents: 20,
            mutated: 0.5,
            crossed: 0.25,
            optimism: 0.5,
            tries: 20,
        }
    }
}

impl ActiveOptions {
    fn check(&self) -> Result<()> {
        let fail =
            |reason: &str| Err(Error::Configuration { strategy: NAME, reason: reason.to_owned() });
        if self.start < 2 || [self.round, self.candidates, self.parents, self.tries].contains(&0) {
            return fail(
                "expected a `start` of at least 2, and `round`, `candidates`, `parents` and `tries` of at least 1",
            );
        }
        let shares = [self.mutated, self.crossed, self.mutated + self.crossed];
        let finite = self.growth.is_finite() && self.optimism.is_finite();
        let not_below_0 = self.growth >= 0.0 && self.optimism >= 0.0;
        if !(finite && not_below_0 && shares.iter().all(|share| (0.0..=1.0).contains(share))) {
            return fail(
                "expected `mutated` and `crossed` from 0 to 1 together, and finite `growth` and `optimism` of at least 0",
            );
        }
        Ok(())
    }
}

/// Random networks teach a predictor; it ranks mutants and crossovers of the best networks and uniform draws; the best
/// by its optimistic prediction are evaluated, and it is fitted again.
///
/// Where it cannot be fitted, for example to equal accuracies, candidates come in the order of their draws.
///
/// The predictor knows no latency: what is over the budget is dropped by the loop at no cost, and the next in rank is
/// proposed.
pub struct Active {
    choices: Choices,
    options: ActiveOptions,
    fitting: PredictorOptions,
    random: Random,
    proposals: Proposals,
    told: Vec<Evaluated>,
    /// None before the first fit, or where the last one failed: candidates then come in the order of their draws.
    predictor: Option<Predictor>,
    /// How many were told when it was fitted.
    fitted: usize,
    /// Candidates, best first.
    queue: VecDeque<Genotype>,
    /// Random networks proposed for the start.
    proposed: usize,
}

impl Active {
    /// Active learning in `space`.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(space: &Space, options: ActiveOptions, seed: u64) -> Result<Self> {
        options.check()?;
        Ok(Self {
            choices: Choices::new(space),
            options,
            fitting: PredictorOptions::seeded(seed),
            random: Random::new(seed, "strategy/active"),
            proposals: Proposals::default(),
            told: Vec::new(),
            predictor: None,
            fitted: 0,
            queue: VecDeque::new(),
            proposed: 0,
        })
    }

    fn draws(&mut self, count: usize) -> Vec<Genotype> {
        self.proposals.uniform(count, self.choices.space(), &mut self.random)
    }

    /// Networks still to be evaluated before the next fit.
    fn left(&self) -> usize {
        let ActiveOptions { round, growth, .. } = self.options;
        let round = round.max((growth * self.fitted as f64) as usize);
        (self.fitted + round).saturating_sub(self.told.len())
    }

    fn fit(&mut self) {
        let known: Vec<(Genotype, f64)> =
            self.told.iter().map(|network| (network.genotype.clone(), network.accuracy)).collect();
        let space = self.choices.space();
        self.predictor = Predictor::fit(self.options.method, space, &known, &self.fitting).ok();
        self.fitted = self.told.len();
        self.queue.clear();
    }

    /// New genotypes, in the order of their draws.
    fn candidates(&mut self) -> Vec<Genotype> {
        let Self { choices, options, random, proposals, told, .. } = self;
        let mut best: Vec<&Evaluated> = told.iter().collect();
        best.sort_by(|a, b| a.better_first(b));
        best.truncate(options.parents);
        let (space, mut seen) = (choices.space(), HashSet::new());
        let mut draw = |_| {
            let kind = random.uniform();
            let mut parent = || &best[random.below(best.len())].genotype;
            let genotype = if kind < options.mutated {
                let parent = parent();
                let changes = 1 + random.below(2);
                choices.mutate(parent, changes, random)
            } else if kind < options.mutated + options.crossed {
                let (a, b) = (parent(), parent());
                space.crossover(a, b, random)
            } else {
                space.sample(random)
            };
            let new = !proposals.knows(&genotype) && seen.insert(genotype.clone());
            new.then_some(genotype)
        };
        (0..options.candidates).filter_map(&mut draw).collect()
    }

    /// Candidates in the order in which they are worth evaluating.
    fn refill(&mut self) {
        let mut candidates = self.candidates();
        let predicted = self.predictor.as_ref().map(|predictor| predictor.predictions(&candidates));
        if let Some(Ok(predicted)) = predicted {
            let worth = predicted.iter().map(|p| p.accuracy + self.options.optimism * p.spread);
            let mut ranked: Vec<(f64, Genotype)> = worth.zip(candidates).collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            candidates = ranked.into_iter().map(|(_, genotype)| genotype).collect();
        }
        self.queue = candidates.into();
    }
}

impl Strategy for Active {
    fn ask(&mut self, most: usize) -> Vec<Genotype> {
        let ActiveOptions { start, tries, .. } = self.options;
        let missing = start.saturating_sub(self.told.len());
        let tired = self.proposed >= tries.saturating_mul(start) && self.told.len() >= 2;
        if missing > 0 && !tired {
            let drawn = self.draws(missing.min(most));
            self.proposed += drawn.len();
            return drawn;
        }
        if self.fitted == 0 || self.left() == 0 {
            self.fit();
        }
        if self.queue.is_empty() {
            self.refill();
        }
        let count = most.min(self.left()).min(self.queue.len());
        let next: Vec<Genotype> = self.queue.drain(..count).collect();
        for genotype in &next {
            self.proposals.note(genotype);
        }
        if next.is_empty() { self.draws(1) } else { next }
    }

    fn tell(&mut self, evaluated: &[Evaluated]) {
        for network in evaluated {
            self.proposals.note(&network.genotype);
            self.told.push(network.clone());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scored(genotypes: Vec<Genotype>) -> Vec<Evaluated> {
        let score = |genotype: Genotype| {
            let sum = genotype.values().iter().map(|&value| f64::from(value)).sum::<f64>();
            let accuracy = 0.5 + 0.01 * sum;
            Evaluated { genotype, accuracy, latency_s: 1.0, latency_interval_s: [1.0, 1.0] }
        };
        genotypes.into_iter().map(score).collect()
    }

    #[test]
    fn what_was_learned_is_proposed_next() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let mut active = Active::new(&space, ActiveOptions::default(), 0).unwrap();
        let start = scored(active.ask(100));
        assert_eq!(start.len(), 20);
        active.tell(&start);
        let mean = |networks: &[Evaluated]| {
            networks.iter().map(|network| network.accuracy).sum::<f64>() / networks.len() as f64
        };
        let first = scored(active.ask(100));
        assert_eq!(first.len(), 5, "then it is fitted again");
        assert!(mean(&first) > mean(&start) + 0.02, "{} {}", mean(&first), mean(&start));
        // What is not told was over the budget: the next in rank follow, and the fit is not repeated for them.
        active.tell(&first[..2]);
        let fitted = active.fitted;
        assert_eq!(active.ask(100).len(), 3);
        assert_eq!(active.fitted, fitted);
    }

    #[test]
    fn the_largest_sum_is_found_within_few_rounds() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let mut active = Active::new(&space, ActiveOptions::default(), 1).unwrap();
        let mut best = 0.0_f64;
        for _ in 0..9 {
            let networks = scored(active.ask(100));
            best = networks.iter().map(|network| network.accuracy).fold(best, f64::max);
            active.tell(&networks);
        }
        assert!((best - 0.66).abs() < 1e-9, "{best} after {}", active.told.len());
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        for options in [
            ActiveOptions { start: 1, ..ActiveOptions::default() },
            ActiveOptions { mutated: 0.9, crossed: 0.2, ..ActiveOptions::default() },
            ActiveOptions { optimism: f64::NAN, ..ActiveOptions::default() },
        ] {
            let error = Active::new(&space, options, 0).err().unwrap().to_string();
            assert!(error.starts_with("strategy `active`: expected"), "{error}");
        }
    }
}
