//! Percentiles of single calls: how long a network's slowest calls take. They are timed apart from medians, in long rows
//! of calls of one network after the other, since a percentile needs many.

use netfit_latency_tables::{LatencyTable, Tail, TailTiming, median, quantile};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Burst, Device, Error, Model, ProfileOptions, Progress, Result,
    gate::{ATTEMPTS, Disturbance, Gate, judge},
    journal::Journal,
    memory,
    protocol::load,
};

/// Rows of calls of each network in a process, in shuffled rounds.
const ROWS: usize = 5;
/// Time that a row may take longer to have calls during which nothing shared the core.
const PATIENCE_S: f64 = 0.5;
/// Calls of a row that do not count.
const WARM_UP: usize = 8;

/// Single calls that a percentile must leave above it: with fewer it is the largest of all calls.
const BEYOND: f64 = 5.0;
/// The highest percentile: it wants 5,000 calls of each network.
pub(crate) const HIGHEST: f64 = 99.9;

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
    // Process by process, network by network: seconds of single calls at the reference's speed.
    let mut processes: Vec<Vec<Vec<f64>>> = Vec::new();
    let mut gate = Gate::default();
    for process in 0..options.processes {
        let mut of_process = vec![Vec::new(); networks.len()];
        for (number, group) in groups.iter().enumerate() {
            let place = (process * groups.len() + number, options.processes * groups.len());
            let own: Vec<&Network> = group.iter().map(|&network| &networks[network]).collect();
            let known_s: Vec<f64> = group.iter().map(|&network| known_s[network]).collect();
            let calls = calls(&own, device, options, place, (&mut gate, journal), progress)?;
            for (&network, calls) in group.iter().zip(normalised(calls, &known_s)) {
                of_process[network] = calls;
            }
        }
        processes.push(of_process);
    }
    table.hygiene = table.hygiene.and(&judge(&[gate], options)?);
    fit(table, space, options, &processes)?;
    table.tail_networks = summary(&genotypes, &pooled(&processes), options);
    Ok(())
}

/// Fits each percentile on the networks of the calibration and judges it on those of the validation.
fn fit(
    table: &mut LatencyTable,
    space: &Space,
    options: &ProfileOptions,
    processes: &[Vec<Vec<f64>>],
) -> Result<()> {
    let fitted = table.calibration_networks.iter();
    let fitted: Vec<(Network, f64)> =
        fitted.map(|timing| (space.network(&timing.genotype), timing.seconds)).collect();
    let predicted = table.calibration.leave_one_out(&table.sources, &fitted)?;
    let split = table.calibration_networks.len();
    let all: Vec<Vec<f64>> = pooled(processes);
    let halves = (processes.len() > 1).then(|| {
        let (first, second) = processes.split_at(processes.len() / 2);
        [pooled(first), pooled(second)]
    });
    for &percentile in &options.percentiles {
        let of = |networks: &[Vec<f64>]| -> Vec<f64> {
            networks.iter().map(|calls| quantile(calls, percentile / 100.0)).collect()
        };
        let (known, others) = all.split_at(split);
        let mut tail = Tail::fit(percentile, &predicted, &of(known))?;
        if !others.is_empty() {
            let medians = table
                .validation_networks
                .iter()
                .map(|timing| Ok(table.predict(&space.network(&timing.genotype))?.median_s))
                .collect::<Result<Vec<f64>>>()?;
            let halves =
                halves.as_ref().map(|halves| halves.each_ref().map(|half| of(&half[split..])));
            let halves = halves.as_ref().map(|[first, second]| [&first[..], &second[..]]);
            tail.validation = Some(tail.judge(&medians, &of(others), halves));
        }
        table.tails.push(tail);
    }
    Ok(())
}

/// The calls of all these processes together, network by network.
fn pooled(processes: &[Vec<Vec<f64>>]) -> Vec<Vec<f64>> {
    let networks = processes.first().map_or(0, Vec::len);
    let of = |network: usize| {
        processes.iter().flat_map(|process| process[network].iter().copied()).collect()
    };
    (0..networks).map(of).collect()
}

/// Single calls of each network in a row: as many as are asked for, or as the highest percentile wants.
fn row(options: &ProfileOptions) -> usize {
    let highest = options.percentiles.iter().copied().fold(50.0, f64::max);
    let least = (BEYOND / (1.0 - highest / 100.0) - 1e-6).ceil() as usize;
    options.tail_calls.max(least).div_ceil(ROWS * options.processes)
}

/// Single calls of each network in one process of how many: those of whole rounds that the journal has, and the rest.
fn calls(
    networks: &[&Network],
    device: &mut dyn Device,
    options: &ProfileOptions,
    (process, planned): (usize, usize),
    (gate, journal): (&mut Gate, &mut Journal),
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Vec<f64>>> {
    let stage = format!("tails {process}");
    let mut rounds: Vec<Vec<Vec<f64>>> = journal.calls(&stage).cloned().collect();
    let mut models = Vec::new();
    if rounds.len() < ROWS {
        let whole: Vec<Model<'_>> = networks.iter().copied().map(Model::Network).collect();
        let mut random = Random::at(options.seed, "load for tails", &[process as u64]);
        models = load(device, &whole, &mut random, &mut |_, _| {})?;
        // What loading took is none of the first row's.
        options.protocol.warm_up(device, &models)?;
    }
    gate.bursts += rounds.len();
    let mut disturbed = Vec::new();
    for round in rounds.len()..ROWS {
        let mut order: Vec<usize> = (0..networks.len()).collect();
        Random::at(options.seed, "order of tails", &[process as u64, round as u64])
            .shuffle(&mut order);
        let order: Vec<_> = order.into_iter().map(|network| (network, models[network])).collect();
        let label = format!("single calls, process {} of {planned}", process + 1);
        let mut shown = |done: usize| {
            let (done, total) = (round * order.len() + done, ROWS * order.len());
            progress(Progress::new(label.clone(), done, total));
        };
        let (calls, disturbance) = quiet_round(device, &order, options, gate, &mut shown)?;
        // What is not clean is not kept.
        if disturbance.is_none() {
            journal.keep_calls(&stage, &calls)?;
            rounds.push(calls);
        } else {
            disturbed.push(calls);
        }
    }
    // Better a disturbed time than none.
    if rounds.is_empty() || options.accept_noise {
        rounds.append(&mut disturbed);
    }
    let of = |network: usize| rounds.iter().flat_map(|calls| calls[network].clone()).collect();
    Ok((0..networks.len()).map(of).collect())
}

/// A round that nothing disturbed, or the last of [`ATTEMPTS`] and what disturbed it.
fn quiet_round(
    device: &mut dyn Device,
    order: &[(usize, usize)],
    options: &ProfileOptions,
    gate: &mut Gate,
    shown: &mut dyn FnMut(usize),
) -> Result<(Vec<Vec<f64>>, Option<Disturbance>)> {
    gate.bursts += 1;
    let mut attempt = 1;
    loop {
        let Round { calls, load, throttled } = round(device, order, options, shown)?;
        let disturbance = if load.is_some_and(|load| load > options.protocol.load) {
            Some(Disturbance::Load)
        } else {
            throttled.then_some(Disturbance::Throttled)
        };
        match disturbance {
            Some(why) if attempt < ATTEMPTS && !options.accept_noise => {
                *gate.repeated.entry(why.name().to_owned()).or_default() += 1;
                attempt += 1;
            }
            _ => {
                gate.disturbed += usize::from(disturbance.is_some());
                gate.load = gate.load.into_iter().chain(load).reduce(f64::max);
                return Ok((calls, disturbance));
            }
        }
    }
}

/// A row of calls of each network.
struct Round {
    calls: Vec<Vec<f64>>,
    /// Cores that others used meanwhile, where the system tells it.
    load: Option<f64>,
    throttled: bool,
}

fn round(
    device: &mut dyn Device,
    order: &[(usize, usize)],
    options: &ProfileOptions,
    shown: &mut dyn FnMut(usize),
) -> Result<Round> {
    let row = row(options);
    let mut calls = vec![Vec::new(); order.len()];
    let (mut elapsed_s, mut others_s, mut throttled) = (0.0, Some(0.0), false);
    for (done, &(network, model)) in order.iter().enumerate() {
        shown(done);
        let (warm_up, warm_up_s) = (WARM_UP, options.protocol.warm_up_s);
        let (seconds, patience_s) = (0.0, PATIENCE_S);
        let burst = Burst { model, warm_up, warm_up_s, calls: row, seconds, patience_s };
        let ran = device.time(&[burst])?.into_iter().next();
        let ran = ran.ok_or_else(|| Error::Runtime("a row of calls has no times".into()))?;
        elapsed_s += ran.elapsed_s;
        others_s = others_s.zip(ran.others_s).map(|(sum, more)| sum + more);
        throttled |= ran.throttled;
        calls[network] = ran.calls;
    }
    let load = others_s.map(|others| (others / elapsed_s).max(0.0));
    Ok(Round { calls, load, throttled })
}

/// A process's calls in reference-normalised seconds: the medians of all networks tell how fast it was.
fn normalised(calls: Vec<Vec<f64>>, known_s: &[f64]) -> Vec<Vec<f64>> {
    let speeds: Vec<f64> =
        calls.iter().zip(known_s).map(|(calls, known)| median(calls) / known).collect();
    let speed = median(&speeds);
    calls
        .into_iter()
        .map(|calls| calls.into_iter().map(|seconds| seconds / speed).collect())
        .collect()
}

fn summary(genotypes: &[Genotype], all: &[Vec<f64>], options: &ProfileOptions) -> Vec<TailTiming> {
    let timing = |(genotype, calls): (&Genotype, &Vec<f64>)| TailTiming {
        genotype: genotype.clone(),
        calls: calls.len(),
        median_s: median(calls),
        percentiles_s: options.percentiles.iter().map(|p| quantile(calls, p / 100.0)).collect(),
    };
    genotypes.iter().zip(all).map(timing).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_percentile_has_calls_beyond_it() {
        let of = |percentiles: &[f64]| {
            row(&ProfileOptions { percentiles: percentiles.to_vec(), ..ProfileOptions::default() })
        };
        assert_eq!(of(&[95.0, 99.0]), 500 / 25);
        assert_eq!(of(&[99.9, 95.0]), 5000 / 25);
    }

    #[test]
    fn a_process_is_as_fast_as_its_networks_say() {
        let calls = vec![vec![2.0, 2.0, 8.0], vec![6.0, 6.0, 6.0], vec![4.0, 20.0, 4.0]];
        let found = normalised(calls, &[1.0, 3.0, 2.0]);
        assert_eq!(found, [vec![1.0, 1.0, 4.0], vec![3.0; 3], vec![2.0, 10.0, 2.0]]);
    }
}
