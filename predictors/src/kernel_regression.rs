//! Gaussian process and second-order ridge: kernel regression with constants that the data choose.

use netfit_spaces::{Genotype, Random, Space};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    evidence::{Constants, choose},
    kernel::Kernel,
};

/// How the Gaussian process and the second-order ridge are fitted.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `iterations` | 60 | steps of the gradient ascent on the evidence |
/// | `step` | 0.1 | its step, in logarithms of the constants |
/// | `spread` | 1 | standard deviation of the weights' logarithms about their mean, as the prior has it |
/// | `ratio` | 0.3 | weight at the start of the linear trend, or of products of two choices |
/// | `noise` | 0.1 | variance of the noise at the start, in units of the kernel's |
/// | `least_noise` | 1e-4 | the same at least |
/// | `chosen_on` | 300 | training networks at most on which the constants are chosen |
/// | `networks` | 2,000 | training networks at most; of more, a random choice. Time grows with their cube |
/// | `seed` | 0 | that choice |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KernelOptions {
    /// Steps of the gradient ascent on the evidence.
    pub iterations: usize,
    /// Its step, in logarithms of the constants.
    pub step: f64,
    /// Standard deviation of the weights' logarithms about their mean, as the prior has it.
    pub spread: f64,
    /// Weight at the start of the linear trend, or of products of two choices.
    pub ratio: f64,
    /// Variance of the noise at the start, in units of the kernel's.
    pub noise: f64,
    /// Variance of the noise at least.
    pub least_noise: f64,
    /// Training networks at most on which the constants are chosen.
    pub chosen_on: usize,
    /// Training networks at most; of more, a random choice.
    pub networks: usize,
    /// That choice follows from it.
    pub seed: u64,
}

impl Default for KernelOptions {
    fn default() -> Self {
        Self {
            iterations: 60,
            step: 0.1,
            spread: 1.0,
            ratio: 0.3,
            noise: 0.1,
            least_noise: 1e-4,
            chosen_on: 300,
            networks: 2000,
            seed: 0,
        }
    }
}

impl KernelOptions {
    fn check(&self) -> Result<()> {
        let sizes = [self.chosen_on, self.networks].iter().all(|&size| size >= 2);
        let rates = [self.step, self.spread, self.ratio, self.noise, self.least_noise];
        if sizes && rates.iter().all(|rate| rate.is_finite() && *rate > 0.0) {
            return Ok(());
        }
        let reason = "expected `chosen_on` and `networks` of at least 2, and finite `step`, `spread`, `ratio`, `noise` and `least_noise` above 0";
        Err(Error::Training { reason: reason.to_owned() })
    }
}

/// `mean + sum_i alpha_i k(x, x_i)` over the training networks (Rasmussen and Williams, Gaussian Processes for Machine
/// Learning, section 2.2): the mean of a Gaussian process, and for the kernel of second order what ridge regression
/// on all choices and pairs of choices predicts, its penalties included.
#[derive(Clone, Debug)]
pub(crate) struct KernelRegression {
    space: Space,
    stored: Stored,
    /// `[places, networks]`: the weight where the network has a one.
    columns: Vec<f64>,
    /// Each network's own sum of weights.
    own: Vec<f64>,
}

/// What a file holds of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    kernel: Kernel,
    mean: f64,
    ratio: f64,
    weights: Vec<f64>,
    genotypes: Vec<Genotype>,
    alphas: Vec<f64>,
}

impl KernelRegression {
    /// Fits targets that are not all equal.
    pub(crate) fn fit(
        kernel: Kernel,
        space: &Space,
        known: &[(Genotype, f64)],
        options: &KernelOptions,
    ) -> Result<Self> {
        options.check()?;
        let mut order: Vec<usize> = (0..known.len()).collect();
        if known.len() > options.chosen_on.min(options.networks) {
            Random::new(options.seed, "predictor/kernel").shuffle(&mut order);
            order.truncate(options.networks);
        }
        let genotypes: Vec<Genotype> = order.iter().map(|&at| known[at].0.clone()).collect();
        let rows: Vec<Vec<usize>> =
            genotypes.iter().map(|genotype| space.encoded_ones(genotype).collect()).collect();
        let mean = order.iter().map(|&at| known[at].1).sum::<f64>() / order.len() as f64;
        let targets: Vec<f64> = order.iter().map(|&at| known[at].1 - mean).collect();
        let first = rows.len().min(options.chosen_on);
        let (some, width) = (&rows[..first], space.encoding_width());
        let constants = choose(kernel, some, width, &targets[..first], options);
        let system = constants.system(kernel, &rows).ok_or_else(|| Error::Training {
            reason: format!(
                "the kernel of {} networks is not positive definite; hint: raise `least_noise`",
                rows.len()
            ),
        })?;
        let Constants { weights, ratio, .. } = constants;
        let alphas = system.solve(&targets);
        Ok(Self::new(space, Stored { kernel, mean, ratio, weights, genotypes, alphas }))
    }

    fn new(space: &Space, stored: Stored) -> Self {
        let count = stored.genotypes.len();
        let mut columns = vec![0.0; stored.weights.len() * count];
        let mut own = vec![0.0; count];
        for (network, genotype) in stored.genotypes.iter().enumerate() {
            for place in space.encoded_ones(genotype) {
                columns[place * count + network] = stored.weights[place];
                own[network] += stored.weights[place];
            }
        }
        Self { space: space.clone(), stored, columns, own }
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// What a file held; an error says what is wrong with it.
    pub(crate) fn restore(space: &Space, mut stored: Stored) -> std::result::Result<Self, String> {
        let Stored { mean, ratio, weights, genotypes, alphas, .. } = &mut stored;
        let width = space.encoding_width();
        if weights.len() != width || genotypes.len() != alphas.len() {
            return Err(format!(
                "expected {width} weights and as many factors as networks, found {}, {} and {}",
                weights.len(),
                alphas.len(),
                genotypes.len()
            ));
        }
        for genotype in genotypes {
            *genotype = space.parse(&genotype.to_string()).map_err(|error| error.to_string())?;
        }
        let numbers = weights.iter().chain(&*alphas).chain([&*mean, &*ratio]);
        if numbers.into_iter().any(|number| !number.is_finite()) {
            return Err("a kernel holds a number that is not finite".to_owned());
        }
        Ok(Self::new(space, stored))
    }

    pub(crate) fn predict(&self, genotypes: &[Genotype]) -> Vec<f64> {
        let Stored { kernel, mean, ratio, weights, alphas, .. } = &self.stored;
        let count = alphas.len();
        let mut shared = vec![0.0; count];
        let mut predict = |genotype: &Genotype| {
            shared.fill(0.0);
            let mut own = 0.0;
            for place in self.space.encoded_ones(genotype) {
                own += weights[place];
                for (sum, weight) in shared.iter_mut().zip(&self.columns[place * count..][..count])
                {
                    *sum += weight;
                }
            }
            let networks = shared.iter().zip(&self.own).zip(alphas);
            mean + networks
                .map(|((&shared, &other), alpha)| alpha * kernel.value(shared, own, other, *ratio))
                .sum::<f64>()
        };
        genotypes.iter().map(&mut predict).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Two choices that matter together.
    fn known(space: &Space, count: usize, seed: u64) -> Vec<(Genotype, f64)> {
        let mut random = Random::new(seed, "kernel");
        let mut draw = |_| {
            let genotype = space.sample(&mut random);
            let value = |at: usize| f64::from(genotype.values()[at]);
            let target = value(0) * value(3) + 0.5 * value(5);
            (genotype, target)
        };
        (0..count).map(&mut draw).collect()
    }

    #[test]
    fn pairs_of_choices_are_learned() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let (fresh, truth): (Vec<_>, Vec<_>) = known(&space, 200, 2).into_iter().unzip();
        for kernel in [Kernel::Radial, Kernel::SecondOrder] {
            let options = KernelOptions::default();
            let model =
                KernelRegression::fit(kernel, &space, &known(&space, 120, 1), &options).unwrap();
            let tau = netfit_latency_tables::kendall_tau(&model.predict(&fresh), &truth);
            assert!(tau > 0.9, "{kernel:?}: {tau}");
        }
    }

    /// The closed form in the explicit features of every choice and pair of choices is the oracle.
    #[test]
    fn the_second_order_kernel_is_ridge_on_pairs() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let known = known(&space, 30, 3);
        let options = KernelOptions { iterations: 3, ..KernelOptions::default() };
        let model = KernelRegression::fit(Kernel::SecondOrder, &space, &known, &options).unwrap();
        let Stored { weights, ratio, alphas, mean, .. } = &model.stored;
        let features = |genotype: &Genotype| {
            let ones: Vec<usize> = space.encoded_ones(genotype).collect();
            let root = |place: usize| weights[place].sqrt();
            let mut features = vec![0.0; weights.len() * (weights.len() + 1)];
            for &f in &ones {
                features[f] = root(f);
                for &g in &ones {
                    features[weights.len() * (1 + f) + g] =
                        root(f) * root(g) * (0.5 * ratio).sqrt();
                }
            }
            features
        };
        let asked = space.parse("01201201").unwrap();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let sums = known.iter().zip(alphas);
        let expected = mean
            + sums.map(|((g, _), alpha)| alpha * dot(&features(g), &features(&asked))).sum::<f64>();
        let found = model.predict(&[asked])[0];
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn of_many_networks_some_are_used_and_the_seed_says_which() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let known = known(&space, 60, 4);
        let fit = |seed| {
            let options = KernelOptions { networks: 40, seed, ..KernelOptions::default() };
            KernelRegression::fit(Kernel::Radial, &space, &known, &options).unwrap()
        };
        assert_eq!(fit(1).stored.genotypes.len(), 40);
        assert_eq!(fit(1).stored.alphas, fit(1).stored.alphas);
        assert_ne!(fit(1).stored.genotypes, fit(2).stored.genotypes);
        let options = KernelOptions { noise: 0.0, ..KernelOptions::default() };
        let error = KernelRegression::fit(Kernel::Radial, &space, &known, &options).unwrap_err();
        assert!(error.to_string().contains("`least_noise` above 0"), "{error}");
    }
}
