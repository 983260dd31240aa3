//! What is counted of a ranking, and its mean over splits.

use netfit_latency_tables::{Bootstrap, Estimate, kendall_tau, spearman};
use serde::Serialize;

use super::EvaluateOptions;

/// What a predictor or a cost is worth at one training size: means over splits, each judged on the networks that were
/// not trained on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// The method, or the cost.
    pub name: String,
    /// Kendall's tau-b against the known accuracies.
    pub kendall_tau: Estimate,
    /// Spearman's rho.
    pub spearman: Estimate,
    /// Root of the mean squared error, fraction of 1; none for a cost.
    pub rmse: Option<Estimate>,
    /// The share of the best networks that are among as many predicted best.
    pub top_overlap: Estimate,
    /// How much less accurate the predicted best is than the best, fraction of 1.
    pub regret: Estimate,
    /// Mean time of a fit; none for a cost.
    pub fit_seconds: Option<f64>,
}

impl Scores {
    pub(super) fn of(name: String, repeats: &[&Judged], options: &EvaluateOptions) -> Self {
        let EvaluateOptions { resamples, level, seed, .. } = *options;
        let bootstrap = Bootstrap::new(repeats.len(), resamples, level, seed);
        let mean = |value: fn(&Judged) -> f64| {
            bootstrap.estimate(|places| {
                places.iter().map(|&place| value(repeats[place])).sum::<f64>() / places.len() as f64
            })
        };
        let fitted = repeats.iter().all(|judged| judged.seconds.is_some());
        Self {
            name,
            kendall_tau: mean(|judged| judged.kendall_tau),
            spearman: mean(|judged| judged.spearman),
            rmse: fitted.then(|| mean(|judged| judged.rmse)),
            top_overlap: mean(|judged| judged.top_overlap),
            regret: mean(|judged| judged.regret),
            fit_seconds: fitted.then(|| mean(|judged| judged.seconds.unwrap_or(f64::NAN)).value),
        }
    }
}

/// One ranking against the truth.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    kendall_tau: f64,
    spearman: f64,
    rmse: f64,
    top_overlap: f64,
    regret: f64,
    seconds: Option<f64>,
}

impl Judged {
    pub(super) fn predictor(predicted: &[f64], truth: &[f64], top: usize, seconds: f64) -> Self {
        let squares = predicted.iter().zip(truth).map(|(p, t)| (p - t).powi(2)).sum::<f64>();
        let rmse = (squares / truth.len() as f64).sqrt();
        Self { rmse, seconds: Some(seconds), ..Self::ranker(predicted, truth, top) }
    }

    pub(super) fn ranker(values: &[f64], truth: &[f64], top: usize) -> Self {
        let top = top.min(truth.len());
        let (ranked, best) = (best_first(values), best_first(truth));
        let inside = ranked[..top].iter().filter(|place| best[..top].contains(place)).count();
        Self {
            kendall_tau: kendall_tau(values, truth),
            spearman: spearman(values, truth),
            rmse: f64::NAN,
            top_overlap: inside as f64 / top as f64,
            regret: truth[best[0]] - truth[ranked[0]],
            seconds: None,
        }
    }
}

/// Places in descending order of their values; equals in their own order.
fn best_first(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ranking_is_judged_as_by_hand() {
        let (truth, predicted) = ([0.1, 0.4, 0.2, 0.3], [0.2, 0.3, 0.1, 0.5]);
        let judged = Judged::predictor(&predicted, &truth, 2, 1.5);
        // Discordant: the first with the third, the second with the fourth.
        assert!((judged.kendall_tau - 2.0 / 6.0).abs() < 1e-12);
        assert!((judged.rmse - (0.07_f64 / 4.0).sqrt()).abs() < 1e-12);
        assert!((judged.top_overlap - 1.0).abs() < 1e-12);
        assert!((judged.regret - 0.1).abs() < 1e-12);
        let judged = Judged::ranker(&[4.0, 3.0, 2.0, 1.0], &truth, 1);
        assert!(judged.top_overlap.abs() < 1e-12 && judged.rmse.is_nan());
        assert!((judged.regret - 0.3).abs() < 1e-12);
    }

    #[test]
    fn intervals_hold_the_mean_and_a_single_split_has_none() {
        let options = EvaluateOptions::default();
        let judged: Vec<Judged> = [0.1, 0.2, 0.3, 0.4]
            .map(|rmse| Judged { rmse, ..Judged::predictor(&[0.1], &[0.1], 1, 0.0) })
            .into();
        let scores = |judged: &[Judged]| {
            let repeats: Vec<&Judged> = judged.iter().collect();
            Scores::of("any".into(), &repeats, &options).rmse
        };
        let estimate = scores(&judged);
        let [low, high] = estimate.and_then(|estimate| estimate.interval).unwrap_or_default();
        assert!(estimate.is_some_and(|estimate| (estimate.value - 0.25).abs() < 1e-12));
        assert!((0.1..0.22).contains(&low) && high > 0.28 && high <= 0.4, "{low} {high}");
        assert_eq!(scores(&judged[..1]).map(|estimate| estimate.interval), Some(None));
    }
}
