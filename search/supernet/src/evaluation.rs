//! Judging subnets: batch normalisation is re-calibrated first, always.

use netfit_data::{Dataset, Normalization};
use netfit_export::Weights;
use netfit_spaces::{Genotype, Random};
use tch::{Tensor, no_grad};

use crate::{Mode, Result, Standalone, Statistics, Supernet, Trainer, images::Images};

/// Images a batch of re-calibration (the authors' `elastic_nn/utils.py`).
const CALIBRATION_BATCH: usize = 200;
/// Images a batch of inference.
const BATCH: usize = 500;

impl Trainer {
    /// A subnet's accuracy on the held-out images, as a fraction of 1.
    ///
    /// # Errors
    /// No held-out images.
    pub fn accuracy(&self, genotype: &Genotype) -> Result<f64> {
        let held_out = &self.splits().holdout;
        if held_out.is_empty() {
            let (expected, found) = ("held-out images".to_owned(), "none".to_owned());
            return Err(crate::Error::Images { expected, found });
        }
        let weights = self.subnet(genotype);
        let network = self.supernet().space().network(genotype);
        let module = Standalone::new(&network, &weights, self.supernet().device())?.folded();
        Ok(accuracy(&module, held_out, &self.splits().normalization, self.supernet()))
    }

    /// A subnet's weights, re-calibrated on training images.
    pub fn subnet(&self, genotype: &Genotype) -> Weights {
        let splits = self.splits();
        let mut chosen: Vec<usize> = (0..splits.train.len()).collect();
        Random::new(self.seed(), "calibration").shuffle(&mut chosen);
        chosen.truncate(self.training().calibration_images);
        let images = Images::new(&splits.train, &splits.normalization, self.supernet().device());
        let batches = images.plain(&chosen, CALIBRATION_BATCH).map(|(images, _)| images);
        let statistics = self.supernet().calibrate(genotype, batches);
        self.supernet().extract(genotype, Some(&statistics))
    }
}

impl Supernet {
    /// Statistics of a subnet's normalisations on these batches; nothing else changes.
    pub fn calibrate(
        &self,
        genotype: &Genotype,
        batches: impl IntoIterator<Item = Tensor>,
    ) -> Statistics {
        let mut statistics = Statistics::default();
        let blocks = self.space().blocks(genotype);
        for images in batches {
            let mut mode = Mode::Calibrate(&mut statistics);
            let _ = no_grad(|| self.forward(&images, &blocks, &mut mode));
        }
        statistics
    }
}

fn accuracy(
    module: &Standalone,
    dataset: &Dataset,
    normalization: &Normalization,
    supernet: &Supernet,
) -> f64 {
    let images = Images::new(dataset, normalization, supernet.device());
    let all: Vec<usize> = (0..dataset.len()).collect();
    let correct: i64 = images
        .plain(&all, BATCH)
        .map(|(images, targets)| {
            let guesses = module.logits(&images).argmax(-1, false);
            guesses.eq_tensor(&targets).sum(tch::Kind::Int64).int64_value(&[])
        })
        .sum();
    correct as f64 / dataset.len() as f64
}
