//! What a table's predictions are worth on networks that the calibration has not seen.

use netfit_spaces::Network;
use serde::{Deserialize, Serialize};

use crate::{
    Errors, LatencyTable, NetworkTiming, Result,
    noise::{standard_error, uncertainty},
    rmspe,
};

/// Predictions against measurements, in reference-normalised seconds; it judges and chooses nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Errors of the table.
    #[serde(flatten)]
    pub errors: Errors,
    /// The mean of one half of the processes against that of the other half, network by network: no table can be better
    /// than about half of this, the error of the mean of all. Null where there was one process only.
    pub noise_floor_rmspe: Option<f64>,
    /// Share of the measurements inside the prediction's interval. That is of true latencies: as noisy as they are, fewer
    /// measurements lie inside.
    pub interval_coverage: f64,
    /// The measurements' relative standard error, as far as their processes tell; null where there was one process only.
    #[serde(default)]
    pub standard_error: Option<f64>,
    /// Share of the measurements that agree with the prediction's interval in view of their own 95 % uncertainty: they are
    /// no further from the prediction than the root of the sum of both half-widths' squares (`|E_n| <= 1`, ISO 13528).
    #[serde(default)]
    pub interval_agreement: Option<f64>,
    /// Errors of the baseline, an affine function of multiply-adds with the same calibration.
    pub multiply_adds: Errors,
}

impl Validation {
    /// Judges `table` on measured networks.
    ///
    /// # Errors
    /// A block without an entry.
    pub fn judge(table: &LatencyTable, networks: &[(Network, &NetworkTiming)]) -> Result<Self> {
        let (mut predicted, mut measured, mut baseline) = (Vec::new(), Vec::new(), Vec::new());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let (mut inside, mut agreeing) = (0, 0);
        let standard_error = standard_error(networks.iter().map(|(_, timing)| *timing));
        let half = table.calibration.interval.hypot(uncertainty(standard_error.unwrap_or(0.0)));
        for (network, timing) in networks {
            let latency = table.predict(network)?;
            let truth = timing.seconds;
            inside += usize::from((latency.low_s..=latency.high_s).contains(&truth));
            agreeing += usize::from((truth / latency.median_s - 1.0).abs() <= half);
            predicted.push(latency.median_s);
            measured.push(truth);
            baseline.push(table.calibration.multiply_adds.at(network.multiply_adds().0 as f64));
            let (half, all) = (timing.processes_s.len().div_ceil(2), timing.processes_s.len());
            if half < all {
                first.push(timing.mean_of(0..half));
                second.push(timing.mean_of(half..all));
            }
        }
        let share = |count: usize| count as f64 / networks.len() as f64;
        Ok(Self {
            errors: Errors::of(&predicted, &measured),
            noise_floor_rmspe: (!first.is_empty()).then(|| rmspe(&second, &first)),
            interval_coverage: share(inside),
            standard_error,
            interval_agreement: standard_error.map(|_| share(agreeing)),
            multiply_adds: Errors::of(&baseline, &measured),
        })
    }
}
