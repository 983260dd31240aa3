//! Ridge regression on the choices: a linear baseline, by linfa.

use linfa::{Dataset, traits::Fit as _};
use linfa_elasticnet::ElasticNet;
use ndarray::{Array1, Array2};
use netfit_spaces::{Genotype, Space};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the ridge is fitted.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `penalty` | 1 | factor of the squared weights, for standardised accuracies |
/// | `iterations` | 1,000 | passes of coordinate descent at most |
/// | `tolerance` | 1e-6 | change of a weight at which they end |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RidgeOptions {
    /// Factor of the squared weights, for standardised accuracies.
    pub penalty: f64,
    /// Passes of coordinate descent at most.
    pub iterations: u32,
    /// Change of a weight at which they end.
    pub tolerance: f64,
}

impl Default for RidgeOptions {
    fn default() -> Self {
        Self { penalty: 1.0, iterations: 1000, tolerance: 1e-6 }
    }
}

/// `intercept + sum of a weight for each active choice's value`, with `sum (y - f(x))^2 + penalty |w|^2` least.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ridge {
    pub(crate) intercept: f64,
    pub(crate) weights: Vec<f64>,
}

impl Ridge {
    pub(crate) fn fit(
        space: &Space,
        known: &[(Genotype, f64)],
        options: &RidgeOptions,
    ) -> Result<Self> {
        let (count, width) = (known.len(), space.encoding_width());
        let mean = known.iter().map(|(_, target)| target).sum::<f64>() / count as f64;
        let squares = known.iter().map(|(_, target)| (target - mean).powi(2)).sum::<f64>();
        let scale = (squares / count as f64).sqrt();
        // linfa takes the mean target as the intercept, which is right for records of mean 0 alone.
        let mut means = vec![0.0; width];
        for (genotype, _) in known {
            space.encoded_ones(genotype).for_each(|place| means[place] += 1.0 / count as f64);
        }
        let mut records = Array2::from_shape_fn((count, width), |(_, place)| -means[place]);
        for (row, (genotype, _)) in known.iter().enumerate() {
            space.encoded_ones(genotype).for_each(|place| records[[row, place]] += 1.0);
        }
        let targets: Array1<f64> =
            known.iter().map(|(_, target)| (target - mean) / scale).collect();
        // linfa divides the squared errors by the number of networks.
        let fitted = ElasticNet::params()
            .l1_ratio(0.0)
            .penalty(options.penalty / count as f64)
            .max_iterations(options.iterations)
            .tolerance(options.tolerance)
            .fit(&Dataset::new(records, targets))
            .map_err(|error| Error::Training { reason: format!("ridge: {error}") })?;
        let weights: Vec<f64> = fitted.hyperplane().iter().map(|weight| scale * weight).collect();
        let shift: f64 = weights.iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        Ok(Self { intercept: mean + scale * fitted.intercept() - shift, weights })
    }

    pub(crate) fn predict(&self, space: &Space, genotypes: &[Genotype]) -> Vec<f64> {
        let predict = |genotype: &Genotype| {
            let weights = space.encoded_ones(genotype).map(|place| self.weights[place]);
            self.intercept + weights.sum::<f64>()
        };
        genotypes.iter().map(predict).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::Random;

    use super::*;

    #[test]
    fn the_gradient_of_the_penalised_error_is_zero() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let mut random = Random::new(0, "ridge");
        let known: Vec<(Genotype, f64)> =
            (0..60).map(|_| (space.sample(&mut random), 0.8 + 0.05 * random.normal())).collect();
        let model = Ridge::fit(&space, &known, &RidgeOptions::default()).unwrap();
        let genotypes: Vec<_> = known.iter().map(|(genotype, _)| genotype.clone()).collect();
        let predicted = model.predict(&space, &genotypes);
        let errors: Vec<f64> = known.iter().zip(&predicted).map(|((_, y), p)| y - p).collect();
        assert!(errors.iter().sum::<f64>().abs() < 1e-4, "the intercept is not penalised");
        for (place, weight) in model.weights.iter().enumerate() {
            let ones = genotypes.iter().zip(&errors);
            let pull: f64 = ones
                .filter(|(genotype, _)| space.encoded_ones(genotype).any(|one| one == place))
                .map(|(_, error)| error)
                .sum();
            assert!((pull - weight).abs() < 1e-4, "{pull} {weight}");
        }
    }
}
