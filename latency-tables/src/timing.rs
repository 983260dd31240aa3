//! Summaries of times.

use std::ops::Range;

use netfit_spaces::Genotype;
use serde::{Deserialize, Serialize};

use crate::{mad, median, trimmed_mean};

/// Share of the samples that [`Timing::mean_s`] takes away at each end.
const CUT: f64 = 0.2;

/// A summary of repeated measurements of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Median.
    pub median_s: f64,
    /// Mean of the middle 60 % of the samples; used for sums, since a runtime's own clock may have whole microseconds.
    pub mean_s: f64,
    /// Median absolute deviation from the median.
    pub mad_s: f64,
    /// Minimum.
    pub min_s: f64,
    /// How many samples there are.
    pub samples: usize,
}

impl Timing {
    /// A summary of `samples` in seconds; none where there are none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        (!samples.is_empty()).then(|| Self {
            median_s: median(samples),
            mean_s: trimmed_mean(samples, CUT),
            mad_s: mad(samples),
            min_s: samples.iter().copied().fold(f64::INFINITY, f64::min),
            samples: samples.len(),
        })
    }
}

/// The measured latency of a whole network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkTiming {
    /// The network, in the table's space.
    pub genotype: Genotype,
    /// Reference-normalised latency: the weighted mean over processes.
    pub seconds: f64,
    /// The same for each process in which it was measured.
    pub processes_s: Vec<f64>,
    /// How much each of these counts: noisy processes count less. Empty where all count alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// Every sample: a burst's median time divided by that of the reference network beside it.
    pub ratios: Vec<f64>,
}

impl NetworkTiming {
    /// Its weight in each process, 1 on average.
    pub fn shares(&self) -> Vec<f64> {
        let count = self.processes_s.len();
        let total: f64 = self.weights.iter().sum();
        if self.weights.len() == count && total > 0.0 {
            return self.weights.iter().map(|weight| weight * count as f64 / total).collect();
        }
        vec![1.0; count]
    }

    /// The weighted mean of its times in these processes, at least one.
    pub fn mean_of(&self, processes: Range<usize>) -> f64 {
        let shares = &self.shares()[processes.clone()];
        let weighted = self.processes_s[processes].iter().zip(shares).map(|(s, share)| s * share);
        weighted.sum::<f64>() / shares.iter().sum::<f64>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn means_are_weighted_and_tables_without_weights_have_equal_ones() {
        let mut timing = NetworkTiming {
            genotype: "0".parse().unwrap(),
            seconds: 0.0,
            processes_s: vec![1.0, 2.0, 4.0],
            weights: Vec::new(),
            ratios: Vec::new(),
        };
        assert!((timing.mean_of(0..3) - 7.0 / 3.0).abs() < 1e-12);
        timing.weights = vec![3.0, 1.0, 0.5];
        assert!((timing.mean_of(0..2) - 1.25).abs() < 1e-12);
        assert!((timing.shares().iter().sum::<f64>() - 3.0).abs() < 1e-12);
    }
}
