//! Block times, measured in two ways. Which of them a table uses is for its calibration to say.

mod in_place;
mod neighbours;

use std::collections::BTreeMap;

use netfit_latency_tables::{Entry, Source, Timing};
use netfit_spaces::Space;

use self::{in_place::InPlace, neighbours::Neighbours};
use crate::{
    Device, Error, ProfileOptions, Progress, Result,
    gate::until_clean,
    journal::{Journal, Part},
    states::parts_measured,
};

/// Name of the source whose times are the runtime's own record of whole networks.
pub const IN_PLACE: &str = "in-place";
/// Name of the source whose times are those of blocks between two cheap neighbours.
pub const NEIGHBOURS: &str = "neighbours";

/// How blocks are measured.
pub(crate) struct Ways {
    in_place: Option<InPlace>,
    neighbours: Neighbours,
}

/// What was measured by each way.
pub(crate) type Parts = BTreeMap<&'static str, Vec<Part>>;

impl Ways {
    /// Both ways, for every block of a space; only between neighbours where the device cannot tell where the time of whole
    /// networks goes.
    pub(crate) fn of(space: &Space, device: &dyn Device) -> Result<Self> {
        let in_place = device.traces().then(|| InPlace::of(space, device));
        Ok(Self { in_place, neighbours: Neighbours::of(space, device)? })
    }

    pub(crate) fn measure(
        &self,
        process: usize,
        device: &mut dyn Device,
        options: &ProfileOptions,
        journal: &mut Journal,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Parts> {
        let mut parts = Parts::new();
        if let Some(in_place) = &self.in_place {
            parts.insert(IN_PLACE, in_place.measure(process, device, options, journal, progress)?);
        }
        let between = self.neighbours.measure(process, device, options, journal, progress)?;
        parts.insert(NEIGHBOURS, between);
        Ok(parts)
    }
}

/// Of what each process has measured that which is of the measured state, and how many parts are not. Whole networks were
/// `slower` by so much beside each; states differ by more than `drift`.
pub(crate) fn of_measured_state(
    processes: Vec<Parts>,
    slower: &[f64],
    drift: f64,
) -> (Parts, usize) {
    let mut alike: BTreeMap<(&'static str, usize), Vec<Part>> = BTreeMap::new();
    for (name, parts) in processes.into_iter().flatten() {
        for (group, part) in parts.into_iter().enumerate() {
            alike.entry((name, group)).or_default().push(part);
        }
    }
    let (mut kept, mut elsewhere) = (Parts::new(), 0);
    for ((name, _), parts) in alike {
        let measured = parts_measured(&parts, slower, drift);
        elsewhere += measured.iter().filter(|measured| !**measured).count();
        let measured = parts.into_iter().zip(measured).filter(|(_, measured)| *measured);
        kept.entry(name).or_default().extend(measured.map(|(part, _)| part));
    }
    (kept, elsewhere)
}

/// The sources that were measured.
pub(crate) fn sources(parts: &Parts) -> Result<BTreeMap<String, Source>> {
    parts.iter().map(|(name, parts)| Ok(((*name).to_owned(), source(parts)?))).collect()
}

/// Takes a part from the journal, or measures it, again where it was disturbed, and keeps it there once it is clean.
fn part(
    stage: &str,
    options: &ProfileOptions,
    journal: &mut Journal,
    mut measure: impl FnMut() -> Result<Part>,
) -> Result<Part> {
    if let Some(part) = journal.part(stage) {
        return Ok(part.clone());
    }
    let part = until_clean(options, |_| measure(), |part| part.gate.clone())?;
    journal.keep_part(stage, &part)?;
    Ok(part)
}

/// The summary of all parts' samples.
fn source(parts: &[Part]) -> Result<Source> {
    let timing = |what: &str, samples: &[f64]| {
        Timing::of(samples)
            .ok_or_else(|| Error::Runtime(format!("no time was recorded for {what}")))
    };
    let mut blocks: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for (line, (seconds, kernels)) in parts.iter().flat_map(|part| &part.blocks) {
        let (all_seconds, all_kernels) = blocks.entry(line).or_default();
        all_seconds.extend(seconds);
        all_kernels.extend(kernels);
    }
    let entry = |(line, (seconds, kernels)): (&str, (Vec<f64>, Vec<f64>))| -> Result<_> {
        let kernels = kernels.iter().sum::<f64>() / kernels.len() as f64;
        Ok((line.to_owned(), Entry { timing: timing(&format!("`{line}`"), &seconds)?, kernels }))
    };
    let overhead: Vec<f64> = parts.iter().flat_map(|part| part.overhead.clone()).collect();
    Ok(Source {
        entries: blocks.into_iter().map(entry).collect::<Result<_>>()?,
        overhead: timing("a whole call", &overhead)?,
    })
}
