//! The one loop around all strategies.

use std::{cmp::Ordering, time::Instant};

use foldhash::fast::RandomState;
use indexmap::IndexSet;
use netfit_predictors::{Accuracy, Latency, Threads};
use netfit_spaces::{Genotype, Space};
use serde::{Deserialize, Serialize};

use crate::{Constraints, Duration, Error, Filter, Journal, Progress, Result, Strategy, pareto};

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
    /// A network with its accuracy and its predicted latency.
    pub fn new(genotype: Genotype, accuracy: f64, latency: &Latency) -> Self {
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
    /// Distinct genotypes that are scored at most. Default: 50,100, Once-for-All's.
    pub evaluations: usize,
    /// Genotypes that are asked for and scored together. Default: 100.
    pub batch: usize,
    /// Proposals in a row without one that is feasible and new, after which the search ends. Default: 100,000.
    pub rejections: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { evaluations: 50_100, batch: 100, rejections: 100_000 }
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
    /// Of the evaluations, those that the accuracy source scored; the journal knew the others.
    pub scored: usize,
    /// Networks scored a second.
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
    pub constraints: Constraints<'a>,
    /// Where scores are kept: those of the same source are not computed again.
    pub journal: Option<&'a mut Journal>,
    /// On which proposals are looked for; the result does not depend on how many there are.
    pub threads: Threads,
}

impl Search<'_> {
    /// Runs to the end. With the journal of a search that was cut off, the same strategy and seed, it ends as that
    /// search would have ended.
    ///
    /// Where no proposal keeps to the constraints, the space's fastest network is scored and told to the strategy as a
    /// start, or else the one that keeps best to some other constraint; this happens at most once.
    ///
    /// # Errors
    /// A budget below the fastest network of the space, no network found that keeps to all constraints, no evaluation
    /// asked for, what the accuracy source or the journal report.
    pub fn run(
        mut self,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<SearchResult> {
        let start = Instant::now();
        if options.evaluations == 0 || options.batch == 0 {
            return Err(Error::Evaluations(options.evaluations.min(options.batch)));
        }
        let budget_s = self.constraints.budget_s;
        let start_from = self.constraints.start(self.space)?;
        let mut pool = Pool::new(self.constraints);
        let (mut evaluated, mut best): (Vec<Evaluated>, usize) = (Vec::new(), 0);
        let (mut proposals, mut rejected, mut scored) = (0, 0, 0);
        let ended = loop {
            if evaluated.len() >= options.evaluations {
                break Ended::Evaluations;
            }
            let most = options.batch.min(options.evaluations - evaluated.len());
            let fits = |genotype: &Genotype| pool.fits(genotype);
            let filter = Filter::new(&fits, &self.threads);
            let found = self.strategy.offer(most, &filter);
            let offered = found.len() + filter.refused();
            pool.admit(found, most);
            proposals += offered;
            rejected = if pool.genotypes.is_empty() { rejected + offered } else { 0 };
            if offered == 0 || rejected >= options.rejections {
                if !evaluated.is_empty() {
                    break if offered == 0 { Ended::Exhausted } else { Ended::Stalled };
                }
                rejected = 0;
                let least = start_from.clone().ok_or_else(|| self.constraints.unmet(self.space))?;
                pool.admit(vec![least], 1);
            }
            let told = evaluated.len();
            scored += self.score(&pool, &mut evaluated)?;
            self.strategy.tell(&evaluated[told..]);
            for place in told..evaluated.len() {
                if evaluated[place].better_first(&evaluated[best]) == Ordering::Less {
                    best = place;
                }
            }
            if let Some(best) = evaluated.get(best) {
                progress(report(evaluated.len(), options.evaluations, best));
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        let found = Found { evaluated, best, scored, proposals, ended };
        Ok(found.result(budget_s, seconds))
    }

    /// Appends what was admitted with its accuracies: those of the journal where it has them, the others from the source;
    /// these are then journalled. Returns how many the source scored.
    fn score(&mut self, pool: &Pool<'_>, evaluated: &mut Vec<Evaluated>) -> Result<usize> {
        if pool.genotypes.is_empty() {
            return Ok(0);
        }
        let source = self.accuracy.source();
        let networks = pool.genotypes.iter().zip(&pool.latencies);
        let Some(journal) = self.journal.as_deref_mut() else {
            let found = self.accuracy.accuracies(&pool.genotypes)?;
            check(&source, &pool.genotypes, &found)?;
            let network = |((genotype, latency), accuracy): ((&Genotype, &Latency), f64)| {
                Evaluated::new(genotype.clone(), accuracy, latency)
            };
            evaluated.extend(networks.zip(found).map(network));
            return Ok(pool.genotypes.len());
        };
        let known: Vec<Option<f64>> =
            pool.genotypes.iter().map(|genotype| journal.known(&source, genotype)).collect();
        let missing = pool.genotypes.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<Genotype> = missing.map(|(genotype, _)| genotype.clone()).collect();
        let found =
            if unknown.is_empty() { Vec::new() } else { self.accuracy.accuracies(&unknown)? };
        check(&source, &unknown, &found)?;
        let mut found = found.into_iter();
        let mut fresh = Vec::with_capacity(unknown.len());
        for ((genotype, latency), known) in networks.zip(known) {
            let accuracy = known.or_else(|| found.next()).unwrap_or(f64::NAN);
            let network = Evaluated::new(genotype.clone(), accuracy, latency);
            if known.is_none() {
                fresh.push(network.clone());
            }
            evaluated.push(network);
        }
        journal.append(&source, &fresh)?;
        Ok(fresh.len())
    }
}

/// Genotypes, each once and in order. A search hashes several for each network that it scores, and no one outside chooses
/// them: a fast hash will do.
pub(crate) type Genotypes = IndexSet<Genotype, RandomState>;

/// What is feasible and has not been admitted before.
struct Pool<'a> {
    constraints: Constraints<'a>,
    /// In the order of admission: a growing set then appends, and a look-up stays within a small index.
    seen: Genotypes,
    /// Admitted last, with their latencies.
    genotypes: Vec<Genotype>,
    latencies: Vec<Latency>,
}

impl<'a> Pool<'a> {
    fn new(constraints: Constraints<'a>) -> Self {
        let (seen, genotypes, latencies) = (Genotypes::default(), Vec::new(), Vec::new());
        Self { constraints, seen, genotypes, latencies }
    }

    /// Whether a genotype is feasible and new.
    fn fits(&self, genotype: &Genotype) -> bool {
        self.constraints.within(genotype).is_some() && !self.seen.contains(genotype)
    }

    /// Takes those that are feasible and new, `most` of them at most, in place of what was admitted before.
    fn admit(&mut self, offered: Vec<Genotype>, most: usize) {
        self.genotypes.clear();
        self.latencies.clear();
        for genotype in offered {
            let Some(latency) = self.constraints.within(&genotype) else { continue };
            if self.genotypes.len() < most && self.seen.insert(genotype.clone()) {
                self.genotypes.push(genotype);
                self.latencies.push(latency);
            }
        }
    }
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

/// What a search has when it ends.
struct Found {
    evaluated: Vec<Evaluated>,
    /// The place of the best.
    best: usize,
    scored: usize,
    proposals: usize,
    ended: Ended,
}

impl Found {
    fn result(self, budget_s: f64, seconds: f64) -> SearchResult {
        let Self { evaluated, best, scored, proposals, ended } = self;
        SearchResult {
            best: evaluated[best].clone(),
            pareto: pareto(&evaluated),
            evaluations: evaluated.len(),
            proposals,
            ended,
            budget_s,
            seconds,
            scored,
            networks_per_second: scored as f64 / seconds.max(f64::MIN_POSITIVE),
            evaluated,
        }
    }
}
