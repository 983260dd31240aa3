//! What a table's predictions are worth on networks that the calibration has not seen.

use netfit_spaces::Network;
use serde::{Deserialize, Serialize};

use crate::{Errors, LatencyTable, Result, rmspe};

/// Predictions against measurements, in reference-normalised seconds; it judges and chooses nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Errors of the table.
    #[serde(flatten)]
    pub errors: Errors,
    /// The mean of one half of the processes against that of the other half, network by network: no table can be better
    /// than about half of this, the error of the mean of all. Null where there was one process only.
    pub noise_floor_rmspe: Option<f64>,
    /// Share of the measurements inside the prediction's interval.
    pub interval_coverage: f64,
    /// Errors of the baseline, an affine function of multiply-adds with the same calibration.
    pub multiply_adds: Errors,
}

impl Validation {
    /// Judges `table` on networks with their latencies, one for each process, in reference-normalised seconds; the
    /// truth is their mean.
    ///
    /// # Errors
    /// A block without an entry.
    pub fn judge(table: &LatencyTable, networks: &[(Network, Vec<f64>)]) -> Result<Self> {
        let (mut predicted, mut measured, mut baseline) = (Vec::new(), Vec::new(), Vec::new());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut inside = 0;
        for (network, processes) in networks {
            let latency = table.predict(network)?;
            let truth = mean(processes);
            inside += usize::from((latency.low_s..=latency.high_s).contains(&truth));
            predicted.push(latency.median_s);
            measured.push(truth);
            baseline.push(table.calibration.multiply_adds.at(network.multiply_adds().0 as f64));
            let (one, other) = processes.split_at(processes.len().div_ceil(2));
            if !other.is_empty() {
                first.push(mean(one));
                second.push(mean(other));
            }
        }
        Ok(Self {
            errors: Errors::of(&predicted, &measured),
            noise_floor_rmspe: (!first.is_empty()).then(|| rmspe(&second, &first)),
            interval_coverage: f64::from(inside as u32) / networks.len() as f64,
            multiply_adds: Errors::of(&baseline, &measured),
        })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
