//! How well a predictor ranks networks that it has not seen.

use netfit_latency_tables::kendall_tau;
use netfit_spaces::{Genotype, Random, Space};
use serde::{Deserialize, Serialize};

use crate::{Error, Mlp, MlpOptions, Result};

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

/// Fits on all folds but one and judges on that one, for each in turn; networks go to folds at random under
/// `options.seed`.
///
/// # Errors
/// Fewer than two folds, fewer than two networks a fold, or what [`Mlp::fit`] reports.
pub fn cross_validate(
    space: &Space,
    known: &[(Genotype, f64)],
    options: &MlpOptions,
    folds: usize,
) -> Result<Evaluation> {
    if folds < 2 || known.len() < 2 * folds {
        let reason = format!(
            "expected at least 2 folds of 2 networks, found {folds} folds of {} networks",
            known.len()
        );
        return Err(Error::Training { reason });
    }
    let mut order: Vec<usize> = (0..known.len()).collect();
    Random::new(options.seed, "predictor/folds").shuffle(&mut order);
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
        let predicted = Mlp::fit(space, &train, options)?.predict(&genotypes);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_learnable_function_is_ranked_and_noise_is_not() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let options = MlpOptions { layers: vec![32], epochs: 60, batch: 16, ..Default::default() };
        let mut random = Random::new(5, "evaluate");
        let (mut sums, mut noise) = (Vec::new(), Vec::new());
        for _ in 0..90 {
            let genotype = space.sample(&mut random);
            let sum: u8 = genotype.values().iter().sum();
            sums.push((genotype.clone(), 0.5 + 0.02 * f64::from(sum)));
            noise.push((genotype, random.uniform()));
        }
        let judged = cross_validate(&space, &sums, &options, 3).unwrap();
        assert!(judged.kendall_tau > 0.6 && judged.rmse < 0.04, "{judged:?}");
        assert_eq!((judged.networks, judged.folds), (90, 3));
        let judged = cross_validate(&space, &noise, &options, 3).unwrap();
        assert!(judged.kendall_tau.abs() < 0.3 && judged.rmse > 0.2, "{judged:?}");
    }

    #[test]
    fn too_few_networks_for_the_folds_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let known = vec![(space.smallest(), 0.1), (space.largest(), 0.2)];
        let error = cross_validate(&space, &known, &MlpOptions::default(), 2).unwrap_err();
        assert!(error.to_string().contains("2 folds of 2 networks, found 2 folds"), "{error}");
    }
}
