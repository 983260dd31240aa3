//! The training images in the order in which a training sees them.

use std::rc::Rc;

use netfit_data::{Augment, Splits, order};
use netfit_search::job::Training;
use netfit_spaces::Random;
use tch::{Device, Tensor};

use crate::images::Images;

/// Images a batch of re-calibration (the authors' `elastic_nn/utils.py`).
const CALIBRATION_BATCH: usize = 200;

/// Batches that follow from (seed, epoch, step) alone.
pub(crate) struct Feed {
    splits: Rc<Splits>,
    seed: u64,
    device: Device,
    /// The order of the training images in an epoch.
    order: Option<(u64, Vec<usize>)>,
}

impl Feed {
    pub(crate) fn new(splits: Rc<Splits>, seed: u64, device: Device) -> Self {
        Self { splits, seed, device, order: None }
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
        let seed = self.seed;
        tch::manual_seed(Random::at(seed, "libtorch", &[epoch, step]).bits() as i64);
        let known = self.order.take().filter(|(known, _)| *known == epoch);
        let order = known.unwrap_or_else(|| (epoch, order(self.splits.train.len(), seed, epoch)));
        let size = training.batch;
        let indices = &order.1[step as usize * size..(step as usize + 1) * size];
        let augment = Augment { pad: training.pad, flip: training.flip };
        let mut random = Random::at(seed, "augment", &[epoch, step]);
        let batch = self.images().batch(indices, Some(&augment), &mut random);
        self.order = Some(order);
        batch
    }

    /// The training images on which batch normalisation is re-calibrated, as they are.
    pub(crate) fn calibration(&self, training: &Training) -> Vec<Tensor> {
        let mut chosen: Vec<usize> = (0..self.splits.train.len()).collect();
        Random::new(self.seed, "calibration").shuffle(&mut chosen);
        chosen.truncate(training.calibration_images);
        self.images().plain(&chosen, CALIBRATION_BATCH).map(|(images, _)| images).collect()
    }

    fn images(&self) -> Images<'_> {
        Images::new(&self.splits.train, &self.splits.normalization, self.device)
    }
}
