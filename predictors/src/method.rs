//! The methods by which a predictor is fitted.

use std::{fmt, str::FromStr};

use netfit_spaces::{Genotype, Space};
use serde::{Deserialize, Serialize};

use crate::{
    Error, ForestOptions, KernelOptions, MlpOptions, Result, RidgeOptions, forest::Forest,
    kernel::Kernel, kernel_regression::KernelRegression, mlp::Mlp, ridge::Ridge, scale::Target,
};

/// How a predictor is fitted.
///
/// | method | what it is |
/// |---|---|
/// | `ensemble` | the default: the mean of the next three |
/// | `ranked-mlp` | Once-for-All's multilayer perceptron, fitted to ranks |
/// | `gaussian-process` | a squared exponential with a weight for every choice's value and a linear trend, fitted to normal scores |
/// | `second-order-ridge` | ridge regression on all choices and pairs of choices, fitted to ranks |
/// | `kernels` | the mean of the last two: fitted in a small part of the ensemble's time |
/// | `mlp` | Once-for-All's, fitted to accuracies |
/// | `ridge` | ridge regression on the choices, fitted to accuracies; a baseline |
/// | `random-forest` | regression trees, fitted to accuracies; a baseline |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The mean of [`Method::RankedMlp`], [`Method::GaussianProcess`] and [`Method::SecondOrderRidge`].
    #[default]
    Ensemble,
    /// Once-for-All's multilayer perceptron, fitted to ranks.
    RankedMlp,
    /// A Gaussian process, fitted to normal scores.
    GaussianProcess,
    /// Ridge regression on choices and pairs of choices, fitted to ranks.
    SecondOrderRidge,
    /// The mean of [`Method::GaussianProcess`] and [`Method::SecondOrderRidge`].
    Kernels,
    /// Once-for-All's multilayer perceptron, fitted to accuracies.
    Mlp,
    /// Ridge regression on the choices, fitted to accuracies.
    Ridge,
    /// Regression trees, fitted to accuracies.
    RandomForest,
}

/// Every method.
pub const METHODS: [Method; 8] = [
    Method::Ensemble,
    Method::RankedMlp,
    Method::GaussianProcess,
    Method::SecondOrderRidge,
    Method::Kernels,
    Method::Mlp,
    Method::Ridge,
    Method::RandomForest,
];

impl Method {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ensemble => "ensemble",
            Self::RankedMlp => "ranked-mlp",
            Self::GaussianProcess => "gaussian-process",
            Self::SecondOrderRidge => "second-order-ridge",
            Self::Kernels => "kernels",
            Self::Mlp => "mlp",
            Self::Ridge => "ridge",
            Self::RandomForest => "random-forest",
        }
    }

    /// The methods whose mean it is; itself, where it is no mean.
    pub(crate) fn members(self) -> Vec<Self> {
        match self {
            Self::Ensemble => {
                vec![Self::RankedMlp, Self::GaussianProcess, Self::SecondOrderRidge]
            }
            Self::Kernels => vec![Self::GaussianProcess, Self::SecondOrderRidge],
            alone => vec![alone],
        }
    }

    pub(crate) fn target(self) -> Target {
        match self {
            Self::GaussianProcess => Target::NormalScore,
            Self::Ensemble | Self::Kernels | Self::RankedMlp | Self::SecondOrderRidge => {
                Target::Rank
            }
            Self::Mlp | Self::Ridge | Self::RandomForest => Target::Accuracy,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        METHODS.into_iter().find(|method| method.name() == text).ok_or_else(|| Error::Method {
            name: text.to_owned(),
            known: METHODS.map(Method::name).join(", "),
        })
    }
}

/// How each method is fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictorOptions {
    /// [`Method::Mlp`].
    pub mlp: MlpOptions,
    /// [`Method::RankedMlp`]. Against [`MlpOptions::default`]: batches of 16, 64 passes and at most 2,000 steps, so
    /// that few networks have as many steps as they need; weight decay 0.01, since ranks are noisier than what they rank.
    pub ranked_mlp: MlpOptions,
    /// [`Method::GaussianProcess`] and [`Method::SecondOrderRidge`].
    pub kernel: KernelOptions,
    /// [`Method::Ridge`].
    pub ridge: RidgeOptions,
    /// [`Method::RandomForest`].
    pub forest: ForestOptions,
}

impl Default for PredictorOptions {
    fn default() -> Self {
        let ranked = MlpOptions {
            batch: 16,
            epochs: 64,
            max_steps: 2000,
            weight_decay: 0.01,
            ..MlpOptions::default()
        };
        Self {
            mlp: MlpOptions::default(),
            ranked_mlp: ranked,
            kernel: KernelOptions::default(),
            ridge: RidgeOptions::default(),
            forest: ForestOptions::default(),
        }
    }
}

impl PredictorOptions {
    /// The defaults under another seed.
    pub fn seeded(seed: u64) -> Self {
        let mut options = Self::default();
        (options.mlp.seed, options.ranked_mlp.seed) = (seed, seed);
        (options.kernel.seed, options.forest.seed) = (seed, seed);
        options
    }
}

/// A fitted method.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    Mlp(Box<Mlp>),
    Kernel(Box<KernelRegression>),
    Ridge(Ridge),
    Forest(Forest),
}

impl Model {
    /// Fits a method that is no mean of others to targets that are not all equal.
    pub(crate) fn fit(
        method: Method,
        space: &Space,
        known: &[(Genotype, f64)],
        options: &PredictorOptions,
    ) -> Result<Self> {
        let kernel = |kernel| {
            let fitted = KernelRegression::fit(kernel, space, known, &options.kernel)?;
            Ok(Self::Kernel(Box::new(fitted)))
        };
        match method {
            Method::Mlp => Ok(Self::Mlp(Box::new(Mlp::fit(space, known, &options.mlp)?))),
            Method::Ensemble | Method::RankedMlp => {
                Ok(Self::Mlp(Box::new(Mlp::fit(space, known, &options.ranked_mlp)?)))
            }
            Method::GaussianProcess => kernel(Kernel::Radial),
            Method::SecondOrderRidge | Method::Kernels => kernel(Kernel::SecondOrder),
            Method::Ridge => Ok(Self::Ridge(Ridge::fit(space, known, &options.ridge)?)),
            Method::RandomForest => Ok(Self::Forest(Forest::fit(space, known, &options.forest)?)),
        }
    }

    pub(crate) fn predict(&self, space: &Space, genotypes: &[Genotype]) -> Result<Vec<f64>> {
        match self {
            Self::Mlp(mlp) => Ok(mlp.predict(genotypes)),
            Self::Kernel(kernel) => Ok(kernel.predict(genotypes)),
            Self::Ridge(ridge) => Ok(ridge.predict(space, genotypes)),
            Self::Forest(forest) => forest.predict(space, genotypes),
        }
    }
}
