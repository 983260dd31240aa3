//! Percentiles of single calls: how long a network's slowest calls take. They are timed apart from medians, in long rows
//! of calls of one network after the other, since a percentile needs many.

use std::collections::BTreeMap;

use netfit_latency_tables::{LatencyTable, Tail, TailTiming, median, quantile};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Burst, Device, Error, Model, ProfileOptions, Progress, Result, journal::Journal, memory,
    protocol::load,
};

/// Rows of calls of each network in a process, in shuffled rounds.
const ROWS: usize = 5;
/// Time that a row may take longer to have calls during which nothing shared the core.
const PATIENCE_S: f64 = 0.5;
/// Calls of a row that do not count.
const WARM_UP: usize = 8;

/// What one process has measured of one network: raw seconds.
struct Tailed {
    median_s: f64,
    percentiles_s: Vec<f64>,
}

/// Measures the percentiles that `options` ask for on the table's own networks, fits their prediction on those of its
/// calibration and judges it on those of its validation.
pub(crate) fn add(
    table: &mut LatencyTable,
    space: &Space,
    device: &mut dyn Device,
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    if options.percentiles.is_empty() {
        return Ok(());
    }
    let timings = table.calibration_networks.iter().chain(&table.validation_networks);
    let (genotypes, known_s): (Vec<Genotype>, Vec<f64>) =
        timings.map(|timing| (timing.genotype.clone(), timing.seconds)).unzip();
    let networks: Vec<Network> = genotypes.iter().map(|genotype| space.network(genotype)).collect();
    let bytes: Vec<u64> = networks.iter().map(|network| device.bytes(network)).collect();
    let groups = memory::groups(&bytes, 0);
    let mut processes = Vec::new();
    for process in 0..options.processes {
        let mut tailed = BTreeMap::new();
        for (number, group) in groups.iter().enumerate() {
            let place = (process * groups.len() + number, options.processes * groups.len());
            let own: Vec<&Network> = group.iter().map(|&network| &networks[network]).collect();
            let known_s: Vec<f64> = group.iter().map(|&network| known_s[network]).collect();
            let calls = calls(&own, device, options, place, journal, progress)?;
            let normalised = normalised(&calls, &known_s, &options.percentiles);
            tailed.extend(group.iter().copied().zip(normalised));
        }
        processes.push(tailed.into_values().collect::<Vec<_>>());
    }
    let fitted = table.calibration_networks.iter();
    let fitted: Vec<(Network, f64)> =
        fitted.map(|timing| (space.network(&timing.genotype), timing.seconds)).collect();
    let predicted = table.calibration.leave_one_out(&table.sources, &fitted)?;
    let split = table.calibration_networks.len();
    for (index, &percentile) in options.percentiles.iter().enumerate() {
        let of = |process: &[Tailed]| -> Vec<f64> {
            process.iter().map(|tailed| tailed.percentiles_s[index]).collect()
        };
        let each: Vec<Vec<f64>> = processes.iter().map(|process| of(process)).collect();
        let truth = mean(&each);
        let mut tail = Tail::fit(percentile, &predicted, &truth[..split])?;
        if truth.len() > split {
            let medians = table
                .validation_networks
                .iter()
                .map(|timing| Ok(table.predict(&space.network(&timing.genotype))?.median_s))
                .collect::<Result<Vec<f64>>>()?;
            let second = each.get(1).map(|second| &second[split..]);
            tail.validation = Some(tail.judge(&medians, &each[0][split..], second));
        }
        table.tails.push(tail);
    }
    table.tail_networks = summary(&genotypes, &processes, options);
    Ok(())
}

/// Single calls of each network in one process of how many: those of whole rounds that the journal has, and the rest.
fn calls(
    networks: &[&Network],
    device: &mut dyn Device,
    options: &ProfileOptions,
    (process, planned): (usize, usize),
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Vec<f64>>> {
    let stage = format!("tails {process}");
    let mut rounds: Vec<Vec<Vec<f64>>> = journal.calls(&stage).cloned().collect();
    let mut models = Vec::new();
    if rounds.len() < ROWS {
        let whole: Vec<Model<'_>> = networks.iter().copied().map(Model::Network).collect();
        let mut random = Random::at(options.seed, "load for tails", &[process as u64]);
        models = load(device, &whole, &mut random, &mut |_, _| {})?;
    }
    let row = options.tail_calls.div_ceil(ROWS * options.processes);
    for round in rounds.len()..ROWS {
        let mut order: Vec<usize> = (0..networks.len()).collect();
        Random::at(options.seed, "order of tails", &[process as u64, round as u64])
            .shuffle(&mut order);
        let mut calls = vec![Vec::new(); networks.len()];
        for (done, &network) in order.iter().enumerate() {
            let label = format!("single calls, process {} of {planned}", process + 1);
            progress(Progress::new(label, round * order.len() + done, ROWS * order.len()));
            let model = models[network];
            let (warm_up, warm_up_s) = (WARM_UP, options.protocol.warm_up_s);
            let (seconds, patience_s) = (0.0, PATIENCE_S);
            let burst = Burst { model, warm_up, warm_up_s, calls: row, seconds, patience_s };
            let ran = device.time(&[burst])?.into_iter().next();
            let ran = ran.ok_or_else(|| Error::Runtime("a row of calls has no times".into()))?;
            calls[network] = ran.calls;
        }
        journal.keep_calls(&stage, &calls)?;
        rounds.push(calls);
    }
    let of = |network: usize| rounds.iter().flat_map(|calls| calls[network].clone()).collect();
    Ok((0..networks.len()).map(of).collect())
}

/// A process's percentiles in reference-normalised seconds: the medians of all networks tell how fast it was.
fn normalised(calls: &[Vec<f64>], known_s: &[f64], percentiles: &[f64]) -> Vec<Tailed> {
    let speeds: Vec<f64> =
        calls.iter().zip(known_s).map(|(calls, known)| median(calls) / known).collect();
    let speed = median(&speeds);
    let tailed = |calls: &Vec<f64>| Tailed {
        median_s: median(calls) / speed,
        percentiles_s: percentiles.iter().map(|p| quantile(calls, p / 100.0) / speed).collect(),
    };
    calls.iter().map(tailed).collect()
}

/// The mean over processes, network by network.
fn mean(processes: &[Vec<f64>]) -> Vec<f64> {
    let networks = processes.first().map_or(0, Vec::len);
    let mean = |network: usize| {
        processes.iter().map(|process| process[network]).sum::<f64>() / processes.len() as f64
    };
    (0..networks).map(mean).collect()
}

fn summary(
    genotypes: &[Genotype],
    processes: &[Vec<Tailed>],
    options: &ProfileOptions,
) -> Vec<TailTiming> {
    let row = options.tail_calls.div_ceil(ROWS * options.processes);
    let timing = |(network, genotype): (usize, &Genotype)| {
        let each = |of: &dyn Fn(&Tailed) -> f64| {
            processes.iter().map(|process| of(&process[network])).sum::<f64>()
                / processes.len() as f64
        };
        TailTiming {
            genotype: genotype.clone(),
            calls: row * ROWS * processes.len(),
            median_s: each(&|tailed| tailed.median_s),
            percentiles_s: (0..options.percentiles.len())
                .map(|index| each(&|tailed| tailed.percentiles_s[index]))
                .collect(),
        }
    };
    genotypes.iter().enumerate().map(timing).collect()
}
