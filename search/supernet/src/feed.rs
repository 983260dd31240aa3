//! The training images in the order in which a training sees them, and those on which it is judged.

use std::{cell::OnceCell, sync::Arc};

use netfit_data::{Augment, Splits, order};
use netfit_search::job::Training;
use netfit_spaces::Random;
use tch::{Device, Tensor};

use crate::{
    ahead::Ahead,
    context,
    images::Images,
    pixels::{Gathered, Palette, Resident},
    still::{BatchLimit, Still},
};

/// A batch of re-calibration; 200 images in the authors' `elastic_nn/utils.py`.
const CALIBRATION_BATCH: BatchLimit = BatchLimit { images: 200, pixels: 12_000_000 };

/// Batches that follow from (seed, epoch, step) alone. What a GPU keeps of the images is brought there when it is first
/// asked for.
pub(crate) struct Feed {
    splits: Arc<Splits>,
    device: Device,
    draws: Draws,
    source: Option<Source>,
    held_out: OnceCell<Still>,
    calibration: OnceCell<Still>,
}

/// Where batches of training are made. Their images are the same.
enum Source {
    /// On the CPU that trains.
    Host,
    /// On the GPU that trains, of images that another thread gathers while it does.
    Ahead(Ahead<Moment, Gathered>, Palette),
    /// On the GPU that trains, where all images lie.
    Device(Resident),
}

/// A batch's place in a training, and how it is made.
#[derive(Clone, Debug, PartialEq)]
struct Moment {
    epoch: u64,
    step: u64,
    size: usize,
    augment: Augment,
}

impl Moment {
    /// The one after it, of so many an epoch.
    fn next(&self, steps: u64) -> Self {
        let (epoch, step) =
            if self.step + 1 < steps { (self.epoch, self.step + 1) } else { (self.epoch + 1, 0) };
        Self { epoch, step, ..self.clone() }
    }
}

/// What is drawn at random for a batch.
#[derive(Clone, Debug)]
struct Draws {
    images: usize,
    seed: u64,
    /// The order of the images in an epoch.
    order: Option<(u64, Vec<usize>)>,
}

impl Draws {
    /// The batch's images, and the generator of their augmentation.
    fn at(&mut self, moment: &Moment) -> (&[usize], Random) {
        let Moment { epoch, step, size, .. } = *moment;
        let known = self.order.take().filter(|(known, _)| *known == epoch);
        let draw = || (epoch, order(self.images, self.seed, epoch));
        let (_, order) = self.order.insert(known.unwrap_or_else(draw));
        let random = Random::at(self.seed, "augment", &[epoch, step]);
        (&order[step as usize * size..(step as usize + 1) * size], random)
    }
}

impl Feed {
    pub(crate) fn new(splits: Arc<Splits>, seed: u64, device: Device) -> Self {
        let draws = Draws { images: splits.train.len(), seed, order: None };
        let (held_out, calibration) = (OnceCell::new(), OnceCell::new());
        Self { splits, device, draws, source: None, held_out, calibration }
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    pub(crate) fn splits(&self) -> &Splits {
        &self.splits
    }

    /// Full batches of an epoch.
    pub(crate) fn steps(&self, training: &Training) -> u64 {
        (self.splits.train.len() / training.batch) as u64
    }

    /// Augmented images and their classes; seeds libtorch, too.
    pub(crate) fn batch(&mut self, training: &Training, epoch: u64, step: u64) -> (Tensor, Tensor) {
        let (seed, steps) = (self.draws.seed, self.steps(training));
        tch::manual_seed(Random::at(seed, "libtorch", &[epoch, step]).bits() as i64);
        let augment = Augment { pad: training.pad, flip: training.flip };
        let moment = Moment { epoch, step, size: training.batch, augment };
        let Self { splits, device, draws, source, .. } = self;
        match source.get_or_insert_with(|| Source::new(splits, draws, *device)) {
            Source::Host => {
                let (indices, mut random) = draws.at(&moment);
                let images = Images::new(&splits.train, &splits.normalization, *device);
                images.batch(indices, Some(&augment), &mut random)
            }
            Source::Ahead(ahead, palette) => {
                ahead.get(moment, |last| last.next(steps)).batch(palette, *device)
            }
            Source::Device(resident) => {
                let (indices, mut random) = draws.at(&moment);
                resident.batch(indices.iter().copied(), &augment, &mut random)
            }
        }
    }

    /// The held-out images.
    pub(crate) fn held_out(&self) -> &Still {
        self.held_out.get_or_init(|| {
            let all = (0..self.splits.holdout.len()).collect();
            Still::new(&self.splits, |splits| &splits.holdout, all, self.device)
        })
    }

    /// Batches of the training images on which batch normalisation is re-calibrated, as they are.
    pub(crate) fn calibration(&self, training: &Training) -> impl Iterator<Item = Tensor> + '_ {
        let still = self.calibration.get_or_init(|| {
            let mut chosen: Vec<usize> = (0..self.splits.train.len()).collect();
            Random::new(self.draws.seed, "calibration").shuffle(&mut chosen);
            chosen.truncate(training.calibration_images);
            Still::new(&self.splits, |splits| &splits.train, chosen, self.device)
        });
        let wanted = training.calibration_images.min(self.splits.train.len());
        assert_eq!(still.len(), wanted, "a feed serves one training");
        still.batches(CALIBRATION_BATCH).map(|(images, _)| images)
    }
}

impl Source {
    fn new(splits: &Arc<Splits>, draws: &Draws, device: Device) -> Self {
        if !device.is_cuda() {
            return Self::Host;
        }
        if Resident::fits(splits.train.images.len(), context::free_memory(device)) {
            return Self::resident(splits, device);
        }
        Self::ahead(splits, draws, device)
    }

    fn resident(splits: &Splits, device: Device) -> Self {
        let all: Vec<usize> = (0..splits.train.len()).collect();
        Self::Device(Resident::new(&splits.train, &all, &splits.normalization, device))
    }

    /// Images gathered ahead; in memory from which a GPU can fetch them by itself.
    fn ahead(splits: &Arc<Splits>, draws: &Draws, device: Device) -> Self {
        let palette = Palette::new(&splits.normalization, splits.train.shape, device);
        let (splits, mut draws) = (Arc::clone(splits), draws.clone());
        let gather = move |moment: Moment| {
            let (indices, mut random) = draws.at(&moment);
            let gathered = Gathered::new(&splits.train, indices, &moment.augment, &mut random);
            if device.is_cuda() { gathered.pinned(device) } else { gathered }
        };
        Self::Ahead(Ahead::new(gather), palette)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tests::{alone, splits, training};

    /// Batches of every source on a device are those of the CPU, bit for bit.
    pub(crate) fn batches_are_those_of_the_cpu(device: Device) {
        let splits = Arc::new(splits(50));
        let feed = |device| Feed::new(Arc::clone(&splits), 5, device);
        let mut host = feed(Device::Cpu);
        let mut others = [feed(device), feed(device), feed(device)];
        others[1].source = Some(Source::resident(&splits, device));
        others[2].source = Some(Source::ahead(&splits, &host.draws, device));
        let training = training();
        assert_eq!(host.steps(&training), 3);
        // In order, over the end of an epoch, again as after a resume, and with another augmentation.
        let plain = Training { pad: 0, flip: false, ..training.clone() };
        let moments = [(0, 0), (0, 1), (0, 2), (1, 0), (0, 2), (7, 1)];
        for (training, (epoch, step)) in
            moments.map(|moment| (&training, moment)).into_iter().chain([(&plain, (7, 2))])
        {
            let expected = host.batch(training, epoch, step);
            for other in &mut others {
                same(&other.batch(training, epoch, step), &expected);
            }
        }
        let five = BatchLimit { images: 5, pixels: 1000 };
        for other in &others {
            let calibration = other.calibration(&training).zip(host.calibration(&training));
            for (found, expected) in calibration {
                assert!(found.to_device(Device::Cpu).equal(&expected));
            }
            for (found, expected) in
                other.held_out().batches(five).zip(host.held_out().batches(five))
            {
                same(&found, &expected);
            }
        }
    }

    fn same(found: &(Tensor, Tensor), expected: &(Tensor, Tensor)) {
        let (images, targets) = found;
        assert_eq!(images.stride(), expected.0.stride());
        assert!(images.to_device(Device::Cpu).equal(&expected.0));
        assert!(targets.to_device(Device::Cpu).equal(&expected.1));
    }

    #[test]
    fn batches_are_the_same_wherever_they_are_made() {
        let _alone = alone();
        batches_are_those_of_the_cpu(Device::Cpu);
    }

    #[test]
    fn evaluation_brings_no_training_images_to_a_device() {
        let _alone = alone();
        let mut feed = Feed::new(Arc::new(splits(50)), 5, Device::Cpu);
        assert_eq!(feed.calibration(&training()).map(|images| images.size()[0]).sum::<i64>(), 50);
        assert_eq!(feed.held_out().len(), 12);
        assert!(feed.source.is_none());
        let _ = feed.batch(&training(), 0, 0);
        assert!(feed.source.is_some());
    }
}
