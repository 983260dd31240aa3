//! Latency tables of search spaces.

use std::{collections::HashSet, path::PathBuf};

use netfit_latency_tables::{Calibration, Hygiene, LEAST_NETWORKS, LatencyTable, Validation};
use netfit_spaces::{Genotype, Network, Random, Space};
use serde::{Deserialize, Serialize};

use crate::{
    Device, Error, Model, Progress, Protocol, Result,
    anchors::Anchors,
    draw::{draw, draw_spread},
    gate::{Gate, judge, launch_bound_share},
    journal::{Header, Journal},
    sources::{Parts, Ways, of_measured_state, sources},
    tails,
    whole::{Timed, time_after, truths},
};

/// How a latency table is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileOptions {
    /// Networks of the calibration, at least 19: one half random, the other spread evenly over multiply-adds.
    pub calibration: usize,
    /// Networks of the validation; with 0 there is none.
    pub validation: usize,
    /// Processes in which everything is measured: they differ in speed, and so do models from one to the next.
    pub processes: usize,
    /// How models are timed side by side.
    pub protocol: Protocol,
    /// Shuffled passes over the covering networks at least, of all processes together.
    pub passes: usize,
    /// Percentiles of single calls that are measured too, each above 50 and below 100.
    pub percentiles: Vec<f64>,
    /// Single calls of each network for these at least, of all processes together; five lie beyond the highest percentile.
    pub tail_calls: usize,
    /// Which networks are drawn, and in which order they are measured.
    pub seed: u64,
    /// Whether a table of a disturbed machine is made all the same, and marked.
    pub accept_noise: bool,
    /// Where what was measured is kept until the table is made: a profile that was cut off goes on from it.
    pub journal: Option<PathBuf>,
}

impl Default for ProfileOptions {
    /// 40 networks of calibration, 16 of validation, 5 processes, 12 passes; no percentiles (500 calls each), no journal.
    fn default() -> Self {
        Self {
            calibration: 40,
            validation: 16,
            processes: 5,
            protocol: Protocol::default(),
            passes: 12,
            percentiles: Vec::new(),
            tail_calls: 500,
            seed: 0,
            accept_noise: false,
            journal: None,
        }
    }
}

/// Measures every block of `space` in two ways, then calibrates the sums of block times on random whole networks and
/// validates them on others.
///
/// # Errors
/// A device that fails, a space with too few networks, a journal of another profile, or a machine that was disturbed.
pub fn profile(
    space: &Space,
    device: &mut dyn Device,
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<LatencyTable> {
    options.check()?;
    let mut random = Random::new(options.seed, "profiled networks");
    let mut drawn = draw_spread(space, options.calibration, &HashSet::new(), &mut random)?;
    let known = drawn.iter().cloned().collect();
    drawn.extend(draw(space, options.validation, &known, &mut random)?);
    let header = Header::new(space.id(), device.fingerprint(), options);
    let mut journal = Journal::open(options.journal.as_deref(), header)?;
    let (timed, parts) = measure(space, device, &drawn, options, &mut journal, progress)?;
    let sources = sources(&parts)?;
    let blocks = parts.values().flatten().map(|part| &part.gate);
    let gates: Vec<Gate> = blocks.chain(&timed.gates).cloned().collect();
    let hygiene = Hygiene {
        processes_at_another_speed: timed.elsewhere,
        // Of whole networks: a block by itself is too short to fill a GPU.
        launch_bound: launch_bound_share(&timed.gates),
        ..judge(&gates, options)?
    };
    let mut calibration_networks = timed.networks(&drawn);
    let validation_networks = calibration_networks.split_off(options.calibration);
    let pairs: Vec<(Network, f64)> = calibration_networks
        .iter()
        .map(|timing| (space.network(&timing.genotype), timing.seconds))
        .collect();
    let calibration = Calibration::fit(&sources, &pairs)?.of_true_latency(&calibration_networks);
    let mut table = LatencyTable {
        space_id: space.id().to_owned(),
        space_name: space.name().to_owned(),
        space: Some(space.spec().clone()),
        fingerprint: device.fingerprint(),
        reference: timed.reference,
        calibration,
        sources,
        validation: None,
        hygiene,
        calibration_networks,
        validation_networks,
        tails: Vec::new(),
        tail_networks: Vec::new(),
        seed: options.seed,
        seconds: 0.0,
    };
    if options.validation > 0 {
        let truths = truths(space, &table.validation_networks);
        table.validation = Some(Validation::judge(&table, &truths)?);
    }
    tails::add(&mut table, space, device, options, &mut journal, progress)?;
    table.seconds = journal.seconds();
    Ok(table)
}

/// Whole networks and blocks in turn: so that both are of one state of the machine. What was measured in another does not
/// count.
fn measure(
    space: &Space,
    device: &mut dyn Device,
    genotypes: &[Genotype],
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Timed, Parts)> {
    let networks: Vec<Network> = genotypes.iter().map(|genotype| space.network(genotype)).collect();
    let models: Vec<Model<'_>> = networks.iter().map(Model::Network).collect();
    let parameters: Vec<u64> = networks.iter().map(|network| network.parameters().0).collect();
    let ways = Ways::of(space, device)?;
    let mut parts = Vec::new();
    let mut blocks = |process,
                      device: &mut dyn Device,
                      journal: &mut Journal,
                      progress: &mut dyn FnMut(Progress)| {
        parts.push(ways.measure(process, device, options, journal, progress)?);
        Ok(())
    };
    let (models, anchors) = ((&models[..], &parameters[..]), Anchors::new(space));
    let mut timed = time_after(&mut blocks, device, models, &anchors, options, journal, progress)?;
    let (parts, elsewhere) = of_measured_state(parts, &timed.slower, options.protocol.drift);
    timed.elsewhere += elsewhere;
    Ok((timed, parts))
}

impl ProfileOptions {
    /// For GPUs: 4 processes, since starting one takes seconds, and 2 calls of a burst that do not count. Between bursts a
    /// GPU keeps its kernels, and what a call leaves in its cache it leaves for the next.
    pub fn of_gpu() -> Self {
        let protocol = Protocol { warm_up: 2, ..Protocol::default() };
        Self { processes: 4, protocol, ..Self::default() }
    }

    /// The protocol; where noise is accepted, its end is not waited for.
    pub(crate) fn measuring(&self) -> Protocol {
        let wait_s = if self.accept_noise { 0.0 } else { self.protocol.wait_s };
        Protocol { wait_s, ..self.protocol.clone() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.protocol.check()?;
        let wrong = |what, least: usize, found: usize| {
            let expected = format!("at least {least}");
            (found < least).then(|| Error::Setting { what, expected, found: found.to_string() })
        };
        let percentile = self.percentiles.iter().find(|p| !(**p > 50.0 && **p <= tails::HIGHEST));
        let percentile = percentile.map(|found| Error::Setting {
            what: "percentile",
            expected: format!("more than 50 and at most {}", tails::HIGHEST),
            found: found.to_string(),
        });
        let wrong = wrong("networks of the calibration", LEAST_NETWORKS, self.calibration)
            .or(wrong("processes", 1, self.processes))
            .or(wrong("passes over the covering networks", 1, self.passes))
            .or(wrong("single calls of a network", 100, self.tail_calls))
            .or(percentile);
        wrong.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
