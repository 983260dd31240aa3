//! Blocks where they run: the runtime's own record of whole networks that together hold every block.

use netfit_spaces::{Network, Random, Space};

use super::{IN_PLACE, part};
use crate::{
    BlockTimes, Device, Model, ProfileOptions, Progress, Protocol, Result,
    journal::{Journal, Part},
    memory,
    protocol::load,
    samples::Sample,
};

/// Covering networks that share a process at most: as many as an elastic space of three kernels and three expansions has.
const TOGETHER: usize = 9;
/// Passes of a process where times are noisy: a record of more would take longer to read than to make.
const MOST_PASSES: usize = 6;
/// Timed calls of a burst: a record grows with each, so their number is fixed.
const CALLS: usize = 3;

/// Networks that together hold every block, and how many of them share a process.
pub(super) struct InPlace(Vec<Network>, usize);

impl InPlace {
    pub(super) fn of(space: &Space, device: &dyn Device) -> Self {
        let networks: Vec<Network> =
            space.covering().iter().map(|genotype| space.network(genotype)).collect();
        let largest = networks.iter().map(|network| device.bytes(network)).max().unwrap_or(0);
        Self(networks, TOGETHER.min(memory::room_for(largest)))
    }

    /// A part for each group of these networks.
    pub(super) fn measure(
        &self,
        process: usize,
        device: &mut dyn Device,
        options: &ProfileOptions,
        journal: &mut Journal,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Part>> {
        let groups: Vec<&[Network]> = self.0.chunks(self.1).collect();
        let mut parts = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            let number = process * groups.len() + number;
            let stage = format!("{IN_PLACE} {number}");
            let total = options.processes * groups.len();
            let mut told = |done: usize, of: usize| {
                let label = format!("blocks in whole networks, process {} of {total}", number + 1);
                progress(Progress::new(label, done, of));
            };
            let mut random =
                Random::at(options.seed, "order of covering networks", &[number as u64]);
            parts.push(part(&stage, options, journal, || {
                record(group, device, options, &mut random, &mut told)
            })?);
        }
        Ok(parts)
    }
}

/// One process: passes over the networks, then their records.
fn record(
    networks: &[Network],
    device: &mut dyn Device,
    options: &ProfileOptions,
    random: &mut Random,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Part> {
    let passes = options.passes.div_ceil(options.processes).max(3);
    let protocol = Protocol {
        rounds: passes,
        most_rounds: passes.max(MOST_PASSES),
        calls: CALLS,
        burst_s: 0.0,
        ..options.measuring()
    };
    let traced: Vec<Model<'_>> = networks.iter().map(Model::Traced).collect();
    let models = load(device, &traced, random, &mut |_, _| {})?;
    let keep = &mut |_: &[Sample]| Ok(());
    let sitting = protocol.measure(device, &models, Vec::new(), random, keep, progress)?;
    let mut part = Part { gate: sitting.gate(), ..Part::default() };
    for (model, network) in networks.iter().enumerate() {
        let times = device.trace(models[model])?;
        let bursts = sitting.samples.iter().zip(&sitting.split.drifts);
        let counting: Vec<(usize, f64)> = bursts
            .filter(|(sample, _)| sample.model == model)
            .flat_map(|(sample, drift)| {
                (sample.burst * CALLS..(sample.burst + 1) * CALLS).map(move |call| (call, *drift))
            })
            .collect();
        part.add(network, &times, &counting);
    }
    Ok(part)
}

impl Part {
    /// Adds what was recorded of those calls of a network that count, the machine's drift taken away.
    fn add(&mut self, network: &Network, times: &BlockTimes, counting: &[(usize, f64)]) {
        let still = |samples: &[f64]| {
            counting.iter().map(|&(call, drift)| samples[call] / drift.exp()).collect::<Vec<_>>()
        };
        let recorded = times.blocks.iter().zip(&times.kernels);
        for (block, (samples, kernels)) in network.blocks().iter().zip(recorded) {
            let (all_seconds, all_kernels) = self.blocks.entry(block.to_string()).or_default();
            all_seconds.extend(still(samples));
            all_kernels.push(*kernels);
        }
        self.overhead.extend(still(&times.overhead));
    }
}
