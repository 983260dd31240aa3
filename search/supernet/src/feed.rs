//! The training images in the order in which a training sees them.

use std::sync::Arc;

use netfit_data::{Augment, Splits, order};
use netfit_search::job::Training;
use netfit_spaces::Random;
use tch::{Device, Tensor};

use crate::{ahead::Ahead, images::Images, resident::Resident};

/// Images a batch of re-calibration (the authors' `elastic_nn/utils.py`).
const CALIBRATION_BATCH: usize = 200;
/// Bytes of images that stay on a GPU; more are brought there batch by batch.
const RESIDENT: usize = 2 << 30;

/// Batches that follow from (seed, epoch, step) alone.
pub(crate) struct Feed {
    splits: Arc<Splits>,
    device: Device,
    draws: Draws,
    source: Source,
}

/// Where batches are made. Their images are the same.
enum Source {
    /// On the CPU that trains.
    Host,
    /// On the CPU, in pinned memory, while the GPU trains.
    Ahead(Ahead<Moment, (Tensor, Tensor)>),
    /// On the GPU that trains.
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
        let source = if !device.is_cuda() {
            Source::Host
        } else if splits.train.images.len() <= RESIDENT {
            Source::Device(Resident::new(&splits.train, &splits.normalization, device))
        } else {
            Source::ahead(&splits, &draws, Some(device))
        };
        Self { splits, device, draws, source }
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
        let seed = self.draws.seed;
        tch::manual_seed(Random::at(seed, "libtorch", &[epoch, step]).bits() as i64);
        let augment = Augment { pad: training.pad, flip: training.flip };
        let moment = Moment { epoch, step, size: training.batch, augment };
        let steps = self.steps(training);
        match &mut self.source {
            Source::Host => made(&self.splits, &mut self.draws, &moment, self.device),
            Source::Ahead(ahead) => {
                let next = moment.next(steps);
                let (images, targets) = ahead.get(moment, next);
                let to_device = |tensor: Tensor| {
                    let kind = tensor.kind();
                    tensor.to_device_(self.device, kind, true, false)
                };
                (to_device(images), to_device(targets))
            }
            Source::Device(resident) => {
                let (indices, mut random) = self.draws.at(&moment);
                resident.batch(indices, Some(&augment), &mut random)
            }
        }
    }

    /// The training images on which batch normalisation is re-calibrated, as they are.
    pub(crate) fn calibration(&self, training: &Training) -> Vec<Tensor> {
        let mut chosen: Vec<usize> = (0..self.splits.train.len()).collect();
        Random::new(self.draws.seed, "calibration").shuffle(&mut chosen);
        chosen.truncate(training.calibration_images);
        let images = Images::new(&self.splits.train, &self.splits.normalization, self.device);
        images.plain(&chosen, CALIBRATION_BATCH).map(|(images, _)| images).collect()
    }
}

impl Source {
    /// Batches made ahead; in memory from which `gpu` can fetch them by itself.
    fn ahead(splits: &Arc<Splits>, draws: &Draws, gpu: Option<Device>) -> Self {
        let (splits, mut draws) = (Arc::clone(splits), draws.clone());
        Self::Ahead(Ahead::new(move |moment| {
            let (images, targets) = made(&splits, &mut draws, &moment, Device::Cpu);
            let pinned = |tensor: Tensor| match gpu {
                Some(gpu) => tensor.pin_memory(gpu),
                None => tensor,
            };
            (pinned(images), pinned(targets))
        }))
    }
}

/// A batch made on the CPU.
fn made(splits: &Splits, draws: &mut Draws, moment: &Moment, device: Device) -> (Tensor, Tensor) {
    let (indices, mut random) = draws.at(moment);
    let images = Images::new(&splits.train, &splits.normalization, device);
    images.batch(indices, Some(&moment.augment), &mut random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{alone, splits, training};

    #[test]
    fn batches_are_the_same_wherever_they_are_made() {
        let _alone = alone();
        let splits = Arc::new(splits(50));
        let feed = |source: fn(&Feed) -> Source| {
            let mut feed = Feed::new(Arc::clone(&splits), 5, Device::Cpu);
            feed.source = source(&feed);
            feed
        };
        let mut host = feed(|_| Source::Host);
        let mut others = [
            feed(|feed| Source::ahead(&feed.splits, &feed.draws, None)),
            feed(|feed| {
                let Splits { train, normalization, .. } = feed.splits();
                Source::Device(Resident::new(train, normalization, Device::Cpu))
            }),
        ];
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
                let found = other.batch(training, epoch, step);
                assert!(found.0.equal(&expected.0) && found.1.equal(&expected.1), "{epoch} {step}");
            }
        }
    }
}
