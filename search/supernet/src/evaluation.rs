//! Judging subnets: batch normalisation is re-calibrated first, always.

use netfit_data::Splits;
use netfit_export::Weights;
use netfit_spaces::Genotype;
use tch::{Device, Tensor, no_grad};

use crate::{Mode, Result, Standalone, Statistics, Supernet, Trainer, images::Images};

/// Images a batch of inference.
const BATCH: usize = 500;

impl Trainer {
    /// A subnet's accuracy on the held-out images, as a fraction of 1.
    ///
    /// # Errors
    /// No held-out images.
    pub fn accuracy(&self, genotype: &Genotype) -> Result<f64> {
        let weights = self.subnet(genotype);
        let network = self.supernet().space().network(genotype);
        let module = Standalone::new(&network, &weights, self.supernet().device())?.folded();
        accuracy(&module, self.splits(), self.supernet().device())
    }

    /// A subnet's weights, re-calibrated on training images.
    pub fn subnet(&self, genotype: &Genotype) -> Weights {
        let images = self.feed().calibration(self.training());
        let statistics = self.supernet().calibrate(genotype, images);
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

/// A network's accuracy on the held-out images, as a fraction of 1.
///
/// # Errors
/// No held-out images.
pub(crate) fn accuracy(module: &Standalone, splits: &Splits, device: Device) -> Result<f64> {
    let held_out = &splits.holdout;
    if held_out.is_empty() {
        let (expected, found) = ("held-out images".to_owned(), "none".to_owned());
        return Err(crate::Error::Images { expected, found });
    }
    let images = Images::new(held_out, &splits.normalization, device);
    let all: Vec<usize> = (0..held_out.len()).collect();
    let correct: i64 = images
        .plain(&all, BATCH)
        .map(|(images, targets)| {
            let guesses = module.logits(&images).argmax(-1, false);
            guesses.eq_tensor(&targets).sum(tch::Kind::Int64).int64_value(&[])
        })
        .sum();
    Ok(correct as f64 / held_out.len() as f64)
}
