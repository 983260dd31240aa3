//! Statistics of batch normalisation: which ones a forward pass uses, and how they are re-calibrated.

use netfit_spaces::NORM_EPSILON;
use tch::{Kind, Tensor};

use crate::ops;

/// Which statistics a forward pass normalises by.
#[derive(Debug)]
pub enum Mode<'a> {
    /// Each batch's own; the running statistics of the active channels move towards them.
    Train {
        /// Probability of zeroing an input of the classifier.
        dropout: f64,
    },
    /// The running statistics of training. They mix all subnets, so they serve the full network in the first phase
    /// only.
    Running,
    /// Each batch's own, which are collected.
    Calibrate(&'a mut Statistics),
    /// Collected ones.
    Calibrated(&'a Statistics),
}

impl Mode<'_> {
    /// Normalises `x` with scale, shift, mean and variance; `number` is the normalisation's place among statistics.
    pub(crate) fn normalise(&mut self, number: usize, x: &Tensor, parts: [&Tensor; 4]) -> Tensor {
        let Mode::Calibrate(statistics) = self else {
            return ops::normalise(x, parts, matches!(self, Mode::Train { .. }));
        };
        let [weight, bias, ..] = parts;
        let none = None::<&Tensor>;
        let (y, mean, inverse_deviation) =
            x.native_batch_norm(Some(weight), Some(bias), none, none, true, 0.0, NORM_EPSILON);
        statistics.add(number, &mean, &inverse_deviation, x.size()[0]);
        y
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
        let variance =
            (inverse_deviation.to_kind(Kind::Double).pow_tensor_scalar(-2) - NORM_EPSILON) * images;
        match &mut self.0[norm] {
            Some(sum) => {
                sum.mean += mean;
                sum.variance += variance;
                sum.images += images;
            }
            empty => *empty = Some(Sum { mean, variance, images }),
        }
    }

    /// The averages for one normalisation, if it was active.
    pub(crate) fn get(&self, norm: usize) -> Option<(Tensor, Tensor)> {
        let sum = self.0.get(norm)?.as_ref()?;
        let average = |total: &Tensor| (total / sum.images).clamp_min(0.0).to_kind(Kind::Float);
        let mean = (&sum.mean / sum.images).to_kind(Kind::Float);
        Some((mean, average(&sum.variance)))
    }
}
