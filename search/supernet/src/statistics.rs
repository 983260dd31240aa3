//! Statistics of batch normalisation: which ones a forward pass uses, and how they are re-calibrated.

use netfit_spaces::NORM_EPSILON;
use tch::{Kind, Tensor};

use crate::ops;

/// Which statistics a forward pass normalises by.
#[derive(Debug)]
pub enum Mode<'a> {
    /// Each batch's own. No running ones are kept: they would mix all subnets, and a re-calibration takes their place.
    Train {
        /// Probability of zeroing an input of the classifier.
        dropout: f64,
    },
    /// Each batch's own, which are collected.
    Calibrate(&'a mut Statistics),
    /// Collected ones.
    Calibrated(&'a Statistics),
}

impl Mode<'_> {
    /// Normalises `x` with a scale and a shift for each channel; `number` is the normalisation's place among statistics.
    ///
    /// # Panics
    /// Where statistics are those of another network.
    pub(crate) fn normalise(
        &mut self,
        number: usize,
        x: &Tensor,
        [scale, shift]: [&Tensor; 2],
    ) -> Tensor {
        match self {
            Self::Train { .. } => ops::normalise(x, scale, shift, None),
            Self::Calibrated(statistics) => {
                ops::normalise(x, scale, shift, Some(statistics.of(number).each_ref()))
            }
            Self::Calibrate(statistics) => {
                let (scale, shift, none) = (Some(scale), Some(shift), None::<&Tensor>);
                let (y, mean, inverse_deviation) =
                    x.native_batch_norm(scale, shift, none, none, true, 0.0, NORM_EPSILON);
                statistics.add(number, &mean, &inverse_deviation, x.size()[0]);
                y
            }
        }
    }

    /// Dropout on the classifier's input, in training.
    pub(crate) fn dropout(&self, x: Tensor) -> Tensor {
        match self {
            Mode::Train { dropout } if *dropout > 0.0 => x.dropout(*dropout, true),
            _ => x,
        }
    }
}

/// Means and variances of every active normalisation, averaged over batches
/// (Once-for-All's `elastic_nn/utils.py`: the average of the batches' means and biased variances).
#[derive(Debug, Default)]
pub struct Statistics(Vec<Option<Sum>>);

#[derive(Debug)]
struct Sum {
    mean: Tensor,
    variance: Tensor,
    images: f64,
}

impl Statistics {
    /// Adds one batch's statistics, weighted by its images.
    pub(crate) fn add(
        &mut self,
        norm: usize,
        mean: &Tensor,
        inverse_deviation: &Tensor,
        images: i64,
    ) {
        if self.0.len() <= norm {
            self.0.resize_with(norm + 1, || None);
        }
        let images = images as f64;
        let mean = mean.to_kind(Kind::Double) * images;
        let variance = inverse_deviation.to_kind(Kind::Double).pow_tensor_scalar(-2) - NORM_EPSILON;
        let variance = variance.clamp_min(0.0) * images;
        match &mut self.0[norm] {
            Some(sum) => {
                sum.mean += mean;
                sum.variance += variance;
                sum.images += images;
            }
            empty => *empty = Some(Sum { mean, variance, images }),
        }
    }

    /// Sets the next normalisation's mean and variance.
    pub(crate) fn push(&mut self, mean: &Tensor, variance: &Tensor) {
        let [mean, variance] = [mean, variance].map(|tensor| tensor.to_kind(Kind::Double));
        self.0.push(Some(Sum { mean, variance, images: 1.0 }));
    }

    /// Mean and variance for one normalisation.
    ///
    /// # Panics
    /// Where it took no part in the network on which they were collected.
    pub(crate) fn of(&self, number: usize) -> [Tensor; 2] {
        let sum = self.0.get(number).and_then(Option::as_ref);
        let sum = sum.expect("statistics are collected on the network that uses them");
        let mean = (&sum.mean / sum.images).to_kind(Kind::Float);
        let variance = (&sum.variance / sum.images).to_kind(Kind::Float);
        [mean, variance]
    }
}
