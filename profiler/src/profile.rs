//! Latency tables of search spaces.

use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

use netfit_latency_tables::{
    Calibration, Entry, LEAST_NETWORKS, LatencyTable, Source, Timing, Validation,
};
use netfit_spaces::{Network, Random, Space};

use crate::{
    Burst, Device, Error, Model, Pairing, Progress, Result,
    whole::{draw, time, truths},
};

/// Name of the source whose times are the runtime's own record of whole networks.
pub const IN_PLACE: &str = "in-place";

/// How a latency table is made.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileOptions {
    /// Networks of the calibration, at least 19.
    pub calibration: usize,
    /// Networks of the validation; with 0 there is none.
    pub validation: usize,
    /// Processes in which whole networks are measured.
    pub processes: usize,
    /// How whole networks are measured.
    pub pairing: Pairing,
    /// Shuffled passes over the covering networks.
    pub passes: usize,
    /// Timed calls of a covering network in a pass.
    pub calls: usize,
    /// Which networks are drawn, and in which order they are measured.
    pub seed: u64,
    /// Whether a table of a disturbed machine is made all the same, and marked.
    pub accept_noise: bool,
}

impl Default for ProfileOptions {
    /// 24 networks of calibration, 16 of validation, 2 processes, 12 passes of 6 calls.
    fn default() -> Self {
        Self {
            calibration: 24,
            validation: 16,
            processes: 2,
            pairing: Pairing::default(),
            passes: 12,
            calls: 6,
            seed: 0,
            accept_noise: false,
        }
    }
}

/// Measures every block of `space` inside whole networks, then calibrates and validates the sums of block times on
/// random whole networks.
///
/// # Errors
/// A device that fails, a space with too few networks, or a machine that was disturbed.
pub fn profile(
    space: &Space,
    device: &mut dyn Device,
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<LatencyTable> {
    let start = Instant::now();
    options.check()?;
    let drawn = draw(
        space,
        options.calibration + options.validation,
        &HashSet::new(),
        &mut Random::new(options.seed, "profiled networks"),
    )?;
    let source = in_place(space, device, options, progress)?;
    let reference = reference(space);
    let timed = time(space, device, &drawn, &reference, None, options, progress)?;
    let sources = BTreeMap::from([(IN_PLACE.to_owned(), source)]);
    let mut calibration_networks = timed.networks;
    let validation_networks = calibration_networks.split_off(options.calibration);
    let pairs: Vec<(Network, f64)> = calibration_networks
        .iter()
        .map(|timing| (space.network(&timing.genotype), timing.seconds))
        .collect();
    let mut table = LatencyTable {
        space_id: space.id().to_owned(),
        space_name: space.name().to_owned(),
        fingerprint: device.fingerprint(),
        reference: timed.reference,
        calibration: Calibration::fit(&sources, &pairs)?,
        sources,
        validation: None,
        hygiene: timed.hygiene,
        calibration_networks,
        validation_networks,
        seed: options.seed,
        seconds: 0.0,
    };
    if options.validation > 0 {
        let truths = truths(space, &table.validation_networks);
        table.validation = Some(Validation::judge(&table, &truths)?);
    }
    table.seconds = start.elapsed().as_secs_f64();
    Ok(table)
}

impl ProfileOptions {
    pub(crate) fn check(&self) -> Result<()> {
        self.pairing.check()?;
        let wrong = |what, least: usize, found: usize| {
            let expected = format!("at least {least}");
            (found < least).then(|| Error::Setting { what, expected, found: found.to_string() })
        };
        let wrong = wrong("networks of the calibration", LEAST_NETWORKS, self.calibration)
            .or(wrong("processes", 1, self.processes))
            .or(wrong("passes over the covering networks", 1, self.passes))
            .or(wrong("calls in a pass", 1, self.calls));
        wrong.map_or(Ok(()), Err)
    }
}

/// The network in the middle of the covering set: of full depth and medium speed.
fn reference(space: &Space) -> Network {
    let covering = space.covering();
    space.network(&covering[covering.len() / 2])
}

/// Block times from the runtime's record of whole networks that together hold every block.
fn in_place(
    space: &Space,
    device: &mut dyn Device,
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Source> {
    let stage = "blocks inside whole networks";
    let covering: Vec<Network> =
        space.covering().iter().map(|genotype| space.network(genotype)).collect();
    let total = 2 * covering.len() + options.passes;
    device.restart()?;
    let mut models = Vec::new();
    for (done, network) in covering.iter().enumerate() {
        progress(Progress::new(stage, done, total));
        models.push(device.load(Model::Traced(network))?);
    }
    let mut random = Random::new(options.seed, "order of covering networks");
    let mut order = models.clone();
    for pass in 0..options.passes {
        progress(Progress::new(stage, covering.len() + pass, total));
        random.shuffle(&mut order);
        let bursts: Vec<Burst> = order
            .iter()
            .map(|&model| Burst { model, calls: options.calls, seconds: 0.0 })
            .collect();
        device.time(&bursts)?;
    }
    let mut samples: BTreeMap<String, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut overhead = Vec::new();
    for (done, (network, model)) in covering.iter().zip(models).enumerate() {
        progress(Progress::new(stage, covering.len() + options.passes + done, total));
        let times = device.trace(model)?;
        let recorded = times.blocks.into_iter().zip(times.kernels);
        for (block, (seconds, kernels)) in network.blocks().iter().zip(recorded) {
            let (all_seconds, all_kernels) = samples.entry(block.to_string()).or_default();
            all_seconds.extend(seconds);
            all_kernels.push(kernels);
        }
        overhead.extend(times.overhead);
    }
    progress(Progress::new(stage, total, total));
    let timing = |what: &str, samples: &[f64]| {
        Timing::of(samples)
            .ok_or_else(|| Error::Runtime(format!("no time was recorded for {what}")))
    };
    let entry = |line: &str, (seconds, kernels): &(Vec<f64>, Vec<f64>)| -> Result<Entry> {
        let kernels = kernels.iter().sum::<f64>() / kernels.len() as f64;
        Ok(Entry { timing: timing(&format!("`{line}`"), seconds)?, kernels })
    };
    let entries = samples
        .iter()
        .map(|(line, samples)| Ok((line.clone(), entry(line, samples)?)))
        .collect::<Result<_>>()?;
    Ok(Source { entries, overhead: timing("a whole call", &overhead)? })
}

#[cfg(test)]
mod tests {
    use netfit_latency_tables::{Correction, Verdict};

    use super::*;
    use crate::FakeDevice;

    fn options() -> ProfileOptions {
        ProfileOptions::default()
    }

    fn table(device: &mut FakeDevice, options: &ProfileOptions) -> Result<LatencyTable> {
        profile(&Space::preset("ofa-28").unwrap(), device, options, &mut |_| {})
    }

    #[test]
    fn the_planted_calibration_is_recovered() {
        let mut device = FakeDevice::new(0);
        let table = table(&mut device, &options()).unwrap();
        let Correction::Affine(line) = table.calibration.correction else {
            panic!("{:?}", table.calibration.candidates)
        };
        assert!((line.intercept_s / device.intercept_s - 1.0).abs() < 1e-6, "{line:?}");
        assert!((line.slope / device.slope - 1.0).abs() < 1e-6, "{line:?}");
        let validation = table.validation.unwrap();
        assert!(validation.errors.rmspe < 1e-9 && validation.noise_floor_rmspe.unwrap() < 1e-9);
        assert!(validation.multiply_adds.rmspe > 0.005, "the baseline knows no kernels");
    }

    #[test]
    fn what_the_record_of_a_kernel_costs_is_taken_away() {
        let mut device = FakeDevice::new(0);
        device.kernel_s = 5e-6;
        let table = table(&mut device, &options()).unwrap();
        let Correction::Recorded { slope, kernel_s, .. } = table.calibration.correction else {
            panic!("{:?}", table.calibration.candidates)
        };
        assert!((slope / device.slope - 1.0).abs() < 1e-6, "{slope}");
        assert!((kernel_s / (-device.slope * device.kernel_s) - 1.0).abs() < 1e-6, "{kernel_s}");
        assert!(table.validation.unwrap().errors.rmspe < 1e-9);
    }

    #[test]
    fn intervals_cover_fresh_networks_in_spite_of_noise() {
        let space = Space::preset("ofa-28").unwrap();
        let (mut covered, mut total) = (0.0, 0.0);
        for seed in 0..6 {
            let mut device = FakeDevice::new(seed);
            device.noise = 0.02;
            device.process_noise = 0.05;
            let options = ProfileOptions { seed, ..options() };
            let table = table(&mut device, &options).unwrap();
            let fresh = ProfileOptions { seed: seed + 100, ..options };
            let (validation, _, _) =
                crate::validate(&table, &space, &mut device, 40, &fresh, &mut |_| {}).unwrap();
            assert!(validation.errors.rmspe < 0.02, "{validation:?}");
            covered += validation.interval_coverage * 40.0;
            total += 40.0;
        }
        assert!(covered / total >= 0.9, "{}", covered / total);
    }

    #[test]
    fn the_same_seed_makes_the_same_table() {
        let make = || {
            let mut device = FakeDevice::new(5);
            device.noise = 0.02;
            LatencyTable { seconds: 0.0, ..table(&mut device, &options()).unwrap() }
        };
        assert_eq!(make(), make());
    }

    #[test]
    fn a_disturbed_machine_is_refused_unless_noise_is_accepted() {
        let disturbed = || {
            let mut device = FakeDevice::new(0);
            device.noise = 0.01;
            // Every fifth burst of the whole run.
            device.disturbances = (0..20_000).map(|n| (5 * n..5 * n + 1, 1.5)).collect();
            device
        };
        let options = options();
        let error = table(&mut disturbed(), &options).unwrap_err();
        assert!(matches!(error, Error::Disturbed { .. }), "{error}");
        let options = ProfileOptions { accept_noise: true, ..options };
        let table = table(&mut disturbed(), &options).unwrap();
        assert_eq!(table.hygiene.verdict, Verdict::NoiseAccepted);
    }

    #[test]
    fn calibration_and_validation_share_no_network() {
        let table = table(&mut FakeDevice::new(0), &options()).unwrap();
        let all = table.calibration_networks.iter().chain(&table.validation_networks);
        let distinct: HashSet<_> = all.map(|timing| &timing.genotype).collect();
        assert_eq!(distinct.len(), 40);
    }

    #[test]
    fn senseless_settings_and_small_spaces_are_refused() {
        let few = ProfileOptions { calibration: 5, ..options() };
        let message = table(&mut FakeDevice::new(0), &few).unwrap_err().to_string();
        assert!(message.contains("at least 19, found 5"), "{message}");
        let space = Space::preset("nas-bench-macro").unwrap();
        let many = draw(&space, 7000, &HashSet::new(), &mut Random::new(0, "many"));
        let message = many.unwrap_err().to_string();
        assert!(message.contains("of the 7000 that were asked for"), "{message}");
    }
}
