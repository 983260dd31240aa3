//! Fresh networks against a table.

use std::collections::HashSet;

use netfit_latency_tables::{Hygiene, LatencyTable, NetworkTiming, Reference, Validation};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Device, Model, ProfileOptions, Progress, Result,
    anchors::Anchors,
    draw::draw,
    gate::judge,
    journal::{Header, Journal},
    whole::{time, truths},
};

/// Whole networks that were timed after their table was made.
#[derive(Clone, Debug)]
pub struct TimedNetworks {
    /// In the table's normalised seconds.
    pub networks: Vec<NetworkTiming>,
    /// The table's reference network, with its raw seconds in each process of now: the quotient of these and its
    /// `median_s` turns normalised seconds into raw ones.
    pub reference: Reference,
    /// Whether the machine was quiet.
    pub hygiene: Hygiene,
}

/// Times whole networks beside some of the table's own.
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
) -> Result<TimedNetworks> {
    table.check_space(space)?;
    options.check()?;
    let journal = &mut Journal::none();
    time_beside((table, space), device, genotypes, options, journal, progress)
}

/// The table is of this space, and the options make sense.
fn time_beside(
    (table, space): (&LatencyTable, &Space),
    device: &mut dyn Device,
    genotypes: &[Genotype],
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<TimedNetworks> {
    let networks: Vec<Network> = genotypes.iter().map(|genotype| space.network(genotype)).collect();
    let models: Vec<Model<'_>> = networks.iter().map(Model::Network).collect();
    let parameters: Vec<u64> = networks.iter().map(|network| network.parameters().0).collect();
    let anchors = Anchors::of(table, space, models.len())?;
    let timed = time(device, (&models, &parameters), &anchors, options, journal, progress)?;
    Ok(TimedNetworks {
        networks: timed.networks(genotypes),
        hygiene: Hygiene {
            processes_at_another_speed: timed.elsewhere,
            ..judge(&timed.gates, options)?
        },
        reference: timed.reference,
    })
}

/// Judges a table on `count` random networks that it has not seen, drawn from `options.seed`; whether the device is the
/// table's is for the caller to check.
///
/// # Errors
/// As [`time_networks`], a space with too few networks, or a journal of another table, of other options or of another
/// number of networks.
pub fn validate(
    table: &LatencyTable,
    space: &Space,
    device: &mut dyn Device,
    count: usize,
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Validation, TimedNetworks)> {
    // Before a journal is begun.
    table.check_space(space)?;
    options.check()?;
    let seen = table.calibration_networks.iter().chain(&table.validation_networks);
    let seen: HashSet<Genotype> = seen.map(|timing| timing.genotype.clone()).collect();
    let mut random = Random::new(options.seed, "validated networks");
    let drawn = draw(space, count, &seen, &mut random)?;
    let header = Header::beside(table, device.fingerprint(), options, count);
    let journal = &mut Journal::open(options.journal.as_deref(), header)?;
    let timed = time_beside((table, space), device, &drawn, options, journal, progress)?;
    Ok((Validation::judge(table, &truths(space, &timed.networks))?, timed))
}
