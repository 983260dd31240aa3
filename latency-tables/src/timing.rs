//! Summaries of times.

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
    /// Reference-normalised latency: the mean over processes.
    pub seconds: f64,
    /// The same for each process in which it was measured.
    pub processes_s: Vec<f64>,
    /// Every sample: a burst's median time divided by that of the reference network beside it.
    pub ratios: Vec<f64>,
}
