//! A random forest on the choices: a baseline of trees, by smartcore. linfa has classification trees alone, whose ties
//! fall differently from run to run.

use std::sync::Arc;

use netfit_spaces::{Genotype, Space};
use serde::{Deserialize, Serialize};
use smartcore::{
    ensemble::random_forest_regressor::{RandomForestRegressor, RandomForestRegressorParameters},
    error::Failed,
    linalg::basic::matrix::DenseMatrix,
};

use crate::{Error, Result};

type Trees = RandomForestRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// How the random forest is grown (Breiman, Machine Learning 45, 2001).
///
/// | field | default | purpose |
/// |---|---|---|
/// | `trees` | 100 | trees, each on a bootstrap sample |
/// | `leaf` | 1 | networks in a leaf at least |
/// | `seed` | 0 | samples, and which choices a split may use |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForestOptions {
    /// Trees, each on a bootstrap sample.
    pub trees: usize,
    /// Networks in a leaf at least.
    pub leaf: usize,
    /// Samples, and which choices a split may use, follow from it.
    pub seed: u64,
}

impl Default for ForestOptions {
    fn default() -> Self {
        Self { trees: 100, leaf: 1, seed: 0 }
    }
}

/// The mean of regression trees on one-hot choices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Forest(#[serde(with = "shared")] Arc<Trees>);

impl Forest {
    pub(crate) fn fit(
        space: &Space,
        known: &[(Genotype, f64)],
        options: &ForestOptions,
    ) -> Result<Self> {
        let parameters = RandomForestRegressorParameters::default()
            .with_n_trees(options.trees)
            .with_min_samples_leaf(options.leaf)
            .with_seed(options.seed);
        let targets = known.iter().map(|(_, target)| *target).collect();
        let fitted = matrix(space, known.iter().map(|(genotype, _)| genotype))
            .and_then(|records| Trees::fit(&records, &targets, parameters));
        Ok(Self(Arc::new(fitted.map_err(|error| failed(&error))?)))
    }

    pub(crate) fn predict(&self, space: &Space, genotypes: &[Genotype]) -> Result<Vec<f64>> {
        if genotypes.is_empty() {
            return Ok(Vec::new());
        }
        let predicted =
            matrix(space, genotypes.iter()).and_then(|records| self.0.predict(&records));
        predicted.map_err(|error| failed(&error))
    }
}

fn failed(error: &Failed) -> Error {
    Error::Training { reason: format!("random forest: {error}") }
}

fn matrix<'a>(
    space: &Space,
    genotypes: impl Iterator<Item = &'a Genotype>,
) -> std::result::Result<DenseMatrix<f64>, Failed> {
    let width = space.encoding_width();
    let mut values = Vec::new();
    for genotype in genotypes {
        let from = values.len();
        values.resize(from + width, 0.0);
        space.encoded_ones(genotype).for_each(|place| values[from + place] = 1.0);
    }
    DenseMatrix::new(values.len() / width, width, values, false)
}

/// serde through the pointer that copies of a predictor share.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Trees;

    pub(super) fn serialize<S: Serializer>(trees: &Arc<Trees>, to: S) -> Result<S::Ok, S::Error> {
        trees.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Trees>, D::Error> {
        Trees::deserialize(from).map(Arc::new)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_learned_and_the_seed_fixes_the_forest() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let step = |genotype: &Genotype| if genotype.values()[2] == 1 { 0.9 } else { 0.1 };
        let known: Vec<(Genotype, f64)> = space
            .enumerate()
            .step_by(67)
            .map(|genotype| (genotype.clone(), step(&genotype)))
            .collect();
        let asked: Vec<Genotype> = space.enumerate().step_by(91).collect();
        let predict = |seed| {
            let options = ForestOptions { trees: 20, seed, ..ForestOptions::default() };
            Forest::fit(&space, &known, &options).unwrap().predict(&space, &asked).unwrap()
        };
        for (genotype, found) in asked.iter().zip(predict(1)) {
            assert!((found - step(genotype)).abs() < 0.3, "{genotype}: {found}");
        }
        assert_eq!(predict(1), predict(1));
        assert_ne!(predict(1), predict(2));
        assert!(
            Forest::fit(&space, &known, &ForestOptions::default())
                .unwrap()
                .predict(&space, &[])
                .unwrap()
                .is_empty()
        );
    }
}
