//! Whole networks: which are drawn, how long they take side by side, and whether the machine was quiet.

use std::collections::{BTreeMap, HashSet};

use netfit_latency_tables::{Hygiene, LatencyTable, NetworkTiming, Reference, Verdict, median};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Device, Error, Model, ProfileOptions, Progress, Result,
    journal::{Gate, Journal, Whole},
    levels::Levels,
    protocol::{Sample, Sitting, moments},
};

/// Networks of a table beside which others are measured, besides its reference network.
const ANCHORS: usize = 7;
/// Bytes that the models of one process may take, as far as their parameters tell.
const MEMORY: u64 = 4 << 30;
/// A runtime's copies of a parameter: the file's, its own, and one in the layout of its kernels.
const PARAMETER_BYTES: u64 = 12;

/// Networks with their latencies, one for each process.
pub(crate) fn truths(space: &Space, timings: &[NetworkTiming]) -> Vec<(Network, Vec<f64>)> {
    timings
        .iter()
        .map(|timing| (space.network(&timing.genotype), timing.processes_s.clone()))
        .collect()
}

/// Distinct random genotypes outside `known`.
pub(crate) fn draw(
    space: &Space,
    count: usize,
    known: &HashSet<Genotype>,
    random: &mut Random,
) -> Result<Vec<Genotype>> {
    let mut seen = known.clone();
    let mut drawn = Vec::new();
    for _ in 0..100 * count {
        if drawn.len() == count {
            break;
        }
        let genotype = space.sample(random);
        if seen.insert(genotype.clone()) {
            drawn.push(genotype);
        }
    }
    if drawn.len() == count {
        return Ok(drawn);
    }
    Err(Error::TooSmall { space: space.name().to_owned(), found: drawn.len(), expected: count })
}

/// Networks whose reference-normalised seconds are known, and to which those of others refer. The first one is the
/// reference network.
pub(crate) struct Anchors {
    networks: Vec<Network>,
    /// None: nothing is known yet, and the average process of these measurements becomes the measure.
    known_s: Option<Vec<f64>>,
}

impl Anchors {
    /// The network in the middle of the covering set, of full depth and medium speed, and others of that set; nothing is
    /// known of them yet.
    pub(crate) fn new(space: &Space) -> Self {
        let covering = space.covering();
        let middle = covering.len() / 2;
        let step = covering.len().div_ceil(ANCHORS).max(1);
        let others = (0..covering.len()).step_by(step).filter(|&index| index != middle);
        let chosen = std::iter::once(middle).chain(others);
        let networks = chosen.map(|index| space.network(&covering[index])).collect();
        Self { networks, known_s: None }
    }

    /// A table's reference network, and some of its calibration from the fastest to the slowest.
    pub(crate) fn of(table: &LatencyTable, space: &Space) -> Result<Self> {
        let mut networks = vec![table.reference.network.parse()?];
        let mut known_s = vec![table.reference.median_s];
        let mut others: Vec<&NetworkTiming> = table.calibration_networks.iter().collect();
        others.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let step = others.len().div_ceil(ANCHORS).max(1);
        for timing in others.iter().skip(step / 2).step_by(step) {
            networks.push(space.network(&timing.genotype));
            known_s.push(timing.seconds);
        }
        Ok(Self { networks, known_s: Some(known_s) })
    }
}

/// Relative standard error of what a later measurement knows of its processes' speed: it comes from as many anchors as
/// there are, whose times then and now are as exact as the processes here agree with each other.
pub(crate) fn anchor_error(timings: &[NetworkTiming]) -> f64 {
    let squares: Vec<f64> = timings
        .iter()
        .filter_map(|timing| match timing.processes_s[..] {
            [first, second, ..] => Some((first / second).ln().powi(2)),
            _ => None,
        })
        .collect();
    if squares.is_empty() {
        return 0.0;
    }
    let difference = squares.iter().sum::<f64>() / squares.len() as f64;
    (difference / (2 * (ANCHORS + 1)) as f64).sqrt()
}

/// Models that were timed beside the anchors.
pub(crate) struct Timed {
    pub(crate) models: Vec<ModelTiming>,
    pub(crate) reference: Reference,
    pub(crate) hygiene: Hygiene,
}

/// How long one model takes.
pub(crate) struct ModelTiming {
    /// Reference-normalised seconds in each process.
    pub(crate) processes_s: Vec<f64>,
    /// Raw seconds in each process.
    pub(crate) raw_s: Vec<f64>,
    /// Every burst in units of the reference network, the drift taken away.
    pub(crate) ratios: Vec<f64>,
}

impl Timed {
    pub(crate) fn networks(&self, genotypes: &[Genotype]) -> Vec<NetworkTiming> {
        let timing = |(genotype, model): (&Genotype, &ModelTiming)| NetworkTiming {
            genotype: genotype.clone(),
            seconds: model.processes_s.iter().sum::<f64>() / model.processes_s.len() as f64,
            processes_s: model.processes_s.clone(),
            ratios: model.ratios.clone(),
        };
        genotypes.iter().zip(&self.models).map(timing).collect()
    }
}

/// Models that share a process, by their places among all.
struct Group(Vec<usize>);

/// Times whole models in `options.processes` processes beside the anchors. `parameters` are the models' (for the
/// memory that they take).
pub(crate) fn time(
    device: &mut dyn Device,
    (models, parameters): (&[Model<'_>], &[u64]),
    anchors: &Anchors,
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<Timed> {
    let groups = groups(parameters);
    // Where all models share a process, they tie the processes together by themselves.
    let alone = groups.len() == 1 && anchors.known_s.is_none();
    let beside = if alone { 1 } else { anchors.networks.len() };
    let mut sittings: Vec<(Vec<usize>, Whole, Levels)> = Vec::new();
    for process in 0..options.processes {
        for (number, group) in groups.iter().enumerate() {
            let sitting = number + process * groups.len();
            let label = format!("{} of {}", sitting + 1, options.processes * groups.len());
            let mut loaded: Vec<Model<'_>> =
                anchors.networks[..beside].iter().map(Model::Network).collect();
            loaded.extend(group.0.iter().map(|&model| models[model]));
            let whole = sit(device, &loaded, (sitting, &label), options, journal, progress)?;
            let places = (0..beside).chain(group.0.iter().map(|&model| beside + model)).collect();
            let split = Levels::of(&moments(&whole.samples), loaded.len());
            sittings.push((places, whole, split));
        }
    }
    let gates: Vec<&Gate> = sittings.iter().map(|(_, whole, _)| &whole.gate).collect();
    let hygiene = judge(&gates, options)?;
    let known: Option<Vec<f64>> =
        anchors.known_s.as_ref().map(|known| known.iter().map(|s| s.ln()).collect());
    let views: Vec<View<'_>> =
        sittings.iter().map(|(places, whole, split)| View { places, whole, split }).collect();
    let (shifts, levels) = align(&views, known.as_deref(), beside + models.len());
    let timing = |model: usize| timing(&views, &shifts, levels[0], beside + model);
    let reference = &anchors.networks[0];
    Ok(Timed {
        models: (0..models.len()).map(timing).collect(),
        reference: Reference {
            network: reference.text(),
            median_s: levels[0].exp(),
            processes_s: views.iter().map(|view| view.split.models[0].exp()).collect(),
        },
        hygiene,
    })
}

/// Loads models into a fresh process and times them side by side; a sitting that the journal has is not repeated.
pub(crate) fn sit(
    device: &mut dyn Device,
    models: &[Model<'_>],
    (number, label): (usize, &str),
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<Whole> {
    let stage = format!("networks {number}");
    if let Some(whole) = journal.whole(&stage) {
        return Ok(whole.clone());
    }
    let before = journal.rounds(&stage);
    device.restart()?;
    let mut loaded = Vec::new();
    for (done, model) in models.iter().enumerate() {
        progress(Progress::new(format!("loading networks, process {label}"), done, models.len()));
        loaded.push(device.load(*model)?);
    }
    let launch = before.len() as u64;
    let mut random = Random::at(options.seed, "order of networks", &[number as u64, launch]);
    let sitting = options.protocol.measure(
        device,
        &loaded,
        before,
        &mut random,
        &mut |round| journal.keep_round(&stage, round),
        &mut |done, total| {
            progress(Progress::new(format!("timing networks, process {label}"), done, total));
        },
    )?;
    let whole = Whole { gate: sitting.gate(), samples: sitting.samples };
    journal.keep_whole(&stage, &whole)?;
    Ok(whole)
}

impl Sitting {
    pub(crate) fn gate(&self) -> Gate {
        let drifts = &self.split.drifts;
        let tenth = drifts.len().div_ceil(10).max(1);
        let drift = drifts.chunks(tenth).map(|drifts| median(drifts).exp_m1().abs());
        Gate {
            bursts: self.samples.len(),
            disturbed: self.disturbed,
            repeated: self.repeated.clone(),
            load: self.load,
            frequency_change: self.frequency_change,
            drift: drift.fold(0.0, f64::max),
        }
    }
}

/// The verdict over all gates; an error where it is not clean and noise is not accepted.
pub(crate) fn judge(gates: &[&Gate], options: &ProfileOptions) -> Result<Hygiene> {
    let largest =
        |of: fn(&Gate) -> Option<f64>| gates.iter().filter_map(|gate| of(gate)).reduce(f64::max);
    let bursts = gates.iter().map(|gate| gate.bursts).sum();
    let disturbed = gates.iter().map(|gate| gate.disturbed).sum();
    let drift = gates.iter().map(|gate| gate.drift).fold(0.0, f64::max);
    let accepted = options.protocol.accepted;
    // Each by itself: a clean part does not excuse another.
    let clean = gates.iter().all(|gate| gate.disturbed as f64 <= accepted * gate.bursts as f64);
    let mut repeated_for: BTreeMap<String, usize> = BTreeMap::new();
    for (why, count) in gates.iter().flat_map(|gate| &gate.repeated) {
        *repeated_for.entry(why.clone()).or_default() += count;
    }
    if !clean && !options.accept_noise {
        let mut reasons: Vec<String> =
            repeated_for.iter().map(|(why, count)| format!("{count} for {why}")).collect();
        reasons.sort();
        let reasons = reasons.join(", ");
        return Err(Error::Disturbed { disturbed, bursts, reasons, accepted, drift });
    }
    Ok(Hygiene {
        verdict: if clean { Verdict::Clean } else { Verdict::NoiseAccepted },
        bursts,
        repeated: repeated_for.values().sum(),
        disturbed,
        reference_drift: drift,
        load: largest(|gate| gate.load),
        frequency_change: largest(|gate| gate.frequency_change),
        repeated_for,
    })
}

/// Parts of the models that fit into a process's memory, of about equal size.
fn groups(parameters: &[u64]) -> Vec<Group> {
    let bytes: u64 = parameters.iter().map(|count| count * PARAMETER_BYTES).sum();
    let count =
        usize::try_from(bytes.div_ceil(MEMORY)).unwrap_or(1).clamp(1, parameters.len().max(1));
    // Dealt out like cards: each group has models from everywhere.
    (0..count).map(|first| Group((first..parameters.len()).step_by(count).collect())).collect()
}

/// A sitting, and which of all models its own are.
struct View<'a> {
    places: &'a [usize],
    whole: &'a Whole,
    split: &'a Levels,
}

/// How much slower than normal each sitting was, and the normal level of each model (logarithms). A sitting's shift is
/// the median over those of its models that are known or, where none is, that all sittings have measured.
fn align(views: &[View<'_>], known: Option<&[f64]>, models: usize) -> (Vec<f64>, Vec<f64>) {
    let mut shifts = vec![0.0; views.len()];
    let mut levels = vec![f64::NAN; models];
    let mut seen = vec![0; models];
    views.iter().flat_map(|view| view.places).for_each(|&place| seen[place] += 1);
    let fixed = known.map_or(0, <[f64]>::len);
    for _ in 0..20 {
        for (place, level) in levels.iter_mut().enumerate() {
            let found = views.iter().zip(&shifts).filter_map(|(view, shift)| {
                let own = view.places.iter().position(|&known| known == place)?;
                Some(view.split.models[own] - shift)
            });
            let found: Vec<f64> = found.collect();
            *level = found.iter().sum::<f64>() / found.len() as f64;
        }
        if let Some(known) = known {
            levels[..fixed].copy_from_slice(known);
        }
        for (shift, view) in shifts.iter_mut().zip(views) {
            let shared = view.places.iter().enumerate().filter(|&(_, &place)| {
                if known.is_some() { place < fixed } else { seen[place] == views.len() }
            });
            let apart: Vec<f64> =
                shared.map(|(own, &place)| view.split.models[own] - levels[place]).collect();
            *shift = median(&apart);
        }
        if known.is_none() {
            let middle = shifts.iter().sum::<f64>() / shifts.len() as f64;
            for shift in &mut shifts {
                *shift -= middle;
            }
        }
    }
    (shifts, levels)
}

fn timing(views: &[View<'_>], shifts: &[f64], reference: f64, place: usize) -> ModelTiming {
    let mut timing = ModelTiming { processes_s: Vec::new(), raw_s: Vec::new(), ratios: Vec::new() };
    for (view, shift) in views.iter().zip(shifts) {
        let Some(own) = view.places.iter().position(|&known| known == place) else { continue };
        let level = view.split.models[own];
        timing.processes_s.push((level - shift).exp());
        timing.raw_s.push(level.exp());
        let bursts = view.whole.samples.iter().zip(&view.split.drifts);
        let ratio = |(sample, drift): (&Sample, &f64)| {
            (sample.model == own).then(|| (sample.seconds.ln() - drift - shift - reference).exp())
        };
        timing.ratios.extend(bursts.filter_map(ratio));
    }
    timing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(levels: &[f64]) -> Levels {
        Levels { models: levels.to_vec(), drifts: Vec::new(), residuals: Vec::new() }
    }

    fn aligned(sittings: &[(Vec<usize>, Levels)], known: Option<&[f64]>) -> (Vec<f64>, Vec<f64>) {
        let whole = Whole { samples: Vec::new(), gate: Gate::default() };
        let views: Vec<View<'_>> =
            sittings.iter().map(|(places, split)| View { places, whole: &whole, split }).collect();
        align(&views, known, 5)
    }

    #[test]
    fn processes_of_different_speed_agree_on_ratios() {
        let all = || (0..5).collect::<Vec<_>>();
        let sittings = [
            (all(), levels(&[1.0, 2.0, 3.0, 4.0, 5.0])),
            (all(), levels(&[1.2, 2.2, 3.2, 4.2, 5.9])),
        ];
        let (shifts, found) = aligned(&sittings, None);
        assert!((shifts[1] - shifts[0] - 0.2).abs() < 1e-9, "{shifts:?}");
        assert!((found[1] - found[0] - 1.0).abs() < 1e-9 && (found[0] - 1.1).abs() < 1e-9);
    }

    #[test]
    fn groups_are_tied_together_by_what_they_share_or_what_is_known() {
        // Places 0 and 1 are in both groups.
        let sittings = [
            (vec![0, 1, 2], levels(&[1.0, 2.0, 3.0])),
            (vec![0, 1, 3, 4], levels(&[1.5, 2.5, 4.5, 5.5])),
        ];
        let (_, found) = aligned(&sittings, None);
        let apart: Vec<f64> = found.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(apart.iter().all(|apart| (apart - 1.0).abs() < 1e-6), "{found:?}");
        let (shifts, found) = aligned(&sittings, Some(&[0.0, 1.0]));
        assert!((shifts[0] - 1.0).abs() < 1e-9 && (shifts[1] - 1.5).abs() < 1e-9, "{shifts:?}");
        assert!((found[4] - 4.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn models_beyond_the_memory_are_dealt_into_groups() {
        let large = vec![200_000_000; 7];
        let groups = groups(&large);
        assert_eq!(groups.len(), 4);
        assert_eq!(groups[1].0, [1, 5]);
        assert_eq!(super::groups(&[5; 40]).len(), 1);
        assert_eq!(super::groups(&[]).len(), 1);
    }
}
