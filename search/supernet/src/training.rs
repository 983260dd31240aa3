//! Training a Once-for-All supernet: the full network, then progressive shrinking with distillation from it
//! (Cai et al., ICLR 2020, section 3.3).
//!
//! Departures from the authors' code: the teacher normalises by re-calibrated statistics, folded into its filters (theirs
//! uses each batch's own); the learning rate of a phase scales with the configuration; every phase has a warm-up (theirs of
//! 25 epochs have none).

use std::{path::Path, sync::Arc};

use netfit_data::Splits;
use netfit_export::Weights;
use netfit_search::{
    Progress,
    job::{Precision, Training},
};
use netfit_spaces::{Random, Space};
use tch::{Kind, Tensor};

use crate::{
    Error, Mode, Result, Sgd, Standalone, Supernet,
    checkpoint::{Checkpoints, Origin, Place},
    context::Autocast,
    feed::Feed,
    ops,
    pace::Pace,
    schedule::{Phase, phases},
    settings,
};

/// Where progress goes; an error ends the training after its step.
pub(crate) type Report<'a> = dyn FnMut(Progress) -> Result<()> + 'a;

/// A supernet in training. All that is random follows from (seed, epoch, step), so a resumed training ends with the
/// same weights as an unbroken one, bit for bit on one machine.
pub(crate) struct Trainer {
    supernet: Supernet,
    sgd: Sgd,
    teacher: Option<Standalone>,
    feed: Feed,
    origin: Origin,
    phases: Vec<Phase>,
    pub(crate) place: Place,
    checkpoints: Checkpoints,
}

impl Trainer {
    /// A training at its last checkpoint in `run`, or at its start.
    ///
    /// # Errors
    /// A space that is not elastic, data that does not fit it, a setting out of range, a checkpoint of another run.
    pub(crate) fn open(
        space: &Space,
        splits: impl Into<Arc<Splits>>,
        training: &Training,
        seed: u64,
        run: &Path,
    ) -> Result<Self> {
        let splits = splits.into();
        settings::check(space, &splits, training)?;
        let device = settings::set_up(training)?;
        let supernet = Supernet::new(space, device, seed)?;
        let sgd = Sgd::new(supernet.parameters(), training.momentum, training.weight_decay);
        let feed = Feed::new(splits, seed, device);
        let phases = phases(space, training, feed.steps(training));
        if phases.first().is_some_and(|full| full.steps == 0) {
            // All others are taught by what this one leaves.
            let (name, found) = ("[training] full_epochs", training.full_epochs);
            return Err(Error::setting(name, "at least one step", &found));
        }
        let origin = Origin {
            space: space.id().to_owned(),
            seed,
            training: training.clone(),
            images: feed.splits().train.len(),
            data: feed.splits().hash(),
            network: None,
            proxyless: None,
            split_version: 0,
        };
        let mut trainer = Self {
            phases,
            checkpoints: Checkpoints::new(&run.join("checkpoints")),
            place: Place::default(),
            teacher: None,
            supernet,
            sgd,
            feed,
            origin,
        };
        trainer.resume()?;
        Ok(trainer)
    }

    fn resume(&mut self) -> Result<()> {
        if let Some((place, weights)) = self.checkpoints.load(&self.origin)? {
            self.sgd.load(self.supernet.parameters(), &weights)?;
            self.checkpoints.check(place, &self.phases)?;
            self.place = place;
        }
        if self.place.phase > 0 {
            self.load_teacher()?;
        }
        Ok(())
    }

    /// The supernet as it is now.
    pub(crate) fn supernet(&self) -> &Supernet {
        &self.supernet
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// How it trains.
    pub(crate) fn training(&self) -> &Training {
        &self.origin.training
    }

    /// Whether all phases are done.
    pub(crate) fn finished(&self) -> bool {
        self.place.phase == self.phases.len()
    }

    /// Trains to the end, with a checkpoint every so many steps and after each phase.
    ///
    /// # Errors
    /// A loss that is not finite (the last checkpoint is kept), a checkpoint that cannot be written.
    pub(crate) fn run(&mut self, progress: &mut Report<'_>) -> Result<()> {
        self.run_steps(u64::MAX, progress)
    }

    /// Trains for at most `most` steps, then writes a checkpoint.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn run_steps(&mut self, most: u64, progress: &mut Report<'_>) -> Result<()> {
        self.checkpoints.make()?;
        let mut left = most;
        while !self.finished() && left > 0 {
            let phase = self.phases[self.place.phase].clone();
            if self.place.step == 0 {
                self.begin(&phase);
            }
            let batch = self.training().batch;
            let pace = Pace::begin(self.place.step, batch, self.supernet.device());
            while self.place.step < phase.steps && left > 0 {
                let loss = self.step(&phase)?;
                self.place.step += 1;
                left -= 1;
                let done = self.place.step;
                progress(pace.progress(phase.name, done, phase.steps, loss))?;
                if done.is_multiple_of(self.training().checkpoint_steps) && done < phase.steps {
                    self.save()?;
                }
            }
            if self.place.step >= phase.steps {
                self.end()?;
            }
        }
        self.save()
    }

    fn begin(&mut self, phase: &Phase) {
        self.sgd.rest();
        if let Some(widths) = phase.sort {
            self.supernet.sort_channels(widths);
        }
    }

    /// Ends the current phase; the first one leaves the teacher.
    fn end(&mut self) -> Result<()> {
        if self.place.phase == 0 {
            let largest = self.supernet.space().largest();
            let teacher = self.subnet(&largest);
            if !teacher.finite() {
                return Err(self.diverged(f64::NAN));
            }
            teacher.save(&self.checkpoints.teacher())?;
            self.load_teacher()?;
        }
        self.place = Place { phase: self.place.phase + 1, step: 0 };
        self.save()
    }

    fn load_teacher(&mut self) -> Result<()> {
        let space = self.supernet.space();
        let weights = Weights::load(&self.checkpoints.teacher())?;
        let network = space.network(&space.largest());
        let teacher = Standalone::new(&network, &weights, self.supernet.device())?.folded();
        self.teacher = Some(match self.training().precision {
            // As each step would round them.
            Precision::Bf16 => teacher.of_kind(Kind::BFloat16),
            Precision::Fp32 | Precision::Tf32 => teacher,
        });
        Ok(())
    }

    /// Weights that are not finite never replace the last good checkpoint.
    fn save(&self) -> Result<()> {
        if !self.supernet.parameters().finite() {
            return Err(self.diverged(f64::NAN));
        }
        let weights = self.sgd.save(self.supernet.parameters());
        self.checkpoints.save(&self.origin, self.place, &weights)
    }

    /// Epoch and step in it, counted over all phases.
    fn moment(&self) -> (u64, u64) {
        let before: u64 = self.phases[..self.place.phase].iter().map(|phase| phase.steps).sum();
        let steps = self.feed.steps(self.training());
        let total = before + self.place.step;
        (total / steps, total % steps)
    }

    /// One optimiser step; returns the mean loss of its subnets.
    fn step(&mut self, phase: &Phase) -> Result<f64> {
        let (epoch, step) = self.moment();
        let seed = self.origin.seed;
        let (images, targets) = self.feed.batch(&self.origin.training, epoch, step);
        let autocast = Autocast::new(self.training().precision, self.supernet.device());
        let distils = self.training().distillation > 0.0;
        let teacher = self.teacher.as_ref().filter(|_| distils);
        let soft = teacher
            .map(|teacher| autocast.run(|| teacher.logits(&images)).softmax(-1, Kind::Float));
        let space = self.supernet.space();
        let mut random = Random::at(seed, "subnets", &[epoch, step]);
        let parameters = self.supernet.parameters();
        let mut taking_part = vec![false; parameters.len()];
        let mut losses = Vec::new();
        parameters.clear_gradients();
        for _ in 0..phase.subnets {
            let blocks = space.blocks(&phase.open.sample(space, &mut random));
            self.supernet.mark(&blocks, &mut taking_part);
            let mut mode = Mode::Train { dropout: self.training().dropout };
            let logits = autocast.run(|| self.supernet.forward(&images, &blocks, &mut mode));
            let loss = self.loss(&logits, &targets, soft.as_ref());
            losses.push(loss.detach());
            loss.backward();
        }
        self.sgd.step(parameters, &taking_part, phase.rate(self.place.step));
        // Not before: a GPU is waited for here.
        let loss = ops::numbers(&losses).iter().sum::<f64>() / phase.subnets as f64;
        if loss.is_finite() { Ok(loss) } else { Err(self.diverged(loss)) }
    }

    fn diverged(&self, loss: f64) -> Error {
        let Place { phase, step } = self.place;
        let setting = if phase == 0 { "full_learning_rate" } else { "shrink_learning_rate" };
        let phase = self.phases.get(phase).map_or("the end", |phase| phase.name).to_owned();
        Error::Diverged { loss, phase, step, setting }
    }

    /// Cross-entropy with smoothed labels, and the soft cross-entropy against the teacher.
    fn loss(&self, logits: &Tensor, targets: &Tensor, soft: Option<&Tensor>) -> Tensor {
        let hard = ops::cross_entropy(logits, targets, self.training().label_smoothing);
        match soft {
            Some(soft) => {
                hard + ops::cross_entropy(logits, soft, 0.0) * self.training().distillation
            }
            None => hard,
        }
    }
}
