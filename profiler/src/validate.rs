//! Fresh networks against a table.

use std::collections::HashSet;

use netfit_latency_tables::{Hygiene, LatencyTable, NetworkTiming, Validation};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Device, ProfileOptions, Progress, Result,
    whole::{draw, time, truths},
};

/// Times whole networks beside the table's reference network, in the table's normalised seconds.
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
    let reference: Network = table.reference.network.parse()?;
    let scale_s = Some(table.reference.median_s);
    let timed = time(space, device, genotypes, &reference, scale_s, options, progress)?;
    Ok((timed.networks, timed.hygiene))
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
