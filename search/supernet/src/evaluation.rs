//! Judging subnets: batch normalisation is re-calibrated first, always.

use netfit_export::Weights;
use netfit_spaces::Genotype;
use tch::{Kind, Tensor, no_grad};

use crate::{
    Mode, Result, Standalone, Statistics, Supernet, context::Exact, feed::Feed, ops,
    still::BatchLimit, training::Trainer,
};

/// A batch of inference.
const BATCH: BatchLimit = BatchLimit { images: 500, pixels: 4_000_000 };

impl Trainer {
    /// A subnet's accuracy on the held-out images, as a fraction of 1.
    ///
    /// # Errors
    /// No held-out images.
    pub(crate) fn accuracy(&self, genotype: &Genotype) -> Result<f64> {
        let _exact = Exact::begin();
        let weights = self.subnet(genotype);
        let network = self.supernet().space().network(genotype);
        let module = Standalone::new(&network, &weights, self.supernet().device())?.folded();
        accuracy(&module, self.feed())
    }

    /// A subnet's weights, re-calibrated on training images.
    pub(crate) fn subnet(&self, genotype: &Genotype) -> Weights {
        let _exact = Exact::begin();
        let images = self.feed().calibration(self.training());
        let statistics = self.supernet().calibrate(genotype, images);
        self.supernet().extract(genotype, &statistics)
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
pub(crate) fn accuracy(module: &Standalone, feed: &Feed) -> Result<f64> {
    if feed.splits().holdout.is_empty() {
        let (expected, found) = ("held-out images".to_owned(), "none".to_owned());
        let remedy = "raise `[training] holdout`";
        return Err(crate::Error::Images { expected, found, remedy });
    }
    let images = feed.held_out();
    let correct: Vec<Tensor> = images
        .batches(BATCH)
        .map(|(images, targets)| {
            let guesses = module.logits(&images).argmax(-1, false);
            guesses.eq_tensor(&targets).sum(Kind::Int64)
        })
        .collect();
    // At once: a GPU is waited for here.
    Ok(ops::numbers(&correct).iter().sum::<f64>() / images.len() as f64)
}
