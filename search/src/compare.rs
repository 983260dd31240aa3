//! Strategies side by side at equal cost.

mod outcome;
mod truth;

pub use outcome::{CompareRun, ComparisonResult, Outcome, Reference, Verdict};
pub use truth::Truth;

use std::collections::HashSet;

use netfit_predictors::{Accuracy, Threads};
use netfit_spaces::{Genotype, Space};

use crate::{
    Constraints, Error, Progress, Result, Reward, STRATEGIES, Search, SearchOptions, Strategy,
    StrategyOptions, strategy_with,
};

/// The strategy that every other one is compared with.
const BASELINE: &str = "random";
/// Its name at twice the evaluations.
const DOUBLE: &str = "random 2x";

/// How strategies are compared.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `search` | 1,000 evaluations | bounds of every single search |
/// | `strategies` | all of [`STRATEGIES`] | what is compared, each `NAME` or `NAME:REWARD`; random search is in, named or not |
/// | `first_seed` | 0 | seeds count up from it |
/// | `seeds` | 10 | searches of each strategy, one for each seed |
/// | `near` | 0.001 | how close to the best counts as found, in accuracy as a fraction of 1 |
/// | `enough` | 5 | fewer seeds allow no verdict |
/// | `resamples` | 10,000 | bootstrap resamples of the seeds |
/// | `level` | 0.95 | coverage of the intervals |
/// | `enumerated` | 6 | spaces of up to 10 to this power of genotypes are walked through for the truth |
#[derive(Clone, Debug, PartialEq)]
pub struct CompareOptions {
    /// Bounds of every single search.
    pub search: SearchOptions,
    /// What is compared, each `NAME`, or `NAME:REWARD` for another [`Reward`] than by default; random search is
    /// in, named or not.
    pub strategies: Vec<String>,
    /// Seeds count up from it.
    pub first_seed: u64,
    /// Searches of each strategy, one for each seed.
    pub seeds: usize,
    /// How close to the best counts as found, in accuracy as a fraction of 1.
    pub near: f64,
    /// Fewer seeds allow no verdict.
    pub enough: usize,
    /// Bootstrap resamples of the seeds.
    pub resamples: usize,
    /// Coverage of the intervals, above 0 and below 1.
    pub level: f64,
    /// Spaces of up to 10 to this power of genotypes are walked through for the truth.
    pub enumerated: f64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            search: SearchOptions { evaluations: 1000, ..SearchOptions::default() },
            strategies: STRATEGIES.map(str::to_owned).to_vec(),
            first_seed: 0,
            seeds: 10,
            near: 0.001,
            enough: 5,
            resamples: 10_000,
            level: 0.95,
            enumerated: 6.0,
        }
    }
}

impl CompareOptions {
    fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Comparison(reason));
        let mut named = HashSet::new();
        if let Some(name) = self.strategies.iter().find(|name| !named.insert(*name)) {
            return fail(format!("strategy `{name}` is named twice; hint: name it once"));
        }
        if self.seeds == 0 || self.first_seed.checked_add(self.seeds as u64 - 1).is_none() {
            return fail(format!(
                "found {} seeds from {} on, expected at least one, below 2^64; hint: ask for 5 or more",
                self.seeds, self.first_seed
            ));
        }
        let statistics = self.near >= 0.0 && self.level > 0.0 && self.level < 1.0;
        if !statistics || self.resamples == 0 {
            return fail(format!(
                "expected `near` of at least 0, a `level` between 0 and 1 and a resample, found {}, {} and {}",
                self.near, self.level, self.resamples
            ));
        }
        Ok(())
    }

    /// The baseline at 1x and at 2x, then what was named.
    fn contenders(&self) -> Vec<Contender> {
        let evaluations = self.search.evaluations;
        let named = self.strategies.iter().map(String::as_str).filter(|&name| name != BASELINE);
        let contender = |strategy: &str| Contender {
            name: strategy.to_owned(),
            strategy: strategy.to_owned(),
            evaluations,
        };
        let mut contenders = vec![contender(BASELINE), contender(BASELINE)];
        DOUBLE.clone_into(&mut contenders[1].name);
        contenders[1].evaluations = evaluations.saturating_mul(2);
        contenders.extend(named.map(contender));
        contenders
    }
}

/// One strategy at one cost.
struct Contender {
    name: String,
    strategy: String,
    evaluations: usize,
}

/// What is compared on.
pub struct Comparison<'a> {
    /// Where strategies search.
    pub space: &'a Space,
    /// What scores, the same for all.
    pub accuracy: &'a mut dyn Accuracy,
    /// What decides on feasibility, the same for all.
    pub constraints: Constraints<'a>,
    /// Every accuracy that `accuracy` can give, where they are known beforehand and true: regret is then exact.
    pub known: Option<&'a [(Genotype, f64)]>,
}

impl Comparison<'_> {
    /// Runs every strategy once for each seed, one search after the other, and random search at 1x and at 2x the
    /// evaluations. Random search of one seed proposes in the same order at both costs.
    ///
    /// Progress has a stage for each strategy and a step for each seed.
    ///
    /// # Errors
    /// An unknown strategy or reward, a strategy that is named twice, no seed, options out of range, no latency budget;
    /// what a search reports.
    pub fn run(
        mut self,
        options: &CompareOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ComparisonResult> {
        options.check()?;
        let budget_s = self.constraints.budget_s;
        if !(budget_s.is_finite() && budget_s > 0.0) {
            return Err(Error::Comparison(format!(
                "the budget is {budget_s} s, expected a finite time; hint: strategies are compared under a budget"
            )));
        }
        let contenders = options.contenders();
        for contender in &contenders {
            self.strategy(contender, options.first_seed)?;
        }
        self.constraints.start(self.space)?;
        let find = |known| Truth::find(self.space, self.constraints, known, options.enumerated);
        let truth = self.known.and_then(find);
        let mut runs = Vec::with_capacity(contenders.len());
        for contender in contenders {
            let made = self.runs(&contender, options, progress)?;
            runs.push((contender, made));
        }
        let about = (self.space.name().to_owned(), self.accuracy.source());
        Ok(ComparisonResult::of(about, runs, truth, budget_s, options))
    }

    /// A strategy that aims at the budget, where it aims at all.
    fn strategy(&self, contender: &Contender, seed: u64) -> Result<Box<dyn Strategy>> {
        let (name, reward) = match contender.strategy.split_once(':') {
            Some((name, reward)) => (name, Some(reward.parse::<Reward>()?)),
            None => (&*contender.strategy, None),
        };
        let goal = StrategyOptions { target_s: Some(self.constraints.budget_s), reward };
        strategy_with(name, self.space, seed, &goal)
    }

    fn runs(
        &mut self,
        contender: &Contender,
        options: &CompareOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<CompareRun>> {
        let bounds = SearchOptions { evaluations: contender.evaluations, ..options.search.clone() };
        let mut runs = Vec::with_capacity(options.seeds);
        for seed in (options.first_seed..=u64::MAX).take(options.seeds) {
            let mut strategy = self.strategy(contender, seed)?;
            let search = Search {
                space: self.space,
                strategy: strategy.as_mut(),
                accuracy: &mut *self.accuracy,
                constraints: self.constraints,
                journal: None,
                threads: Threads::default(),
            };
            let run = CompareRun::new(seed, search.run(&bounds, &mut |_| {})?);
            let note = format!("best {:.2} % with seed {seed}", 100.0 * run.best.accuracy);
            runs.push(run);
            let (done, total) = (runs.len() as u64, options.seeds as u64);
            progress(Progress { stage: contender.name.clone(), done, total, note });
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests;
