//! Judging subnets: batch normalisation is re-calibrated first, always.

use netfit_export::Weights;
use netfit_spaces::{Genotype, Shape};
use tch::{Kind, Tensor, no_grad};

use crate::{
    Mode, Result, Standalone, Statistics, Supernet, Trainer, context::Exact, feed::Feed, ops,
};

/// Images of a batch of inference, and their pixels (height x width) together, at most.
const LARGEST_BATCH: (usize, usize) = (500, 4_000_000);

impl Trainer {
    /// A subnet's accuracy on the held-out images, as a fraction of 1.
    ///
    /// # Errors
    /// No held-out images.
    pub fn accuracy(&self, genotype: &Genotype) -> Result<f64> {
        let _exact = Exact::begin();
        let weights = self.subnet(genotype);
        let network = self.supernet().space().network(genotype);
        let module = Standalone::new(&network, &weights, self.supernet().device())?.folded();
        accuracy(&module, self.feed())
    }

    /// A subnet's weights, re-calibrated on training images.
    pub fn subnet(&self, genotype: &Genotype) -> Weights {
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
        .batches(largest_batch(images.shape(), LARGEST_BATCH))
        .map(|(images, targets)| {
            let guesses = module.logits(&images).argmax(-1, false);
            guesses.eq_tensor(&targets).sum(Kind::Int64)
        })
        .collect();
    // At once: a GPU is waited for here.
    Ok(ops::numbers(&correct).iter().sum::<f64>() / images.len() as f64)
}

/// Images of a batch of inference, of at most so many images and pixels.
pub(crate) fn largest_batch(shape: Shape, (images, pixels): (usize, usize)) -> usize {
    (pixels / (shape.height * shape.width)).clamp(1, images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_large_images_are_smaller() {
        let of = |side| largest_batch(Shape::new(3, side, side), LARGEST_BATCH);
        assert_eq!([1, 28, 89, 90, 224, 2000, 5000].map(of), [500, 500, 500, 493, 79, 1, 1]);
    }
}
