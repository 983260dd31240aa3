//! The measurements' own noise: no part of what a table gets wrong, and no part of its interval.

use crate::{Calibration, NetworkTiming};

/// Networks at least beside which others are timed later, the reference network among them: they tell how fast the machine
/// then is.
pub const ANCHORS: usize = 10;
/// Standard deviations of a normal error's 95 % interval.
const DEVIATIONS: f64 = 1.96;
/// The part of the squared leave-one-out errors that is the table's in any case: from some 40 networks neither these
/// errors nor their noise are known exactly.
const LEAST: f64 = 0.5;

/// Relative standard error of networks' mean times, root mean square, by how far the processes of each lie apart. None
/// where each was measured in one process only.
pub fn standard_error<'a>(timings: impl IntoIterator<Item = &'a NetworkTiming>) -> Option<f64> {
    let mut squares = Vec::new();
    for timing in timings.into_iter().filter(|timing| timing.processes_s.len() > 1) {
        let count = timing.processes_s.len() as f64;
        let weighted = timing.processes_s.iter().zip(timing.shares());
        let apart = weighted.map(|(s, share)| (share * (s / timing.seconds - 1.0)).powi(2));
        // The variance of the weighted mean over processes.
        squares.push(apart.sum::<f64>() / (count - 1.0) / count);
    }
    let count = squares.len() as f64;
    (!squares.is_empty()).then(|| (squares.iter().sum::<f64>() / count).sqrt())
}

/// The relative half-width of a 95 % interval around a measurement of this relative standard error.
pub(crate) fn uncertainty(standard_error: f64) -> f64 {
    DEVIATIONS * standard_error
}

impl Calibration {
    /// The same with the interval of a network's true latency at another time. A leave-one-out error is the table's error
    /// and the left-out network's own noise; the interval shrinks by the root of the noise's part of their squares, of
    /// which at least a half stays. It grows by what a later measurement knows of its own speed, from [`ANCHORS`] networks
    /// whose times then and now are as exact as those of the calibration.
    #[must_use]
    pub fn of_true_latency(mut self, timings: &[NetworkTiming]) -> Self {
        let Some(noise) = standard_error(timings) else { return self };
        let part = if noise > 0.0 { (noise / self.errors.rmspe).powi(2) } else { 0.0 };
        let shrunk = self.interval * (1.0 - part).max(LEAST).sqrt();
        self.interval = shrunk.hypot(uncertainty(noise) * (2.0 / ANCHORS as f64).sqrt());
        self
    }
}

#[cfg(test)]
mod tests {
    use netfit_spaces::{Network, Random, Space};

    use super::*;
    use crate::table::tests::table;

    /// Networks whose latencies are a line of their sums, but for an error of the table's and for the processes' noise.
    fn calibrated(error: f64, noise: f64) -> (Calibration, Vec<NetworkTiming>) {
        let (table, space) = (table(), Space::preset("ofa-28").unwrap());
        let mut random = Random::new(8, "noise");
        let draw = |timing: &NetworkTiming| {
            let truth = timing.seconds * (1.0 + error * random.normal());
            let mut process = || truth * (1.0 + noise * random.normal());
            let processes_s = vec![process(), process(), process(), process(), process()];
            let seconds = processes_s.iter().sum::<f64>() / 5.0;
            NetworkTiming { seconds, processes_s, ..timing.clone() }
        };
        let timings: Vec<NetworkTiming> = table.calibration_networks.iter().map(draw).collect();
        let pairs: Vec<(Network, f64)> = timings
            .iter()
            .map(|timing| (space.network(&timing.genotype), timing.seconds))
            .collect();
        (Calibration::fit(&table.sources, &pairs).unwrap(), timings)
    }

    #[test]
    fn the_standard_error_of_a_mean_is_that_of_its_processes() {
        let (_, timings) = calibrated(0.05, 0.02);
        let found = standard_error(&timings).unwrap();
        assert!((found / (0.02 / 5.0_f64.sqrt()) - 1.0).abs() < 0.2, "{found}");
        let alone = NetworkTiming { processes_s: vec![1.0], ..timings[0].clone() };
        assert_eq!(standard_error([&alone]), None);
    }

    #[test]
    fn the_interval_keeps_the_table_s_error_and_loses_the_noise() {
        let width = |error: f64, noise: f64| {
            let (calibration, timings) = calibrated(error, noise);
            let beside = uncertainty(standard_error(&timings).unwrap()) * 0.2_f64.sqrt();
            let before = calibration.interval;
            let after = calibration.of_true_latency(&timings).interval;
            (after.powi(2) - beside.powi(2)).sqrt() / before
        };
        assert!(width(0.02, 0.0) > 1.0 - 1e-9);
        let mixed = width(0.02, 0.02);
        assert!((0.8..0.98).contains(&mixed), "{mixed}");
        assert!((width(0.0, 0.02) - 0.5_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn one_process_tells_no_noise() {
        let (calibration, mut timings) = calibrated(0.02, 0.0);
        for timing in &mut timings {
            timing.processes_s.truncate(1);
        }
        let interval = calibration.interval;
        assert!((calibration.of_true_latency(&timings).interval / interval - 1.0).abs() < 1e-12);
    }
}
