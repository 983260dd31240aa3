//! The one loop around all strategies.

use std::{cmp::Ordering, collections::HashSet, time::Instant};

use netfit_predictors::{Accuracy, Latency, LatencyModel};
use netfit_spaces::{Genotype, Space};
use serde::{Deserialize, Serialize};

use crate::{Duration, Error, Journal, Progress, Result, Strategy, front};

/// A network that was scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The network.
    pub genotype: Genotype,
    /// Its accuracy, fraction of 1.
    pub accuracy: f64,
    /// Its latency as the search's latency model predicts it: a median, or a percentile.
    pub latency_s: f64,
    /// The prediction's interval.
    pub latency_interval_s: [f64; 2],
}

impl Evaluated {
    fn new(genotype: Genotype, accuracy: f64, latency: &Latency) -> Self {
        let latency_interval_s = [latency.low_s, latency.high_s];
        Self { genotype, accuracy, latency_s: latency.median_s, latency_interval_s }
    }

    /// Higher accuracy first; then lower latency, then the genotype's own order.
    pub fn better_first(&self, other: &Self) -> Ordering {
        let accuracy = other.accuracy.total_cmp(&self.accuracy);
        let latency = self.latency_s.total_cmp(&other.latency_s);
        accuracy.then(latency).then_with(|| self.genotype.cmp(&other.genotype))
    }
}

/// Bounds of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Latency that the upper end of a prediction's interval must keep to; infinite: none.
    pub budget_s: f64,
    /// Distinct genotypes that are scored at most. Default: 50,100, Once-for-All's.
    pub evaluations: usize,
    /// Genotypes that are asked for and scored together. Default: 100.
    pub batch: usize,
    /// Proposals in a row without one that is feasible and new, after which the search ends. Default: 100,000.
    pub rejections: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { budget_s: f64::INFINITY, evaluations: 50_100, batch: 100, rejections: 100_000 }
    }
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// All evaluations were made.
    Evaluations,
    /// The strategy had no more to propose.
    Exhausted,
    /// Nothing feasible and new among [`SearchOptions::rejections`] proposals in a row.
    Stalled,
}

/// What a search found.
#[derive(Clone, Debug, Serialize)]
pub struct SearchResult {
    /// The best network within the budget.
    pub best: Evaluated,
    /// Networks that no other one dominates, in ascending order of latency.
    pub pareto: Vec<Evaluated>,
    /// Distinct networks scored; a journal's count, too.
    pub evaluations: usize,
    /// Networks proposed, the infeasible and known ones included.
    pub proposals: usize,
    /// Why it ended.
    pub ended: Ended,
    /// The budget; null where there was none.
    pub budget_s: f64,
    /// How long it took.
    pub seconds: f64,
    /// Evaluations a second.
    pub networks_per_second: f64,
    /// Every network scored, in order.
    #[serde(skip)]
    pub evaluated: Vec<Evaluated>,
}

/// What a search works with.
pub struct Search<'a> {
    /// Where it searches.
    pub space: &'a Space,
    /// What proposes.
    pub strategy: &'a mut dyn Strategy,
    /// What scores.
    pub accuracy: &'a mut dyn Accuracy,
    /// What decides on feasibility.
    pub latency: &'a dyn LatencyModel,
    /// Where scores are kept: those of the same source are not computed again.
    pub journal: Option<&'a mut Journal>,
}

impl Search<'_> {
    /// Runs to the end. With the journal of a search that was cut off, the same strategy and seed, it ends as that
    /// search would have ended.
    ///
    /// Where no proposal is within the budget, the space's fastest network is scored and told to the strategy as a
    /// start; this happens at most once.
    ///
    /// # Errors
    /// A budget below the fastest network of the space, no evaluation asked for, what the accuracy source or the
    /// journal report.
    pub fn run(
        mut self,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<SearchResult> {
        let start = Instant::now();
        if options.evaluations == 0 || options.batch == 0 {
            return Err(Error::Evaluations(options.evaluations.min(options.batch)));
        }
        let fastest = feasible_fastest(self.space, self.latency, options.budget_s)?;
        let mut pool = Pool::new(self.latency, options.budget_s);
        let (mut evaluated, mut best): (Vec<Evaluated>, usize) = (Vec::new(), 0);
        let (mut proposals, mut rejected) = (0, 0);
        let ended = loop {
            if evaluated.len() >= options.evaluations {
                break Ended::Evaluations;
            }
            let most = options.batch.min(options.evaluations - evaluated.len());
            let asked = self.strategy.ask(most);
            proposals += asked.len();
            let exhausted = asked.is_empty();
            let count = asked.len();
            let mut admitted = pool.admit(asked);
            admitted.truncate(most);
            rejected = if admitted.is_empty() { rejected + count } else { 0 };
            if exhausted || rejected >= options.rejections {
                if !evaluated.is_empty() {
                    break if exhausted { Ended::Exhausted } else { Ended::Stalled };
                }
                rejected = 0;
                admitted = pool.admit(vec![fastest.clone()]);
            }
            let scored = self.score(admitted)?;
            self.strategy.tell(&scored);
            for network in scored {
                evaluated.push(network);
                let last = evaluated.len() - 1;
                if evaluated[last].better_first(&evaluated[best]) == Ordering::Less {
                    best = last;
                }
            }
            if let Some(best) = evaluated.get(best) {
                progress(report(evaluated.len(), options.evaluations, best));
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        Ok(result(evaluated, best, proposals, ended, options.budget_s, seconds))
    }

    /// Accuracies from the journal where it has them, the others from the source; these are then journalled.
    fn score(&mut self, admitted: Vec<(Genotype, Latency)>) -> Result<Vec<Evaluated>> {
        if admitted.is_empty() {
            return Ok(Vec::new());
        }
        let source = self.accuracy.source();
        let known = |genotype: &Genotype| self.journal.as_ref()?.known(&source, genotype);
        let known: Vec<Option<f64>> =
            admitted.iter().map(|(genotype, _)| known(genotype)).collect();
        let unknown: Vec<Genotype> = admitted
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|((genotype, _), _)| genotype.clone())
            .collect();
        let found =
            if unknown.is_empty() { Vec::new() } else { self.accuracy.accuracies(&unknown)? };
        check(&source, &unknown, &found)?;
        let mut found = found.into_iter();
        let (mut scored, mut fresh) = (Vec::with_capacity(admitted.len()), Vec::new());
        for ((genotype, latency), known) in admitted.into_iter().zip(known) {
            let accuracy = known.or_else(|| found.next()).unwrap_or(f64::NAN);
            let network = Evaluated::new(genotype, accuracy, &latency);
            if known.is_none() && self.journal.is_some() {
                fresh.push(network.clone());
            }
            scored.push(network);
        }
        if let Some(journal) = self.journal.as_deref_mut() {
            journal.append(&source, &fresh)?;
        }
        Ok(scored)
    }
}

/// What is feasible and has not been admitted before.
struct Pool<'a> {
    latency: &'a dyn LatencyModel,
    budget_s: f64,
    seen: HashSet<Genotype>,
    latencies: Vec<Latency>,
}

impl<'a> Pool<'a> {
    fn new(latency: &'a dyn LatencyModel, budget_s: f64) -> Self {
        Self { latency, budget_s, seen: HashSet::new(), latencies: Vec::new() }
    }

    fn admit(&mut self, asked: Vec<Genotype>) -> Vec<(Genotype, Latency)> {
        self.latency.latencies(&asked, &mut self.latencies);
        let timed = asked.into_iter().zip(self.latencies.iter().copied());
        let within = timed.filter(|(_, latency)| latency.high_s <= self.budget_s);
        within.filter(|(genotype, _)| self.seen.insert(genotype.clone())).collect()
    }
}

/// The fastest genotype of the space, if it keeps to the budget.
pub(crate) fn feasible_fastest(
    space: &Space,
    latency: &dyn LatencyModel,
    budget_s: f64,
) -> Result<Genotype> {
    let (genotype, fastest) = latency.fastest();
    if fastest.high_s <= budget_s {
        return Ok(genotype);
    }
    Err(Error::Impossible {
        space: space.name().to_owned(),
        budget_s,
        genotype: genotype.to_string(),
        fastest_s: fastest.median_s,
        fastest_high_s: fastest.high_s,
    })
}

fn check(source: &str, asked: &[Genotype], found: &[f64]) -> Result<()> {
    let fail = |reason| Err(Error::Accuracy { origin: source.to_owned(), reason });
    if asked.len() != found.len() {
        return fail(format!("expected {} accuracies, found {}", asked.len(), found.len()));
    }
    match asked.iter().zip(found).find(|(_, accuracy)| !accuracy.is_finite()) {
        None => Ok(()),
        Some((genotype, accuracy)) => {
            fail(format!("the accuracy of `{genotype}` is {accuracy}, expected a finite one"))
        }
    }
}

fn report(done: usize, total: usize, best: &Evaluated) -> Progress {
    let (accuracy, latency) = (100.0 * best.accuracy, Duration(best.latency_s));
    Progress {
        stage: "search".to_owned(),
        done: done as u64,
        total: total as u64,
        note: format!("best {accuracy:.2} % at {latency}"),
    }
}

fn result(
    evaluated: Vec<Evaluated>,
    best: usize,
    proposals: usize,
    ended: Ended,
    budget_s: f64,
    seconds: f64,
) -> SearchResult {
    let points: Vec<(f64, f64)> =
        evaluated.iter().map(|network| (network.accuracy, network.latency_s)).collect();
    SearchResult {
        best: evaluated[best].clone(),
        pareto: front(&points).into_iter().map(|place| evaluated[place].clone()).collect(),
        evaluations: evaluated.len(),
        proposals,
        ended,
        budget_s,
        seconds,
        networks_per_second: evaluated.len() as f64 / seconds.max(f64::MIN_POSITIVE),
        evaluated,
    }
}
