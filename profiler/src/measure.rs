//! The latency of any ONNX file.

use std::{collections::BTreeMap, path::Path};

use netfit_latency_tables::{Fingerprint, mad, median, quantile};
use serde::{Deserialize, Serialize};

use crate::{Burst, Device, Error, Model, Progress, Result};

/// How a file is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureOptions {
    /// Timed calls in all, unless they take too long; rounded up, so that each process makes as many.
    pub samples: usize,
    /// Time for timed calls in all; at least 10 are made in each process, and where something shares the core it takes up
    /// to twice this.
    pub seconds: f64,
    /// Time for calls that do not count, in each process.
    pub warm_up_s: f64,
    /// Processes that share the calls: whole processes differ in speed.
    pub processes: usize,
    /// Sizes of dynamic dimensions by name; `batch` is the device's batch where it is not given.
    pub dimensions: BTreeMap<String, usize>,
}

impl Default for MeasureOptions {
    /// 1000 calls or 6 s, in 3 processes, each after 0.3 s.
    fn default() -> Self {
        Self {
            samples: 1000,
            seconds: 6.0,
            warm_up_s: 0.3,
            processes: 3,
            dimensions: BTreeMap::new(),
        }
    }
}

/// The measured latency of a model: statistics of single calls, in raw seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Median over processes of the median call.
    pub median_s: f64,
    /// Median absolute deviation of all calls.
    pub mad_s: f64,
    /// Time within which 95 % of all calls end.
    pub p95_s: f64,
    /// Time within which 99 % of all calls end.
    pub p99_s: f64,
    /// Timed calls.
    pub samples: usize,
    /// How many of them shared their core with something else.
    pub samples_shared: usize,
    /// Calls that shared it and were replaced.
    pub samples_replaced: usize,
    /// Median call of each process.
    pub processes_s: Vec<f64>,
    /// Largest relative distance of a process's median call from `median_s`.
    pub drift: f64,
    /// Cores that other processes used meanwhile; null where the system does not show it.
    pub load: Option<f64>,
    /// Whether a GPU was slowed down by its heat or its power supply in one of the processes.
    pub throttled: bool,
    /// The device.
    pub fingerprint: Fingerprint,
}

/// Times single calls of the model in `path`; its inputs are filled with random numbers.
///
/// # Errors
/// A file that is no model, a dynamic dimension without a size, or settings of nothing to measure.
pub fn measure(
    path: &Path,
    device: &mut dyn Device,
    options: &MeasureOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measurement> {
    if options.processes == 0 || options.samples < options.processes {
        return Err(Error::Setting {
            what: "samples of a measurement",
            expected: "at least one in each of at least one process".into(),
            found: format!("{} in {}", options.samples, options.processes),
        });
    }
    let mut calls: Vec<f64> = Vec::new();
    let mut processes_s = Vec::new();
    let (mut elapsed_s, mut others_s) = (0.0, Some(0.0));
    let (mut samples_shared, mut samples_replaced, mut throttled) = (0, 0, false);
    for process in 0..options.processes {
        progress(Progress::new("measuring the model", process, options.processes));
        device.restart()?;
        let model = device.load(Model::File { path, dimensions: &options.dimensions })?;
        let burst = |calls, seconds, patience_s| {
            let (warm_up, warm_up_s) = (1, 0.0);
            Burst { model, warm_up, warm_up_s, calls, seconds, patience_s }
        };
        let warm_up = device.time(&[burst(3, options.warm_up_s, 0.0)])?;
        let one_s = median(&warm_up[0].calls);
        let share = options.seconds / options.processes as f64;
        let fitting = (share / one_s.max(1e-9)) as usize;
        let wanted = options.samples.div_ceil(options.processes).min(fitting.max(10));
        let ran = device.time(&[burst(wanted, 0.0, share)])?;
        processes_s.push(median(&ran[0].calls));
        calls.extend(&ran[0].calls);
        samples_shared += ran[0].shared;
        samples_replaced += ran[0].replaced;
        throttled |= ran[0].throttled;
        elapsed_s += ran[0].elapsed_s;
        others_s = others_s.zip(ran[0].others_s).map(|(sum, more)| sum + more);
    }
    progress(Progress::new("measuring the model", options.processes, options.processes));
    let median_s = median(&processes_s);
    let distance = |process: &f64| (process / median_s - 1.0).abs();
    Ok(Measurement {
        median_s,
        drift: processes_s.iter().map(distance).fold(0.0, f64::max),
        load: others_s.map(|others| (others / elapsed_s).max(0.0)),
        throttled,
        mad_s: mad(&calls),
        p95_s: quantile(&calls, 0.95),
        p99_s: quantile(&calls, 0.99),
        samples: calls.len(),
        samples_shared,
        samples_replaced,
        processes_s,
        fingerprint: device.fingerprint(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FakeDevice;

    #[test]
    fn calls_are_shared_among_processes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, vec![0; 1000]).unwrap();
        let mut device = FakeDevice::new(0);
        device.noise = 0.05;
        let options = MeasureOptions { samples: 300, ..MeasureOptions::default() };
        let measured = measure(&path, &mut device, &options, &mut |_| {}).unwrap();
        assert_eq!((measured.samples, measured.processes_s.len()), (300, 3));
        assert!((measured.median_s / 1e-6 - 1.0).abs() < 0.02, "{measured:?}");
        assert!((measured.p95_s / 1.0857e-6 - 1.0).abs() < 0.02, "{measured:?}");
        assert!(measured.p99_s > measured.p95_s);
        let farthest = measured.processes_s.iter().map(|s| (s - measured.median_s).abs());
        let farthest = farthest.fold(0.0, f64::max) / measured.median_s;
        assert!((measured.drift - farthest).abs() < 1e-12 && farthest > 0.0, "{measured:?}");
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let options = MeasureOptions::default();
        let missing = Path::new("no/such/model.onnx");
        let error = measure(missing, &mut FakeDevice::new(0), &options, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("no/such/model.onnx"), "{error}");
    }
}
