//! Training of weights and architecture in turn (Cai et al., ICLR 2019, sections 3.2 and 4).

use std::path::Path;

use netfit_data::Splits;
use netfit_search::{
    Baseline,
    job::{ChoiceLatency, Proxyless, ProxylessFound, Training},
};
use netfit_spaces::{Random, Space};
use serde::{Deserialize, Serialize};

use super::{
    architecture::Architecture,
    check::{check_latency, check_options},
    derive::{derive, most_probable},
    images::feeds,
    latency::Price,
    supernet::Candidates,
};
use crate::{
    Error, Mode, Result, Sgd,
    checkpoint::{Checkpoints, Origin, Place},
    context::Autocast,
    feed::Feed,
    ops,
    pace::Pace,
    schedule::Curve,
    settings,
    training::Report,
};

#[cfg(test)]
mod tests;

/// A supernet of candidates and its architecture in training. All that is random follows from the seed and the place, so
/// a resumed training ends with the same weights and architecture as an unbroken one, bit for bit on one machine.
///
/// Departures from the authors' code: the images of the architecture are augmented like all others, and the share of
/// linear warm-up and the weight decay are those of `[training]`. Mixed precision is for the weights' steps only: gates
/// are told apart by small differences.
pub(crate) struct ProxylessTrainer {
    pub(super) candidates: Candidates,
    sgd: Sgd,
    /// The training images of the weights.
    images: Feed,
    /// Those of the architecture.
    pub(super) own_images: Feed,
    pub(super) learnt: Learnt,
    pub(super) price: Price,
    stretches: [Stretch; 2],
    pub(crate) place: Place,
    checkpoints: Checkpoints,
    pub(super) origin: Origin,
    pub(super) options: Proxyless,
    pub(super) latency: ChoiceLatency,
}

/// What a checkpoint keeps beside weights and velocities.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Learnt {
    pub(super) architecture: Architecture,
    pub(super) lambda: f64,
    pub(super) baseline: Baseline,
    /// Steps of the architecture.
    pub(super) updates: u64,
}

struct Stretch {
    name: &'static str,
    curve: Curve,
}

/// The architecture as it is at some time.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    pub(crate) probabilities: Vec<Vec<f64>>,
    pub(crate) expected_s: f64,
}

fn stretches(options: &Proxyless, training: &Training, per_epoch: u64) -> [Stretch; 2] {
    let stretch = |name, epochs: f64, rate| {
        let steps = (epochs * per_epoch as f64).round() as u64;
        Stretch { name, curve: Curve::new(rate, steps, training.warmup) }
    };
    [
        stretch("warm-up of weights", options.warmup_epochs, options.warmup_learning_rate),
        stretch("weights and architecture", options.epochs, options.learning_rate),
    ]
}

impl ProxylessTrainer {
    /// A training at its last checkpoint in `folder`, or at its start.
    ///
    /// # Errors
    /// A space that is no choice among candidates, latencies of another space, data that do not fit, a setting out of
    /// range, a checkpoint of another run.
    pub(crate) fn open(
        space: &Space,
        splits: &Splits,
        training: &Training,
        (options, latency): (&Proxyless, &ChoiceLatency),
        seed: u64,
        folder: &Path,
    ) -> Result<Self> {
        settings::check(space, splits, training)?;
        check_options(options)?;
        let device = settings::set_up(training)?;
        let candidates = Candidates::new(space, device, seed)?;
        let sizes = candidates.sizes();
        check_latency(latency, &sizes)?;
        let [images, own_images] = feeds(splits, options, training, seed, device)?;
        let parameters = candidates.supernet().parameters();
        let mut trainer = Self {
            sgd: Sgd::new(parameters, training.momentum, training.weight_decay),
            learnt: Learnt {
                architecture: Architecture::new(&sizes, options, seed),
                lambda: options.lambda,
                baseline: Baseline::new(options.baseline),
                updates: 0,
            },
            price: Price::new(options, latency.target_s),
            stretches: stretches(options, training, images.steps(training)),
            place: Place::default(),
            checkpoints: Checkpoints::new(folder),
            origin: Origin {
                space: space.id().to_owned(),
                seed,
                training: training.clone(),
                images: splits.train.len(),
                data: splits.hash(),
                network: None,
                proxyless: Some((options.clone(), latency.clone())),
                split_version: super::images::VERSION,
            },
            options: options.clone(),
            latency: latency.clone(),
            candidates,
            images,
            own_images,
        };
        trainer.check_learning()?;
        trainer.resume(&sizes)?;
        Ok(trainer)
    }

    fn resume(&mut self, sizes: &[usize]) -> Result<()> {
        let Some((place, weights, beside)) = self.checkpoints.load_beside(&self.origin)? else {
            return Ok(());
        };
        let learnt: Learnt = serde_json::from_value(beside)
            .map_err(|error| self.checkpoints.broken(error.to_string()))?;
        let steps = self.stretches.get(place.phase).map_or(0, |stretch| stretch.curve.steps);
        if learnt.architecture.sizes() != sizes
            || place.phase > self.stretches.len()
            || place.step > steps
        {
            return Err(self.checkpoints.broken("expected a place and choices of this run".into()));
        }
        self.sgd.load(self.candidates.supernet().parameters(), &weights)?;
        self.price.lambda = learnt.lambda;
        (self.place, self.learnt) = (place, learnt);
        Ok(())
    }

    /// Whether all is done.
    pub(crate) fn finished(&self) -> bool {
        self.place.phase == self.stretches.len()
    }

    /// The architecture as it is now.
    pub(crate) fn now(&self) -> Now {
        let probabilities = self.learnt.architecture.probabilities();
        let expected_s = self.latency.expected(&probabilities);
        Now { probabilities, expected_s }
    }

    /// The network that the architecture stands for.
    ///
    /// # Errors
    /// No network within the target.
    pub(crate) fn derived(&self) -> Result<ProxylessFound> {
        let Now { probabilities, expected_s } = self.now();
        let Some(path) = derive(&probabilities, &self.latency, self.options.slack) else {
            let target_s = self.latency.target_s;
            return Err(Error::Request(format!(
                "no path within the target of {target_s} s; hint: raise the budget"
            )));
        };
        Ok(ProxylessFound {
            genotype: self.candidates.genotype(&path)?,
            most_probable: self.candidates.genotype(&most_probable(&probabilities))?,
            probabilities,
            expected_s,
            lambda: self.price.lambda,
        })
    }

    /// Trains for at most `most` weight steps, with a checkpoint every so many and at the end.
    ///
    /// # Errors
    /// A loss or weights that are not finite (the last checkpoint is kept), a checkpoint that cannot be written.
    pub(crate) fn run_steps(&mut self, most: u64, report: &mut Report<'_>) -> Result<()> {
        self.checkpoints.make()?;
        let mut left = most;
        while !self.finished() && left > 0 {
            let (steps, name) = {
                let stretch = &self.stretches[self.place.phase];
                (stretch.curve.steps, stretch.name)
            };
            if self.place.step == 0 {
                self.sgd.rest();
            }
            let batch = self.origin.training.batch;
            let pace = Pace::begin(self.place.step, batch, self.images.device());
            while self.place.step < steps && left > 0 {
                let loss = self.descend()?;
                self.place.step += 1;
                left -= 1;
                if self.learns() {
                    self.learn()?;
                }
                let done = self.place.step;
                let mut progress = pace.progress(name, done, steps, loss);
                progress.note += &self.note();
                report(progress)?;
                if done.is_multiple_of(self.origin.training.checkpoint_steps) && done < steps {
                    self.save()?;
                }
            }
            if self.place.step >= steps {
                self.place = Place { phase: self.place.phase + 1, step: 0 };
                self.save()?;
            }
        }
        self.save()
    }

    fn note(&self) -> String {
        if self.place.phase == 0 {
            return String::new();
        }
        let (expected_s, lambda) = (self.now().expected_s, self.price.lambda);
        format!(", expected {:.0} us, lambda {lambda:.3}", expected_s * 1e6)
    }

    /// Steps of the second stretch before the architecture's first one.
    fn rest(&self) -> f64 {
        self.options.rest_epochs * self.images.steps(&self.origin.training) as f64
    }

    /// Refuses a search in which the architecture never takes a step.
    fn check_learning(&self) -> Result<()> {
        let (steps, interval) = (self.stretches[1].curve.steps, self.options.interval);
        if (steps / interval * interval) as f64 > self.rest() {
            return Ok(());
        }
        Err(Error::setting(
            "[proxyless] interval",
            "a step of the architecture in `epochs`, after `rest_epochs`",
            &format!("{interval}, with {steps} steps of the weights"),
        ))
    }

    /// Whether the architecture learns after the weight step just done.
    fn learns(&self) -> bool {
        let rest = self.rest();
        let step = self.place.step;
        self.place.phase == 1 && step as f64 > rest && step.is_multiple_of(self.options.interval)
    }

    /// One step of the weights on one path; returns its loss.
    fn descend(&mut self) -> Result<f64> {
        let (training, seed) = (&self.origin.training, self.origin.seed);
        let Place { phase, step } = self.place;
        let before: u64 = self.stretches[..phase].iter().map(|stretch| stretch.curve.steps).sum();
        let per_epoch = self.images.steps(training);
        let (epoch, within) = ((before + step) / per_epoch, (before + step) % per_epoch);
        let (images, targets) = self.images.batch(training, epoch, within);
        let mut random = Random::at(seed, "path", &[before + step]);
        let architecture = &self.learnt.architecture;
        let path = if phase == 0 {
            architecture.uniform(&mut random)
        } else {
            architecture.sample(&mut random)
        };
        let blocks = self.candidates.blocks(&path);
        let supernet = self.candidates.supernet();
        let parameters = supernet.parameters();
        parameters.clear_gradients();
        let mut mode = Mode::Train { dropout: training.dropout };
        let autocast = Autocast::new(training.precision, self.images.device());
        let logits = autocast.run(|| supernet.forward(&images, &blocks, &mut mode));
        let loss = ops::cross_entropy(&logits, &targets, training.label_smoothing);
        loss.backward();
        let rate = self.stretches[phase].curve.rate(step);
        self.sgd.step(parameters, &supernet.taking_part(&blocks), rate);
        // Not before: a GPU is waited for here.
        let value = loss.double_value(&[]);
        if value.is_finite() { Ok(value) } else { Err(self.diverged(value)) }
    }

    /// Weights that are not finite never replace the last good checkpoint.
    fn save(&self) -> Result<()> {
        let supernet = self.candidates.supernet();
        if !supernet.parameters().finite() {
            return Err(self.diverged(f64::NAN));
        }
        let weights = self.sgd.save(supernet.parameters());
        let beside = serde_json::to_value(&self.learnt).expect("plain structures of numbers");
        self.checkpoints.save_beside(&self.origin, self.place, &weights, beside)
    }

    pub(super) fn diverged(&self, loss: f64) -> Error {
        let Place { phase, step } = self.place;
        let (phase, setting) = match phase {
            0 => (self.stretches[0].name, "[proxyless] warmup_learning_rate"),
            _ => (self.stretches[1].name, "[proxyless] learning_rate"),
        };
        Error::Diverged { loss, phase: phase.to_owned(), step, setting }
    }
}
