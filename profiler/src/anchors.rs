//! Networks beside which others are timed.

use netfit_latency_tables::{LatencyTable, NetworkTiming};
use netfit_spaces::{Network, Space};

use crate::Result;

/// Besides the reference network: at least, and where many models are measured one for so many of them.
const ANCHORS: usize = 9;
const MODELS_AN_ANCHOR: usize = 5;

/// Networks whose reference-normalised seconds are known, and to which those of others refer. The first one is the
/// reference network.
pub(crate) struct Anchors {
    pub(crate) networks: Vec<Network>,
    /// None: nothing is known yet, and the average process of these measurements becomes the measure.
    pub(crate) known_s: Option<Vec<f64>>,
}

impl Anchors {
    /// The network in the middle of the covering set, of full depth and medium speed, and others of that set; nothing is
    /// known of them yet.
    pub(crate) fn new(space: &Space) -> Self {
        let covering = space.covering();
        let middle = covering.len() / 2;
        let step = covering.len().div_ceil(ANCHORS).max(1);
        let others = (0..covering.len()).step_by(step).filter(|&index| index != middle);
        let chosen = std::iter::once(middle).chain(others);
        let networks = chosen.map(|index| space.network(&covering[index])).collect();
        Self { networks, known_s: None }
    }

    /// A table's reference network, and some of its calibration from the fastest to the slowest, for measuring `models`
    /// others.
    pub(crate) fn of(table: &LatencyTable, space: &Space, models: usize) -> Result<Self> {
        let mut networks = vec![table.reference.network.parse()?];
        let mut known_s = vec![table.reference.median_s];
        let mut others: Vec<&NetworkTiming> = table.calibration_networks.iter().collect();
        others.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let step = others.len().div_ceil(ANCHORS.max(models / MODELS_AN_ANCHOR)).max(1);
        for timing in others.iter().skip(step / 2).step_by(step) {
            networks.push(space.network(&timing.genotype));
            known_s.push(timing.seconds);
        }
        Ok(Self { networks, known_s: Some(known_s) })
    }
}

/// Relative standard error of what a later measurement knows of its processes' speed: it comes from as many anchors as
/// there are, whose times then and now are as exact as the processes here agree with each other.
pub(crate) fn anchor_error(timings: &[NetworkTiming]) -> f64 {
    let mut squares = Vec::new();
    for timing in timings.iter().filter(|timing| timing.processes_s.len() > 1) {
        let count = timing.processes_s.len() as f64;
        let weighted = timing.processes_s.iter().zip(timing.shares());
        let apart = weighted.map(|(s, share)| (share * (s / timing.seconds - 1.0)).powi(2));
        // The variance of the weighted mean over processes.
        squares.push(apart.sum::<f64>() / (count - 1.0) / count);
    }
    if squares.is_empty() {
        return 0.0;
    }
    let variance = squares.iter().sum::<f64>() / squares.len() as f64;
    (2.0 * variance / (ANCHORS + 1) as f64).sqrt()
}
