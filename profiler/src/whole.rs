//! Whole networks: how long they take side by side, and whether the machine was quiet.

use std::collections::BTreeMap;

use netfit_latency_tables::{NetworkTiming, Reference};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Device, Error, Model, ProfileOptions, Progress, Result,
    anchors::Anchors,
    gate::{Gate, Sitting, judge},
    journal::{Journal, Whole},
    levels::Levels,
    protocol::load,
    samples::{Sample, moments},
    speed::{Known, Pace, Speed, average, centred, common},
    weights::weights,
};

/// How often a disturbed process is measured again in a new one.
const AGAIN: u64 = 2;
/// Bytes that the models of one process may take, as far as their parameters tell.
const MEMORY: u64 = 4 << 30;
/// What a parameter takes in a runtime, and half as much again: a hundred networks of five million parameters made
/// ONNX Runtime's process 4.2 bytes larger for each.
const PARAMETER_BYTES: u64 = 6;

/// Networks with their latencies.
pub(crate) fn truths<'a>(
    space: &Space,
    timings: &'a [NetworkTiming],
) -> Vec<(Network, &'a NetworkTiming)> {
    timings.iter().map(|timing| (space.network(&timing.genotype), timing)).collect()
}

/// Models that were timed beside the anchors.
pub(crate) struct Timed {
    pub(crate) models: Vec<ModelTiming>,
    pub(crate) reference: Reference,
    /// One for each process.
    pub(crate) gates: Vec<Gate>,
}

/// How long one model takes.
pub(crate) struct ModelTiming {
    /// Reference-normalised seconds in each process.
    pub(crate) processes_s: Vec<f64>,
    /// How much each process counts.
    pub(crate) weights: Vec<f64>,
    /// Raw seconds in each process.
    pub(crate) raw_s: Vec<f64>,
    /// Every burst in units of the reference network, the drift taken away.
    pub(crate) ratios: Vec<f64>,
}

impl ModelTiming {
    /// Reference-normalised seconds: the weighted mean over processes.
    pub(crate) fn seconds(&self) -> f64 {
        let weighted = self.processes_s.iter().zip(&self.weights).map(|(s, weight)| s * weight);
        weighted.sum::<f64>() / self.weights.iter().sum::<f64>()
    }
}

impl Timed {
    pub(crate) fn networks(&self, genotypes: &[Genotype]) -> Vec<NetworkTiming> {
        let timing = |(genotype, model): (&Genotype, &ModelTiming)| NetworkTiming {
            genotype: genotype.clone(),
            seconds: model.seconds(),
            processes_s: model.processes_s.clone(),
            weights: model.weights.clone(),
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
    let anchored = anchors.networks[..beside].iter().map(|network| network.parameters().0);
    let parameters: Vec<f64> =
        anchored.chain(parameters.iter().copied()).map(|count| count as f64).collect();
    let views: Vec<View<'_>> = sittings
        .iter()
        .map(|(places, whole, split)| View { places, parameters: &parameters, whole, split })
        .collect();
    let (paces, weights) = paces(&views, anchors.known_s.as_deref());
    let timing = |reference_s, place| timing(&views, (&paces, &weights), reference_s, place);
    let reference = timing(1.0, 0);
    let reference_s = match &anchors.known_s {
        Some(known_s) => known_s[0],
        None => reference.seconds(),
    };
    Ok(Timed {
        models: (0..models.len()).map(|model| timing(reference_s, beside + model)).collect(),
        reference: Reference {
            network: anchors.networks[0].text(),
            median_s: reference_s,
            processes_s: reference.raw_s,
        },
        gates: views.iter().map(|view| view.whole.gate.clone()).collect(),
    })
}

/// Loads models into a fresh process and times them side by side; a sitting that the journal has is not repeated. One that
/// was disturbed is: a minute of noise in one process should not cost all the others.
pub(crate) fn sit(
    device: &mut dyn Device,
    models: &[Model<'_>],
    place: (usize, &str),
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<Whole> {
    let stage = format!("networks {}", place.0);
    if let Some(whole) = journal.whole(&stage) {
        return Ok(whole.clone());
    }
    let mut attempt = 0;
    let sitting = loop {
        let sitting =
            sit_once(device, models, (place, &stage, attempt), options, journal, progress)?;
        // What is not clean is not kept.
        match judge(&[sitting.gate()], options) {
            Err(Error::Disturbed { .. }) if attempt < AGAIN => attempt += 1,
            Err(error) => return Err(error),
            Ok(_) => break sitting,
        }
    };
    let whole = Whole { gate: sitting.gate(), samples: sitting.samples };
    journal.keep_whole(&stage, &whole)?;
    Ok(whole)
}

/// A sitting; it goes on after the rounds of it that the journal has.
fn sit_once(
    device: &mut dyn Device,
    models: &[Model<'_>],
    ((number, label), stage, attempt): ((usize, &str), &str, u64),
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<Sitting> {
    let before = journal.rounds(stage);
    let launch = before.len() as u64 + attempt;
    let mut random = Random::at(options.seed, "order of networks", &[number as u64, launch]);
    let loaded = load(device, models, &mut random, &mut |done, total| {
        progress(Progress::new(format!("loading networks, process {label}"), done, total));
    })?;
    options.measuring().measure(
        device,
        &loaded,
        before,
        &mut random,
        &mut |round| journal.keep_round(stage, round),
        &mut |done, total| {
            progress(Progress::new(format!("timing networks, process {label}"), done, total));
        },
    )
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
    /// Of all models, by their places.
    parameters: &'a [f64],
    whole: &'a Whole,
    split: &'a Levels,
}

impl View<'_> {
    /// The level of the model at that place; none where it is not of this sitting.
    fn level(&self, place: usize) -> Option<f64> {
        let own = self.places.iter().position(|&known| known == place)?;
        Some(self.split.models[own])
    }

    /// Logarithms of the normalised seconds of its models, by their places.
    fn normalised(&self, pace: Pace) -> BTreeMap<usize, f64> {
        let levels = self.places.iter().zip(&self.split.models);
        let normalised = |(place, level): (&usize, &f64)| {
            (*place, pace.normalised(level.exp(), self.parameters[*place]).ln())
        };
        levels.map(normalised).collect()
    }
}

/// The pace of each sitting, and how much it counts: by its first models where these are anchors whose normalised seconds
/// are known, else by the models that all sittings share, for which the average sitting is the measure.
fn paces(views: &[View<'_>], known_s: Option<&[f64]>) -> (Vec<Pace>, Vec<f64>) {
    let everywhere = |place: &usize| views.iter().all(|view| view.places.contains(place));
    let shared: Vec<usize> = match known_s {
        Some(known_s) => (0..known_s.len()).collect(),
        None => views[0].places.iter().copied().filter(everywhere).collect(),
    };
    let levels = |view: &View<'_>| shared.iter().filter_map(|&place| view.level(place)).collect();
    let levels: Vec<Vec<f64>> = views.iter().map(levels).collect();
    let average_s = known_s.map_or_else(|| average(&levels), <[f64]>::to_vec);
    let known = |(&seconds, &place)| Known { seconds, parameters: views[0].parameters[place] };
    let known: Vec<Known> = average_s.iter().zip(&shared).map(known).collect();
    let own = |levels: &Vec<f64>| {
        let here_s: Vec<f64> = levels.iter().map(|level| level.exp()).collect();
        Pace::alone(Speed::of(&known, &here_s))
    };
    let own: Vec<Pace> = levels.iter().map(own).collect();
    let normalised: Vec<BTreeMap<usize, f64>> =
        views.iter().zip(&own).map(|(view, pace)| view.normalised(*pace)).collect();
    let weights = weights(&normalised);
    let mean_s = means(&normalised, &weights, &shared);
    let common = match known_s {
        Some(_) => common(&known, &mean_s),
        None => centred(Speed::proportional(1.0), &known, &mean_s),
    };
    (own.into_iter().map(|pace| Pace { common, ..pace }).collect(), weights)
}

/// Of each of these models, which all sittings have, the weighted mean of its seconds.
fn means(sittings: &[BTreeMap<usize, f64>], weights: &[f64], places: &[usize]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    let mean = |place: &usize| {
        let weighted = sittings.iter().zip(weights).map(|(levels, w)| w * levels[place].exp());
        weighted.sum::<f64>() / total
    };
    places.iter().map(mean).collect()
}

fn timing(
    views: &[View<'_>],
    (paces, weights): (&[Pace], &[f64]),
    reference_s: f64,
    place: usize,
) -> ModelTiming {
    let mut timing = ModelTiming {
        processes_s: Vec::new(),
        weights: Vec::new(),
        raw_s: Vec::new(),
        ratios: Vec::new(),
    };
    for ((view, pace), weight) in views.iter().zip(paces).zip(weights) {
        let Some(level) = view.level(place) else { continue };
        let normalised = |seconds| pace.normalised(seconds, view.parameters[place]);
        timing.processes_s.push(normalised(level.exp()));
        timing.weights.push(*weight);
        timing.raw_s.push(level.exp());
        let bursts = view.whole.samples.iter().zip(&view.split.drifts);
        let ratio = |(sample, drift): (&Sample, &f64)| {
            (view.places[sample.model] == place)
                .then(|| normalised(sample.seconds / drift.exp()) / reference_s)
        };
        timing.ratios.extend(bursts.filter_map(ratio));
    }
    timing
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_latency_tables::Fingerprint;

    use super::*;
    use crate::{BlockTimes, Burst, FakeDevice, Ran};

    /// Normalised seconds of five models that two groups have measured; both have places 0 and 1.
    fn timed(known_s: Option<&[f64]>) -> Vec<f64> {
        let levels = |seconds: &[f64]| Levels {
            models: seconds.iter().map(|seconds: &f64| seconds.ln()).collect(),
            drifts: Vec::new(),
            residuals: Vec::new(),
        };
        let whole = Whole { samples: Vec::new(), gate: Gate::default() };
        let (first, second) = (levels(&[1.0, 2.0, 3.0]), levels(&[1.5, 3.0, 6.0, 7.5]));
        let views = [
            View { places: &[0, 1, 2], parameters: &[1.0; 5], whole: &whole, split: &first },
            View { places: &[0, 1, 3, 4], parameters: &[1.0; 5], whole: &whole, split: &second },
        ];
        let (paces, _) = paces(&views, known_s);
        (0..5).map(|place| timing(&views, (&paces, &[1.0; 2]), 1.0, place).processes_s[0]).collect()
    }

    #[test]
    fn groups_are_tied_together_by_what_they_share_or_what_is_known() {
        let found = timed(None);
        assert!(
            (0..5).all(|n| (found[n] / found[0] / (n + 1) as f64 - 1.0).abs() < 1e-9),
            "{found:?}"
        );
        let found = timed(Some(&[10.0, 20.0]));
        assert!((0..5).all(|n| (found[n] / (10 * (n + 1)) as f64 - 1.0).abs() < 1e-9), "{found:?}");
    }

    /// A fake device beside which others run until its process was started so often.
    struct LoadedUntil(FakeDevice, usize, usize);

    impl Device for LoadedUntil {
        fn fingerprint(&self) -> Fingerprint {
            self.0.fingerprint()
        }

        fn restart(&mut self) -> Result<()> {
            self.1 += 1;
            let load = if self.1 < self.2 { 1.0 } else { 0.0 };
            self.0.loads = vec![(0..usize::MAX, load)];
            self.0.restart()
        }

        fn load(&mut self, model: Model<'_>) -> Result<usize> {
            self.0.load(model)
        }

        fn time(&mut self, bursts: &[Burst]) -> Result<Vec<Ran>> {
            self.0.time(bursts)
        }

        fn trace(&mut self, model: usize) -> Result<BlockTimes> {
            self.0.trace(model)
        }
    }

    #[test]
    fn a_disturbed_process_is_measured_again_twice_at_most() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let networks = [space.network(&space.smallest()), space.network(&space.largest())];
        let models = networks.each_ref().map(Model::Network);
        let options = ProfileOptions { processes: 3, ..ProfileOptions::default() };
        let time = |quiet_from: usize| {
            let mut device = LoadedUntil(FakeDevice::new(0), 0, quiet_from);
            let (anchors, journal) = (Anchors::new(&space), &mut Journal::none());
            let timed =
                time(&mut device, (&models, &[1, 1]), &anchors, &options, journal, &mut |_| {});
            (timed.map(|timed| timed.gates), device.1)
        };
        let (gates, processes) = time(3);
        assert_eq!(processes, 5);
        assert!(gates.unwrap().iter().all(|gate| gate.disturbed == 0));
        let (refused, processes) = time(usize::MAX);
        assert_eq!(processes, 3);
        assert!(matches!(refused, Err(Error::Disturbed { .. })));
    }

    #[test]
    fn models_beyond_the_memory_are_dealt_into_groups() {
        let large = vec![400_000_000; 7];
        let groups = groups(&large);
        assert_eq!(groups.len(), 4);
        assert_eq!(groups[1].0, [1, 5]);
        assert_eq!(super::groups(&[5; 40]).len(), 1);
        assert_eq!(super::groups(&[]).len(), 1);
    }
}
