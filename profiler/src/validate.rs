//! Fresh networks against a table.

use std::collections::HashSet;

use netfit_latency_tables::{Hygiene, LatencyTable, NetworkTiming, Validation};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Device, Model, ProfileOptions, Progress, Result,
    journal::Journal,
    whole::{Anchors, draw, time, truths},
};

/// Times whole networks beside some of the table's own, in the table's normalised seconds.
///
/// # Errors
/// A table of another space, a device that fails, or a machine that was disturbed.
pub fn time_networks(
    table: &LatencyTable,
    space: &Space,
    device: &mut dyn Device,
    genotypes: &[Genotype],
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<NetworkTiming>, Hygiene)> {
    table.check_space(space)?;
    options.check()?;
    let networks: Vec<Network> = genotypes.iter().map(|genotype| space.network(genotype)).collect();
    let models: Vec<Model<'_>> = networks.iter().map(Model::Network).collect();
    let parameters: Vec<u64> = networks.iter().map(|network| network.parameters().0).collect();
    let anchors = Anchors::of(table, space)?;
    let journal = &mut Journal::none();
    let timed = time(device, (&models, &parameters), &anchors, options, journal, progress)?;
    Ok((timed.networks(genotypes), timed.hygiene))
}

/// Judges a table on `count` random networks that it has not seen, drawn from `options.seed`; whether the device is the
/// table's is for the caller to check.
///
/// # Errors
/// As [`time_networks`], and a space with too few networks.
pub fn validate(
    table: &LatencyTable,
    space: &Space,
    device: &mut dyn Device,
    count: usize,
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Validation, Vec<NetworkTiming>, Hygiene)> {
    let seen = table.calibration_networks.iter().chain(&table.validation_networks);
    let seen: HashSet<Genotype> = seen.map(|timing| timing.genotype.clone()).collect();
    let mut random = Random::new(options.seed, "validated networks");
    let drawn = draw(space, count, &seen, &mut random)?;
    let (timings, hygiene) = time_networks(table, space, device, &drawn, options, progress)?;
    Ok((Validation::judge(table, &truths(space, &timings))?, timings, hygiene))
}
