//! Training one network of its own from scratch, under a protocol that is the same for all that are compared.

use std::path::Path;

use netfit_export::Weights;
use netfit_search::job::{Scratch, Training};
use netfit_spaces::Network;
use tch::no_grad;

use crate::{
    Error, Mode, Parameters, Result, Sgd, Standalone, Statistics,
    checkpoint::{Checkpoints, Origin, Place},
    context::{Autocast, Exact},
    evaluation::accuracy,
    feed::Feed,
    layout, ops,
    pace::Pace,
    range::{self, Range},
    schedule::Curve,
    training::Report,
};

/// A network in training. Everything random follows from (seed, epoch, step), so a resumed training ends with the same
/// weights as an unbroken one, bit for bit on one machine.
pub(crate) struct ScratchTrainer<'a> {
    module: Standalone,
    parameters: Parameters,
    sgd: Sgd,
    feed: &'a mut Feed,
    training: &'a Training,
    curve: Curve,
    step: u64,
    checkpoints: Checkpoints,
    origin: Origin,
}

impl<'a> ScratchTrainer<'a> {
    /// A training at its last checkpoint in `folder`, or at its start; `origin` tells it from others.
    ///
    /// # Errors
    /// A protocol out of range, a checkpoint of another training.
    pub(crate) fn open(
        network: &Network,
        scratch: &Scratch,
        origin: Origin,
        training: &'a Training,
        feed: &'a mut Feed,
        folder: &Path,
    ) -> Result<Self> {
        check(scratch)?;
        let (module, parameters) = Standalone::trainable(network, origin.seed, feed.device())?;
        let sgd = Sgd::new(&parameters, training.momentum, training.weight_decay);
        let steps = ((scratch.epochs * feed.steps(training) as f64).round() as u64).max(1);
        let curve = Curve::new(scratch.learning_rate, steps, training.warmup);
        let checkpoints = Checkpoints::new(folder);
        let mut trainer =
            Self { module, parameters, sgd, feed, training, curve, step: 0, checkpoints, origin };
        if let Some((place, weights)) = trainer.checkpoints.load(&trainer.origin)? {
            let Self { parameters, sgd, .. } = &mut trainer;
            sgd.load(parameters, &weights)?;
            trainer.step = place.step.min(steps);
        }
        Ok(trainer)
    }

    /// Trains for at most `most` more steps, with a checkpoint every so many; says whether it is done.
    ///
    /// # Errors
    /// A loss or weights that are not finite (the last checkpoint is kept), a checkpoint that cannot be written.
    pub(crate) fn run_steps(&mut self, most: u64, report: &mut Report<'_>) -> Result<bool> {
        let (steps, until) = (self.curve.steps, self.step.saturating_add(most));
        let every = self.training.checkpoint_steps;
        let pace = Pace::begin(self.step, self.training.batch, self.feed.device());
        while self.step < steps.min(until) {
            let loss = self.descend()?;
            self.step += 1;
            report(pace.progress("training a network", self.step, steps, loss))?;
            if self.step < steps && (self.step.is_multiple_of(every) || self.step == until) {
                self.save()?;
            }
        }
        Ok(self.step == steps)
    }

    fn descend(&mut self) -> Result<f64> {
        let per_epoch = self.feed.steps(self.training);
        let (epoch, step) = (self.step / per_epoch, self.step % per_epoch);
        let (images, targets) = self.feed.batch(self.training, epoch, step);
        self.parameters.clear_gradients();
        let mut mode = Mode::Train { dropout: self.training.dropout };
        let autocast = Autocast::new(self.training.precision, self.feed.device());
        let logits = autocast.run(|| self.module.forward(&images, &mut mode));
        let loss = ops::cross_entropy(&logits, &targets, self.training.label_smoothing);
        loss.backward();
        let all = vec![true; self.parameters.len()];
        self.sgd.step(&self.parameters, &all, self.curve.rate(self.step));
        // Not before: a GPU is waited for here.
        let value = loss.double_value(&[]);
        if value.is_finite() { Ok(value) } else { Err(self.diverged(value)) }
    }

    /// Re-calibrates batch normalisation, judges the network on the held-out images; its checkpoints, which are
    /// of no use once the weights are safe, are given back.
    ///
    /// # Errors
    /// No held-out images, weights that are not finite.
    pub(crate) fn finish(self) -> Result<(f64, Weights, Checkpoints)> {
        self.finite()?;
        let _exact = Exact::begin();
        let mut statistics = Statistics::default();
        for images in self.feed.calibration(self.training) {
            let _ = no_grad(|| self.module.forward(&images, &mut Mode::Calibrate(&mut statistics)));
        }
        let weights = self.weights(&statistics);
        let module = Standalone::new(self.module.network(), &weights, self.feed.device())?;
        let accuracy = accuracy(&module.folded(), self.feed)?;
        Ok((accuracy, weights, self.checkpoints))
    }

    /// The weights, with statistics that were collected on them. A normalisation's variance follows its mean.
    fn weights(&self, statistics: &Statistics) -> Weights {
        let (mut weights, mut norm) = (Weights::new(), 0);
        for spec in self.module.network().weights() {
            let tensor = match self.parameters.named(&spec.name) {
                Some(learned) => layout::to_host(learned),
                None if spec.name.ends_with("norm.mean") => {
                    layout::to_host(&statistics.of(norm)[0])
                }
                None => {
                    let variance = layout::to_host(&statistics.of(norm)[1]);
                    norm += 1;
                    variance
                }
            };
            weights.insert(spec.name, tensor);
        }
        weights
    }

    fn save(&self) -> Result<()> {
        self.finite()?;
        self.checkpoints.make()?;
        let weights = self.sgd.save(&self.parameters);
        self.checkpoints.save(&self.origin, Place { phase: 0, step: self.step }, &weights)
    }

    fn finite(&self) -> Result<()> {
        if self.parameters.finite() { Ok(()) } else { Err(self.diverged(f64::NAN)) }
    }

    fn diverged(&self, loss: f64) -> Error {
        let (phase, setting) = ("training a network".to_owned(), "[scratch] learning_rate");
        Error::Diverged { loss, phase, step: self.step, setting }
    }
}

fn check(scratch: &Scratch) -> Result<()> {
    let Scratch { epochs, learning_rate } = *scratch;
    let positive = |key, value| (key, Range::Positive, value);
    range::check("scratch", &[positive("epochs", epochs), positive("learning_rate", learning_rate)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use netfit_export::Tensor;
    use netfit_search::{Progress, job::Precision};
    use netfit_spaces::Space;
    use tch::Device;

    use super::*;
    use crate::tests::{alone, equal, splits, training};

    /// Every kind of layer; its ops are listed, so it has no supernet.
    const LISTED: &str = r#"
name = "listed"
input = "1x9x9"
classes = 3
stem = ["conv k3 s2 relu6 o8"]
head = ["conv k1 s1 hswish o16", "pool", "linear nobias hswish o8", "linear"]

[[stages]]
width = 8
stride = 1
depth = [2]
ops = ["mbconv k3 e2 se0.25 relu6", "dsconv k5 relu", "conv k3 relu"]
"#;

    fn network(genotype: &str) -> Network {
        let space = Space::from_toml("listed", LISTED).unwrap();
        let mut text = space.network(&space.parse(genotype).unwrap()).text();
        // The other skips, which also follow an activation, and a gated convolution.
        text = text.replacen("conv k3 s1 relu 8x5x5", "conv k3 s1 relu res 8x5x5", 1);
        text = text.replace("conv k3 s1 relu 8x5x5", "conv k3 s1 se8 relu respool 8x5x5");
        text.replace("relu res 8x5x5", "relu respool 8x5x5").parse().unwrap()
    }

    fn train(genotype: &str, epochs: f64, images: usize, parts: &[u64]) -> (f64, Weights) {
        train_in(Precision::Fp32, genotype, epochs, images, parts)
    }

    /// Trains in parts of so many steps, each in a trainer of its own.
    fn train_in(
        precision: Precision,
        genotype: &str,
        epochs: f64,
        images: usize,
        parts: &[u64],
    ) -> (f64, Weights) {
        let folder = tempfile::tempdir().unwrap();
        let training = Training { precision, ..training() };
        let mut feed = Feed::new(Arc::new(splits(images)), 7, Device::Cpu);
        let scratch = Scratch { epochs, learning_rate: 0.1 };
        let network = network(genotype);
        let origin = Origin {
            space: "listed".to_owned(),
            seed: 7,
            training: training.of_networks(),
            images,
            data: splits(images).hash(),
            network: Some((network.hash(), scratch.clone())),
            proxyless: None,
            split_version: 0,
        };
        for &steps in parts {
            let origin = origin.clone();
            let folder = folder.path().join("network");
            let mut trainer =
                ScratchTrainer::open(&network, &scratch, origin, &training, &mut feed, &folder)
                    .unwrap();
            let told = &mut |Progress { note, .. }| {
                assert!(note.starts_with("loss ") && note.ends_with(" images/s"), "{note}");
                Ok(())
            };
            if trainer.run_steps(steps, told).unwrap() {
                let (accuracy, weights, checkpoints) = trainer.finish().unwrap();
                checkpoints.remove().unwrap();
                assert!(!folder.exists(), "checkpoints are removed");
                return (accuracy, weights);
            }
            assert!(folder.exists());
        }
        panic!("expected enough steps")
    }

    #[test]
    fn networks_without_a_supernet_learn_and_their_weights_give_their_accuracy() {
        let _alone = alone();
        for genotype in ["01", "20"] {
            let (accuracy, weights) = train(genotype, 8.0, 192, &[u64::MAX]);
            assert!(accuracy > 0.6, "{genotype}: {accuracy} where chance is 0.33");
            let module = Standalone::new(&network(genotype), &weights, Device::Cpu).unwrap();
            let feed = Feed::new(Arc::new(splits(192)), 7, Device::Cpu);
            let found = crate::evaluation::accuracy(&module, &feed).unwrap();
            assert!((found - accuracy).abs() < 1e-12, "{genotype}: {found} and {accuracy}");
        }
    }

    #[test]
    fn a_resumed_training_equals_an_unbroken_one_bit_for_bit() {
        let _alone = alone();
        let [exact, mixed] = [Precision::Fp32, Precision::Bf16].map(|precision| {
            let (accuracy, whole) = train_in(precision, "01", 2.0, 96, &[u64::MAX]);
            let (resumed, parts) = train_in(precision, "01", 2.0, 96, &[5, 3, 2, u64::MAX]);
            assert_eq!(accuracy.to_bits(), resumed.to_bits());
            equal(&whole, &parts);
            whole
        });
        let same = |((_, a), (_, b)): ((_, &Tensor), (_, &Tensor))| a.data == b.data;
        assert!(!exact.iter().zip(mixed.iter()).all(same), "steps are in mixed precision");
        assert!(mixed.iter().all(|(_, tensor)| tensor.data.iter().all(|x| x.is_finite())));
    }

    #[test]
    fn protocols_out_of_range_are_refused() {
        for (scratch, key) in [
            (Scratch { epochs: 0.0, learning_rate: 0.1 }, "[scratch] epochs"),
            (Scratch { epochs: 1.0, learning_rate: f64::NAN }, "[scratch] learning_rate"),
        ] {
            let message = check(&scratch).unwrap_err().to_string();
            assert!(message.contains(key) && message.contains("more than 0"), "{message}");
        }
    }
}
