//! How well predictors rank networks that they have not seen, beside costs that rank for nothing.

mod metrics;

pub use metrics::Scores;

use std::time::Instant;

use netfit_latency_tables::kendall_tau;
use netfit_spaces::{Genotype, Random, Space};
use serde::{Deserialize, Serialize};

use self::metrics::Judged;
use crate::{Error, Method, Predictor, PredictorOptions, Result, Threads};

/// A predictor against known accuracies that it was not fitted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Networks in all.
    pub networks: usize,
    /// Parts into which they were split.
    pub folds: usize,
    /// Kendall's tau-b of predicted against known accuracy, mean over the folds.
    pub kendall_tau: f64,
    /// Root of the mean squared error, fraction of 1.
    pub rmse: f64,
}

/// Fits on all folds but one and judges on that one, for each in turn; networks go to folds at random under `seed`.
///
/// # Errors
/// Fewer than two folds, fewer than two networks a fold, or what [`Predictor::fit`] reports.
pub fn cross_validate(
    method: Method,
    space: &Space,
    known: &[(Genotype, f64)],
    options: &PredictorOptions,
    folds: usize,
    seed: u64,
) -> Result<Evaluation> {
    if folds < 2 || known.len() < 2 * folds {
        let reason = format!(
            "expected at least 2 folds of 2 networks, found {folds} folds of {} networks",
            known.len()
        );
        return Err(Error::Training { reason });
    }
    let mut order: Vec<usize> = (0..known.len()).collect();
    Random::new(seed, "predictor/folds").shuffle(&mut order);
    let (mut taus, mut squares) = (Vec::new(), 0.0);
    for fold in 0..folds {
        let part = |inside: bool| {
            let place = order.iter().enumerate();
            place
                .filter(move |(at, _)| (at % folds == fold) == inside)
                .map(|(_, &network)| known[network].clone())
                .collect::<Vec<_>>()
        };
        let (test, train) = (part(true), part(false));
        let (genotypes, truth): (Vec<_>, Vec<_>) = test.into_iter().unzip();
        let predicted = Predictor::fit(method, space, &train, options)?.predict(&genotypes)?;
        taus.push(kendall_tau(&predicted, &truth));
        squares += predicted.iter().zip(&truth).map(|(p, t)| (p - t).powi(2)).sum::<f64>();
    }
    Ok(Evaluation {
        networks: known.len(),
        folds,
        kendall_tau: taus.iter().sum::<f64>() / folds as f64,
        rmse: (squares / known.len() as f64).sqrt(),
    })
}

/// How predictors are evaluated.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `methods` | `ensemble` | what is evaluated |
/// | `sizes` | 50, 100, 200 | training networks; all others are for testing |
/// | `repeats` | 20 | splits of each size |
/// | `seed` | 0 | splits and predictors |
/// | `top` | 50 | how many of the best count for the overlap |
/// | `threads` | 1 | splits at once; the result does not depend on them |
/// | `level` | 0.95 | coverage of the intervals |
/// | `resamples` | 2,000 | bootstrap resamples of the splits |
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateOptions {
    /// What is evaluated.
    pub methods: Vec<Method>,
    /// Training networks; all others are for testing.
    pub sizes: Vec<usize>,
    /// Splits of each size.
    pub repeats: usize,
    /// Splits and predictors follow from it.
    pub seed: u64,
    /// How many of the best count for the overlap.
    pub top: usize,
    /// Splits at once.
    pub threads: usize,
    /// Coverage of the intervals, above 0 and below 1.
    pub level: f64,
    /// Bootstrap resamples of the splits.
    pub resamples: usize,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self {
            methods: vec![Method::default()],
            sizes: vec![50, 100, 200],
            repeats: 20,
            seed: 0,
            top: 50,
            threads: 1,
            level: 0.95,
            resamples: 2000,
        }
    }
}

impl EvaluateOptions {
    fn check(&self, networks: usize) -> Result<()> {
        let fail = |reason: String| Err(Error::Training { reason });
        let most = networks.saturating_sub(2);
        if let Some(size) = self.sizes.iter().find(|size| !(2..=most).contains(*size)) {
            return fail(format!(
                "expected training sizes from 2 to {most} of {networks} networks, found {size}; hint: two must be left to test on"
            ));
        }
        let counts = [self.methods.len(), self.sizes.len(), self.repeats, self.resamples];
        if counts.contains(&0) || self.top == 0 || !(self.level > 0.0 && self.level < 1.0) {
            return fail(
                "expected at least one predictor, size, repeat and resample, a `top` of at least 1 and a level between 0 and 1"
                    .into(),
            );
        }
        Ok(())
    }
}

/// A cost that ranks networks by itself: multiply-adds, parameters, latency.
pub struct Cost {
    /// Its name.
    pub name: String,
    /// The cost of each known network, in their order; more is taken to be more accurate.
    pub values: Vec<f64>,
}

/// What predictors are worth at one training size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeScores {
    /// Training networks.
    pub size: usize,
    /// Predictors in the order that was asked for, then costs.
    pub rankers: Vec<Scores>,
}

/// Fits every method on random networks of each size and judges it on all others; costs are judged on the same ones.
/// The splits of one repeat are nested: the smaller training sets are parts of the larger ones.
///
/// `progress` is told how many fits are done and how many there are.
///
/// # Errors
/// Options out of range, unusable accuracies; what a method reports.
pub fn evaluate(
    space: &Space,
    known: &[(Genotype, f64)],
    costs: &[Cost],
    options: &EvaluateOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<SizeScores>> {
    crate::predictor::check(known)?;
    options.check(known.len())?;
    let threads = Threads::new(options.threads)?;
    let total = options.sizes.len() * options.repeats;
    let repeats: Vec<u64> = (0..options.repeats as u64).collect();
    let mut sizes = Vec::new();
    for &size in &options.sizes {
        let mut judged = Vec::new();
        for some in repeats.chunks(threads.count()) {
            let split =
                |&repeat: &u64| Split { space, known, costs, options, size, repeat }.judge();
            judged.extend(threads.map(some, split).into_iter().collect::<Result<Vec<_>>>()?);
            progress(sizes.len() * options.repeats + judged.len(), total);
        }
        let names = options.methods.iter().map(|method| method.name().to_owned());
        let names = names.chain(costs.iter().map(|cost| cost.name.clone()));
        let rankers = names.enumerate().map(|(ranker, name)| {
            let repeats: Vec<&Judged> = judged.iter().map(|split| &split[ranker]).collect();
            Scores::of(name, &repeats, options)
        });
        sizes.push(SizeScores { size, rankers: rankers.collect() });
    }
    Ok(sizes)
}

/// One random split.
struct Split<'a> {
    space: &'a Space,
    known: &'a [(Genotype, f64)],
    costs: &'a [Cost],
    options: &'a EvaluateOptions,
    size: usize,
    repeat: u64,
}

impl Split<'_> {
    fn judge(&self) -> Result<Vec<Judged>> {
        let Self { space, known, options, .. } = self;
        let mut random = Random::at(options.seed, "predictor/splits", &[self.repeat]);
        let mut order: Vec<usize> = (0..known.len()).collect();
        random.shuffle(&mut order);
        let fitting = PredictorOptions::seeded(random.bits());
        let (train, test) = order.split_at(self.size);
        let train: Vec<_> = train.iter().map(|&at| known[at].clone()).collect();
        let (genotypes, truth): (Vec<_>, Vec<_>) = test.iter().map(|&at| known[at].clone()).unzip();
        let mut judged = Vec::new();
        for &method in &options.methods {
            let start = Instant::now();
            let predictor = Predictor::fit(method, space, &train, &fitting)?;
            let seconds = start.elapsed().as_secs_f64();
            let predicted = predictor.predict(&genotypes)?;
            judged.push(Judged::predictor(&predicted, &truth, options.top, seconds));
        }
        for cost in self.costs {
            let values: Vec<f64> = test.iter().map(|&at| cost.values[at]).collect();
            judged.push(Judged::ranker(&values, &truth, options.top));
        }
        Ok(judged)
    }
}

#[cfg(test)]
mod tests;
