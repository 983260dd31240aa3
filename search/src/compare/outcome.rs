//! What a comparison tells.

use std::fmt;

use netfit_latency_tables::{Bootstrap, Estimate, median, quantile};
use serde::{Serialize, Serializer};

use super::{BASELINE, CompareOptions, Contender, Truth};
use crate::{Ended, Evaluated, SearchResult, hypervolume};

/// Differences of accuracy below this are rounding.
const ROUNDING: f64 = 1e-12;

/// Networks at either end of a search by which its learning is judged, or half of what it scored.
const ENDS: usize = 50;

/// One search of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompareRun {
    /// Its seed.
    pub seed: u64,
    /// The best network within the budget.
    #[serde(flatten)]
    pub best: Evaluated,
    /// Distinct networks scored; fewer than asked for where the strategy had no more to propose.
    pub evaluations: usize,
    /// Networks proposed, the infeasible and known ones included.
    pub proposals: usize,
    /// Why it ended.
    pub ended: Ended,
    /// Mean accuracy of its last 50 networks less that of its first 50: what it has learnt to propose.
    pub learnt: f64,
    /// Best accuracy after 1, 2, 3, ... evaluations.
    #[serde(skip)]
    pub curve: Vec<f64>,
    /// Accuracy and latency of its Pareto front.
    #[serde(skip)]
    pub front: Vec<(f64, f64)>,
    /// Lowest accuracy that it scored.
    #[serde(skip)]
    pub lowest_accuracy: f64,
}

impl CompareRun {
    pub(super) fn new(seed: u64, result: SearchResult) -> Self {
        let accuracies = || result.evaluated.iter().map(|network| network.accuracy);
        let climb = |best: &mut f64, accuracy: f64| {
            *best = best.max(accuracy);
            Some(*best)
        };
        let point = |network: &Evaluated| (network.accuracy, network.latency_s);
        let ends = ENDS.min(result.evaluated.len().div_ceil(2));
        let (first, last) = (accuracies().take(ends), accuracies().rev().take(ends));
        Self {
            seed,
            evaluations: result.evaluations,
            proposals: result.proposals,
            ended: result.ended,
            learnt: (last.sum::<f64>() - first.sum::<f64>()) / ends.max(1) as f64,
            curve: accuracies().scan(f64::NEG_INFINITY, climb).collect(),
            front: result.pareto.iter().map(point).collect(),
            lowest_accuracy: accuracies().fold(f64::INFINITY, f64::min),
            best: result.best,
        }
    }
}

/// What the paired difference from random search at equal cost shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its interval lies above 0.
    Better,
    /// Its interval lies below 0.
    Worse,
    /// Its interval contains 0.
    NoDifference,
}

impl Verdict {
    /// The verdict on a difference with this interval.
    #[must_use]
    pub fn of([low, high]: [f64; 2]) -> Self {
        match (low > 0.0, high < 0.0) {
            (true, _) => Self::Better,
            (_, true) => Self::Worse,
            _ => Self::NoDifference,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better than random",
            Self::Worse => "worse than random",
            Self::NoDifference => "no difference shown",
        })
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What one strategy reached. Accuracies and regrets are fractions of 1; every interval is a bootstrap over seeds and
/// stands alone: of twenty strategies that do not differ, one is expected to be shown to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The strategy as it was asked for; `random 2x` is random search at twice the evaluations.
    pub name: String,
    /// Evaluations that each search was allowed.
    pub evaluations: usize,
    /// Mean over seeds of the best accuracy within the budget.
    pub accuracy: Estimate,
    /// Mean of `optimum - best`; none where the truth is not known.
    pub regret: Option<Estimate>,
    /// Mean hypervolume of what a search scored, as a share of that of the exact front, or, where the truth is not
    /// known, of the front of all searches together; none where that has no area.
    pub hypervolume: Option<f64>,
    /// Mean of `|LAT - T| / T`, with LAT the predicted latency of the best network and T the budget. The budget binds
    /// the upper end of the prediction's interval, so that LAT stays below T.
    pub latency_gap: f64,
    /// Median over seeds of the evaluations until the best was within [`CompareOptions::near`] of the best accuracy
    /// known within the budget; none where half of the seeds did not reach it.
    pub evaluations_to_near: Option<f64>,
    /// Share of the seeds that came so near.
    pub share_near: f64,
    /// Share of the seeds whose last 50 networks were more accurate on average than their first 50.
    pub share_learnt: f64,
    /// Relative improvement `100 (accuracy - random) / random`, of mean accuracies at 1x, in per cent, its interval on
    /// paired seeds; none where random search has an accuracy of 0 or less.
    pub relative_improvement: Option<Estimate>,
    /// Mean of the paired differences from random search at 1x.
    pub difference: Estimate,
    /// What the difference shows; none for random search at 1x itself and where there are too few seeds.
    pub verdict: Option<Verdict>,
    /// Every search.
    pub runs: Vec<CompareRun>,
}

impl Outcome {
    /// Quartiles over seeds of the best accuracy after 1, 2, 3, ... evaluations. A search that ended early stays at its
    /// best.
    pub fn quartiles(&self) -> Vec<[f64; 3]> {
        let longest = self.runs.iter().map(|run| run.curve.len()).max().unwrap_or(0);
        let at = |run: &CompareRun, place: usize| {
            run.curve.get(place).or(run.curve.last()).copied().unwrap_or(f64::NAN)
        };
        let bests = |place| self.runs.iter().map(|run| at(run, place)).collect::<Vec<f64>>();
        (0..longest)
            .map(bests)
            .map(|bests| [0.25, 0.5, 0.75].map(|share| quantile(&bests, share)))
            .collect()
    }
}

/// The corner that hypervolumes are measured from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reference {
    /// Lowest accuracy within the budget, of the whole space where the truth is known, else of all that was scored.
    pub accuracy: f64,
    /// The budget.
    pub latency_s: f64,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparisonResult {
    /// The space's name.
    pub space: String,
    /// What scored.
    pub source: String,
    /// Latency that every network had to keep to.
    pub budget_s: f64,
    /// Evaluations at 1x.
    pub evaluations: usize,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: usize,
    /// `too few seeds: no conclusion`, where they are.
    pub note: Option<&'static str>,
    /// Coverage of the intervals.
    pub level: f64,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// How close to `best_accuracy` counts as near.
    pub near: f64,
    /// The optimum where the truth is known, else the best that any search found.
    pub best_accuracy: f64,
    /// Reference point of hypervolumes.
    pub reference: Reference,
    /// The exact answer, where every accuracy is known.
    pub truth: Option<Truth>,
    /// Random search at 1x and at 2x, then the others as they were named.
    pub strategies: Vec<Outcome>,
}

impl ComparisonResult {
    /// `about` is the name of the space and of the source; the first of `runs` are the baseline's.
    pub(super) fn of(
        about: (String, String),
        runs: Vec<(Contender, Vec<CompareRun>)>,
        truth: Option<Truth>,
        budget_s: f64,
        options: &CompareOptions,
    ) -> Self {
        let judge = Judge::new(&runs, truth.as_ref(), budget_s, options);
        let (best_accuracy, reference) = (judge.best, judge.reference);
        let enough = options.seeds >= options.enough;
        let strategies =
            runs.into_iter().map(|(contender, runs)| judge.outcome(contender, runs)).collect();
        Self {
            space: about.0,
            source: about.1,
            budget_s,
            evaluations: options.search.evaluations,
            first_seed: options.first_seed,
            seeds: options.seeds,
            note: if judge.stalled {
                Some(
                    "random search found fewer networks within the budget than it was allowed: no conclusion",
                )
            } else {
                (!enough).then_some("too few seeds: no conclusion")
            },
            level: options.level,
            resamples: options.resamples,
            near: options.near,
            best_accuracy,
            reference,
            truth,
            strategies,
        }
    }
}

/// What every strategy is held against.
struct Judge<'a> {
    options: &'a CompareOptions,
    bootstrap: Bootstrap,
    /// Best accuracies of random search at 1x, seed by seed.
    random: Vec<f64>,
    /// Whether it gave up in one of them: its cost is not equal then.
    stalled: bool,
    /// Best accuracy known within the budget.
    best: f64,
    /// Whether that is the optimum.
    exact: bool,
    reference: Reference,
    /// Hypervolume of the best front known.
    whole: f64,
}

impl<'a> Judge<'a> {
    fn new(
        runs: &[(Contender, Vec<CompareRun>)],
        truth: Option<&Truth>,
        budget_s: f64,
        options: &'a CompareOptions,
    ) -> Self {
        let all = || runs.iter().flat_map(|(_, runs)| runs);
        let (best, lowest, front) = match truth {
            Some(truth) => (
                truth.optimum.accuracy,
                truth.lowest_accuracy,
                truth.pareto.iter().map(|n| (n.accuracy, n.latency_s)).collect(),
            ),
            None => (
                all().map(|run| run.best.accuracy).fold(f64::NEG_INFINITY, f64::max),
                all().map(|run| run.lowest_accuracy).fold(f64::INFINITY, f64::min),
                all().flat_map(|run| run.front.iter().copied()).collect::<Vec<_>>(),
            ),
        };
        let reference = Reference { accuracy: lowest, latency_s: budget_s };
        let CompareOptions { seeds, resamples, level, first_seed, .. } = *options;
        Self {
            options,
            bootstrap: Bootstrap::new(seeds, resamples, level, first_seed),
            random: runs.first().map(|(_, runs)| accuracies(runs)).unwrap_or_default(),
            stalled: runs
                .first()
                .is_some_and(|(_, runs)| runs.iter().any(|run| run.ended == Ended::Stalled)),
            best,
            exact: truth.is_some(),
            reference,
            whole: hypervolume(&front, (lowest, reference.latency_s)),
        }
    }

    fn outcome(&self, contender: Contender, runs: Vec<CompareRun>) -> Outcome {
        let Self { options, bootstrap, random, .. } = self;
        let found = accuracies(&runs);
        let estimate = |values: &[f64]| bootstrap.estimate(|places| mean_at(values, places));
        let apart = |f: fn(f64, f64) -> f64, from: &[f64]| -> Vec<f64> {
            found.iter().zip(from).map(|(&a, &b)| f(a, b)).collect()
        };
        let difference = estimate(&apart(|a, b| a - b, random));
        let regrets = apart(|a, b| b - a, &vec![self.best; found.len()]);
        let budget_s = self.reference.latency_s;
        let gap = |run: &CompareRun| (run.best.latency_s - budget_s).abs() / budget_s;
        let steps: Vec<f64> = runs.iter().map(|run| self.steps(run)).collect();
        let reached = steps.iter().filter(|steps| steps.is_finite()).count();
        let inconclusive =
            contender.name == BASELINE || self.stalled || options.seeds < options.enough;
        Outcome {
            accuracy: estimate(&found),
            regret: self.exact.then(|| estimate(&regrets)),
            hypervolume: (self.whole > 0.0).then(|| mean(runs.iter().map(|run| self.share(run)))),
            latency_gap: mean(runs.iter().map(gap)),
            evaluations_to_near: Some(median(&steps)).filter(|steps| steps.is_finite()),
            share_near: reached as f64 / runs.len() as f64,
            share_learnt: mean(runs.iter().map(|run| f64::from(u8::from(run.learnt > 0.0)))),
            relative_improvement: random.iter().all(|&accuracy| accuracy > 0.0).then(|| {
                bootstrap.estimate(|places| {
                    let random = mean_at(random, places);
                    100.0 * (mean_at(&found, places) - random) / random
                })
            }),
            difference,
            verdict: difference.interval.filter(|_| !inconclusive).map(Verdict::of),
            name: contender.name,
            evaluations: contender.evaluations,
            runs,
        }
    }

    /// Hypervolume of a search as a share of the whole.
    fn share(&self, run: &CompareRun) -> f64 {
        hypervolume(&run.front, (self.reference.accuracy, self.reference.latency_s)) / self.whole
    }

    /// Evaluations until the best was near; infinite where it never was.
    fn steps(&self, run: &CompareRun) -> f64 {
        let near = |&accuracy: &f64| self.best - accuracy <= self.options.near + ROUNDING;
        run.curve.iter().position(near).map_or(f64::INFINITY, |place| (place + 1) as f64)
    }
}

fn accuracies(runs: &[CompareRun]) -> Vec<f64> {
    runs.iter().map(|run| run.best.accuracy).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

fn mean_at(values: &[f64], places: &[usize]) -> f64 {
    mean(places.iter().map(|&place| values[place]))
}
