//! The accuracy predictor of Once-for-All: a multilayer perceptron over one-hot choices.

use netfit_spaces::{Genotype, Random, Space};
use serde::{Deserialize, Serialize};

use crate::{
    Accuracy, Error, Result, Threads,
    dense::{Adam, Layers, Pass},
    inference::Inference,
};

/// How an [`Mlp`] is fitted.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `layers` | 400, 400, 400 | widths of the hidden layers |
/// | `learning_rate` | 1e-3 | of Adam, falling to 0 along a cosine |
/// | `weight_decay` | 1e-4 | L2 penalty on weights |
/// | `batch` | 64 | networks a step |
/// | `epochs` | 120 | passes over the training networks |
/// | `max_steps` | 20,000 | bound on the steps, however many networks there are |
/// | `seed` | 0 | initialisation and order |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpOptions {
    /// Widths of the hidden layers.
    pub layers: Vec<usize>,
    /// Learning rate of Adam at the start.
    pub learning_rate: f64,
    /// L2 penalty on weights.
    pub weight_decay: f64,
    /// Networks a step.
    pub batch: usize,
    /// Passes over the training networks.
    pub epochs: usize,
    /// Bound on the steps.
    pub max_steps: usize,
    /// Initialisation and order follow from it.
    pub seed: u64,
}

impl Default for MlpOptions {
    fn default() -> Self {
        Self {
            layers: vec![400; 3],
            learning_rate: 1e-3,
            weight_decay: 1e-4,
            batch: 64,
            epochs: 120,
            max_steps: 20_000,
            seed: 0,
        }
    }
}

/// Predicts the accuracy of a genotype as `base + scale * mlp(encoding)` (Cai et al., ICLR 2020, section 3.4).
///
/// The input is [`Space::encode`]; hidden layers have ReLU. `base` is the mean accuracy of the training networks, as
/// in the authors' recipe. Departures: the head is fitted to standardised accuracies (`scale` is their standard
/// deviation; where all are equal nothing is fitted and the mean is predicted for every genotype), its learning rate falls
/// along a cosine, and biases are not decayed. The same data, options and processor give the same predictor, bit for
/// bit: products run on one thread. So do predictions, whatever the number of threads: batches have a fixed size.
#[derive(Clone, Debug)]
pub struct Mlp {
    pub(crate) space: Space,
    pub(crate) layers: Layers,
    pub(crate) base: f64,
    pub(crate) scale: f64,
    pub(crate) networks: usize,
    pub(crate) inference: Inference,
}

impl Mlp {
    /// Fits a predictor to known accuracies (fractions of 1).
    ///
    /// # Errors
    /// Fewer than two networks, an accuracy that is not finite, a size or rate of 0, accuracies that make the loss
    /// infinite.
    pub fn fit(space: &Space, known: &[(Genotype, f64)], options: &MlpOptions) -> Result<Self> {
        check(known, options)?;
        let count = known.len() as f64;
        let base = known.iter().map(|(_, accuracy)| accuracy).sum::<f64>() / count;
        let variance =
            known.iter().map(|(_, accuracy)| (accuracy - base).powi(2)).sum::<f64>() / count;
        // Equal accuracies differ from their mean by rounding alone.
        let constant = variance.sqrt() < 1e-12;
        let scale = if constant { 1.0 } else { variance.sqrt() };
        let mut widths = vec![space.encoding_width()];
        widths.extend(&options.layers);
        widths.push(1);
        let mut random = Random::new(options.seed, "predictor/initialisation");
        let mut layers = Layers::new(&widths, &mut random);
        if !constant {
            let standard = |&(_, accuracy): &(_, f64)| ((accuracy - base) / scale) as f32;
            let targets: Vec<f32> = known.iter().map(standard).collect();
            train(&mut layers, &encoded(space, known), &targets, options)?;
        }
        let (space, inference) = (space.clone(), Inference::new(&layers));
        Ok(Self { space, layers, base, scale, networks: known.len(), inference })
    }

    /// The space whose genotypes it scores.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// How many networks it was fitted on.
    pub fn networks(&self) -> usize {
        self.networks
    }

    /// Predicts on these threads; on the caller's where this is not said. Predictions are the same, bit for bit.
    #[must_use]
    pub fn with_threads(self, threads: &Threads) -> Self {
        Self { inference: self.inference.with_threads(threads), ..self }
    }

    /// The predicted accuracy of each genotype.
    pub fn predict(&self, genotypes: &[Genotype]) -> Vec<f64> {
        self.accuracies_of(&self.inference.clone().run(&self.space, genotypes))
    }

    fn accuracies_of(&self, heads: &[f32]) -> Vec<f64> {
        heads.iter().map(|&head| self.base + self.scale * f64::from(head)).collect()
    }
}

impl Accuracy for Mlp {
    fn source(&self) -> String {
        "predictor".to_owned()
    }

    fn accuracies(&mut self, genotypes: &[Genotype]) -> Result<Vec<f64>> {
        let heads = self.inference.run(&self.space, genotypes);
        Ok(self.accuracies_of(&heads))
    }
}

/// The encodings of networks, one after the other.
fn encoded(space: &Space, known: &[(Genotype, f64)]) -> Vec<f32> {
    let width = space.encoding_width();
    let mut rows = vec![0.0; known.len() * width];
    for (row, (genotype, _)) in rows.chunks_exact_mut(width).zip(known) {
        space.encode(genotype, row);
    }
    rows
}

/// Fits `layers` to `targets` by the rows of `inputs`.
fn train(layers: &mut Layers, inputs: &[f32], targets: &[f32], options: &MlpOptions) -> Result<()> {
    let width = inputs.len() / targets.len();
    let batch = options.batch.min(targets.len());
    let steps = (options.epochs * targets.len().div_ceil(batch)).min(options.max_steps);
    let mut adam = Adam::new(layers, options.weight_decay);
    let mut pass = Pass::new(layers, batch);
    let mut target = vec![0.0; batch];
    let mut order = Order::new(targets.len(), options.seed);
    for step in 0..steps {
        for (slot, row) in pass.input().chunks_exact_mut(width).zip(&mut target) {
            let network = order.next();
            slot.copy_from_slice(&inputs[network * width..][..width]);
            *row = targets[network];
        }
        pass.forward(layers);
        let loss = pass.backward(layers, &target, &mut adam.gradient);
        if !loss.is_finite() {
            let reason = format!(
                "the loss is {loss} at step {step}, expected a finite one; hint: lower the learning rate"
            );
            return Err(Error::Training { reason });
        }
        let progress = step as f64 / steps as f64;
        let rate = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        adam.step(layers, options.learning_rate * rate);
    }
    Ok(())
}

fn check(known: &[(Genotype, f64)], options: &MlpOptions) -> Result<()> {
    crate::predictor::check(known)?;
    let fail = |reason: String| Err(Error::Training { reason });
    let sizes = [options.batch, options.epochs, options.max_steps];
    if sizes.contains(&0) || options.layers.contains(&0) {
        return fail("expected `layers`, `batch`, `epochs` and `max_steps` of at least 1".into());
    }
    let MlpOptions { learning_rate, weight_decay, .. } = *options;
    let finite = learning_rate.is_finite() && weight_decay.is_finite();
    if !finite || learning_rate <= 0.0 || weight_decay < 0.0 {
        return fail(
            "expected a finite `learning_rate` above 0 and a finite `weight_decay` not below"
                .into(),
        );
    }
    Ok(())
}

/// An endless sequence of passes over the networks, each in an order of its own.
struct Order {
    seed: u64,
    epoch: u64,
    at: usize,
    networks: Vec<usize>,
}

impl Order {
    fn new(networks: usize, seed: u64) -> Self {
        Self { seed, epoch: 0, at: networks, networks: (0..networks).collect() }
    }

    fn next(&mut self) -> usize {
        if self.at == self.networks.len() {
            Random::at(self.seed, "predictor/order", &[self.epoch]).shuffle(&mut self.networks);
            self.epoch += 1;
            self.at = 0;
        }
        self.at += 1;
        self.networks[self.at - 1]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn small(epochs: usize) -> MlpOptions {
        MlpOptions { layers: vec![64, 64], epochs, batch: 32, ..MlpOptions::default() }
    }

    /// A linear function of the choices, with one product of two of them.
    fn planted(genotype: &Genotype) -> f64 {
        let values: Vec<f64> = genotype.values().iter().map(|&value| f64::from(value)).collect();
        let linear: f64 = values.iter().enumerate().map(|(at, v)| 0.01 * (at + 1) as f64 * v).sum();
        0.2 + linear / 4.0 + 0.02 * values[0] * values[7]
    }

    fn networks(space: &Space, count: usize, seed: u64) -> Vec<(Genotype, f64)> {
        let mut random = Random::new(seed, "networks");
        let mut draw = |_| {
            let genotype = space.sample(&mut random);
            let accuracy = planted(&genotype);
            (genotype, accuracy)
        };
        (0..count).map(&mut draw).collect()
    }

    #[test]
    fn a_planted_function_is_learned() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let predictor = Mlp::fit(&space, &networks(&space, 300, 1), &small(60)).unwrap();
        let (fresh, truth): (Vec<_>, Vec<_>) = networks(&space, 300, 2).into_iter().unzip();
        let predicted = predictor.predict(&fresh);
        let mean = truth.iter().sum::<f64>() / 300.0;
        let error: f64 = predicted.iter().zip(&truth).map(|(p, t)| (p - t).powi(2)).sum();
        let spread: f64 = truth.iter().map(|t| (t - mean).powi(2)).sum();
        assert!(error < 0.03 * spread, "{error} of {spread}");
    }

    #[test]
    fn the_seed_fixes_the_predictor_and_company_does_not_matter() {
        let space = Space::preset("ofa-28").unwrap();
        let mut random = Random::new(4, "networks");
        let known: Vec<_> = (0..50)
            .map(|index| (space.sample(&mut random), 0.8 + 0.001 * f64::from(index % 9)))
            .collect();
        let fit = |seed| Mlp::fit(&space, &known, &MlpOptions { seed, ..small(5) }).unwrap();
        let genotypes: Vec<_> = known.iter().map(|(genotype, _)| genotype.clone()).collect();
        let predicted = fit(3).predict(&genotypes);
        let elsewhere = std::thread::spawn({
            let predictor = fit(3);
            let genotypes = genotypes.clone();
            move || predictor.predict(&genotypes)
        });
        assert_eq!(predicted, elsewhere.join().unwrap());
        let alone = fit(3).predict(&genotypes[7..8]);
        assert_eq!(predicted[7].to_bits(), alone[0].to_bits());
        assert_ne!(predicted, fit(4).predict(&genotypes));
    }

    #[test]
    fn equal_accuracies_are_predicted_for_every_network() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let known: Vec<_> =
            networks(&space, 20, 1).into_iter().map(|(genotype, _)| (genotype, 0.7)).collect();
        let predicted = Mlp::fit(&space, &known, &small(5)).unwrap().predict(&[space.largest()]);
        assert!((predicted[0] - 0.7).abs() < 1e-12, "{predicted:?}");
    }

    #[test]
    fn unusable_data_and_options_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let known = networks(&space, 3, 1);
        let fit = |known: &[_], options| Mlp::fit(&space, known, &options).unwrap_err().to_string();
        let mut holed = known.clone();
        holed[1].1 = f64::NAN;
        let message = fit(&holed, small(1));
        assert!(message.contains("NaN") && message.contains(&holed[1].0.to_string()), "{message}");
        assert!(fit(&known[..1], small(1)).contains("at least 2 networks, found 1"));
        assert!(fit(&known, small(0)).contains("of at least 1"));
        for learning_rate in [-1.0, 0.0] {
            assert!(fit(&known, MlpOptions { learning_rate, ..small(1) }).contains("above 0"));
        }
        assert!(fit(&known, MlpOptions { weight_decay: -1.0, ..small(1) }).contains("not below"));
    }

    #[test]
    fn the_benchmarks_networks_are_ranked_from_200_of_them() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/nas-bench-macro.csv");
        let option = format!("csv:{file},genotype=arch,accuracy=mean_acc,unit=percent");
        let mut all = crate::CsvAccuracy::load(&option, &space).unwrap().pairs();
        assert_eq!(all.len(), 6561);
        Random::new(0, "benchmark").shuffle(&mut all);
        let (train, test) = all.split_at(200);
        let options = MlpOptions { epochs: 60, ..MlpOptions::default() };
        let predictor = Mlp::fit(&space, train, &options).unwrap();
        let (genotypes, truth): (Vec<_>, Vec<_>) = test.iter().cloned().unzip();
        let tau = netfit_latency_tables::kendall_tau(&predictor.predict(&genotypes), &truth);
        assert!(tau >= 0.85, "{tau}");
    }
}
