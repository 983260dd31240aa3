//! Whole networks: how long they take side by side, and whether the machine was quiet.

use netfit_latency_tables::{NetworkTiming, Reference};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Device, Error, Model, ProfileOptions, Progress, Result,
    anchors::Anchors,
    gate::{Gate, Sitting, until_clean},
    journal::{Journal, Whole},
    levels::Levels,
    memory,
    protocol::load,
    samples::moments,
    views::{ModelTiming, View, paces, timing},
};

/// Where the machine was in another state for some processes, others take their place: one more for so many.
const MORE: usize = 2;
/// So many processes of the measured state are better than any number of both: from two on their scatter is known.
const LEAST: usize = 2;

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
    /// One for each process that counts.
    pub(crate) gates: Vec<Gate>,
    /// For each process the logarithm of how much slower it was than the state that is measured.
    pub(crate) slower: Vec<f64>,
    /// In how many processes the machine was in another state.
    pub(crate) elsewhere: usize,
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

/// Times whole models in `options.processes` processes beside the anchors, all in one state of the machine as far as it
/// stays in one: what was measured in another does not count, unless fewer than two processes are of the measured state
/// after half as many again. `parameters` are the models' (for the memory that they take).
pub(crate) fn time(
    device: &mut dyn Device,
    models: (&[Model<'_>], &[u64]),
    anchors: &Anchors,
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<Timed> {
    time_after(&mut |_, _, _, _| Ok(()), device, models, anchors, options, journal, progress)
}

/// What else is measured before each of the planned processes, which it is told.
pub(crate) type Before<'a> =
    dyn FnMut(usize, &mut dyn Device, &mut Journal, &mut dyn FnMut(Progress)) -> Result<()> + 'a;

/// As [`time`], and something else in turn with it.
pub(crate) fn time_after(
    before: &mut Before<'_>,
    device: &mut dyn Device,
    (models, parameters): (&[Model<'_>], &[u64]),
    anchors: &Anchors,
    options: &ProfileOptions,
    journal: &mut Journal,
    progress: &mut dyn FnMut(Progress),
) -> Result<Timed> {
    let plan = Plan::of(device, models, parameters, anchors);
    let (groups, planned) = (plan.groups.len(), options.processes);
    let mut views: Vec<View<'_>> = Vec::new();
    for process in 0..planned + planned.div_ceil(MORE) {
        if process < planned {
            before(process, device, journal, progress)?;
        }
        for group in 0..groups {
            if anchors.states(&views, options).count(&views, group) >= planned {
                continue;
            }
            let sitting = group + process * groups;
            let (loaded, label) = (plan.loaded(group), label(sitting, planned * groups));
            let whole = sit(device, &loaded, (sitting, &label), options, journal, progress)?;
            let split = Levels::of(&moments(&whole.samples), loaded.len());
            let (places, parameters) = (plan.places(group), &plan.parameters);
            views.push(View { group, places, parameters, whole, split });
        }
    }
    let states = anchors.states(&views, options);
    let elsewhere = states.measured.iter().filter(|measured| !**measured).count();
    let first = views.iter().zip(&states.slower).filter(|(view, _)| view.group == 0);
    let slower = first.map(|(_, slower)| *slower).collect();
    if (0..groups).all(|group| states.count(&views, group) >= LEAST.min(planned)) {
        let mut measured = states.measured.into_iter();
        views.retain(|_| measured.next().unwrap_or_default());
    }
    Ok(plan.timed(&views, anchors, (slower, elsewhere)))
}

/// Which models are loaded together.
struct Plan<'a> {
    /// By their places among all models.
    groups: Vec<Vec<usize>>,
    /// The anchors that each process has.
    beside: &'a [Network],
    models: &'a [Model<'a>],
    /// Of the anchors, then of the models.
    parameters: Vec<f64>,
}

impl<'a> Plan<'a> {
    fn of(
        device: &dyn Device,
        models: &'a [Model<'a>],
        parameters: &[u64],
        anchors: &'a Anchors,
    ) -> Self {
        let bytes = |(model, &count): (&Model<'_>, &u64)| match model.network() {
            Some(network) => device.bytes(network),
            None => memory::of_weights(count),
        };
        let all: Vec<u64> = models.iter().zip(parameters).map(bytes).collect();
        let anchors_take = anchors.networks.iter().map(|network| device.bytes(network)).sum();
        let groups = memory::groups(&all, anchors_take);
        // Where all models share a process, they tie the processes together by themselves.
        let alone = groups.len() == 1 && anchors.known_s.is_none();
        let beside = &anchors.networks[..if alone { 1 } else { anchors.networks.len() }];
        let anchored = beside.iter().map(|network| network.parameters().0);
        let parameters =
            anchored.chain(parameters.iter().copied()).map(|count| count as f64).collect();
        Self { groups, beside, models, parameters }
    }

    fn loaded(&self, group: usize) -> Vec<Model<'a>> {
        let own = self.groups[group].iter().map(|&model| self.models[model]);
        self.beside.iter().map(Model::Network).chain(own).collect()
    }

    /// Places of these among all anchors and models.
    fn places(&self, group: usize) -> Vec<usize> {
        let own = self.groups[group].iter().map(|&model| self.beside.len() + model);
        (0..self.beside.len()).chain(own).collect()
    }

    /// What these sittings say of the models, and what is known of the machine's states.
    fn timed(
        &self,
        views: &[View<'_>],
        anchors: &Anchors,
        (slower, elsewhere): (Vec<f64>, usize),
    ) -> Timed {
        let (paces, weights) = paces(views, anchors.known_s.as_deref());
        let timing = |reference_s, place| timing(views, (&paces, &weights), reference_s, place);
        let reference = timing(1.0, 0);
        let reference_s = match &anchors.known_s {
            Some(known_s) => known_s[0],
            None => reference.seconds(),
        };
        let model = |model| timing(reference_s, self.beside.len() + model);
        Timed {
            models: (0..self.models.len()).map(model).collect(),
            reference: Reference {
                network: anchors.networks[0].text(),
                median_s: reference_s,
                processes_s: reference.raw_s,
            },
            gates: views.iter().map(|view| view.whole.gate.clone()).collect(),
            slower,
            elsewhere,
        }
    }
}

/// Which sitting of how many this is, for people.
fn label(sitting: usize, planned: usize) -> String {
    if sitting < planned {
        return format!("{} of {planned}", sitting + 1);
    }
    format!("{} since the machine's speed has changed", sitting + 1)
}

/// Loads models into a fresh process and times them side by side; a sitting that the journal has is not repeated. One that
/// was disturbed is.
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
    let sitting = until_clean(
        options,
        |attempt| {
            if attempt > 0 {
                journal.discard(&stage)?;
            }
            sit_once(device, models, (place, &stage, attempt), options, journal, progress)
        },
        Sitting::gate,
    );
    // What is not clean is not kept.
    if let Err(Error::Disturbed { .. }) = sitting {
        journal.discard(&stage)?;
    }
    let sitting = sitting?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_latency_tables::Fingerprint;

    use super::*;
    use crate::{BlockTimes, Burst, Error, FakeDevice, Ran};

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
    fn what_was_measured_in_another_state_is_measured_again_and_does_not_count() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let network = space.network(&space.smallest());
        let options = ProfileOptions { processes: 4, ..ProfileOptions::default() };
        // By which factor the processes that count were slow, and how many were in another state.
        let processes = |slow: &[usize], anchors: &Anchors| -> (Vec<usize>, usize) {
            let mut device = FakeDevice::new(0);
            device.states = slow.iter().map(|&process| (process..process + 1, 2.0)).collect();
            let (models, journal) = ([Model::Network(&network)], &mut Journal::none());
            let timed = time(&mut device, (&models, &[1]), anchors, &options, journal, &mut |_| {});
            let timed = timed.unwrap();
            let error = timed.models[0].seconds() / device.network_s(&network) - 1.0;
            assert!(error.abs() < 1e-9, "{error}");
            let slow_there = timed.slower.iter().enumerate().filter(|(_, slower)| **slower > 0.5);
            assert!(slow_there.map(|(process, _)| process).eq(slow.iter().copied()));
            let reference_s = device.network_s(&anchors.networks[0]);
            let factor = |seconds: &f64| (seconds / reference_s).round() as usize;
            (timed.reference.processes_s.iter().map(factor).collect(), timed.elsewhere)
        };
        let unknown = Anchors::new(&space);
        assert_eq!(processes(&[1], &unknown), (vec![1, 1, 1, 1], 1));
        // Of states with as many processes the fastest counts.
        assert_eq!(processes(&[0, 1, 4], &unknown), (vec![1, 1, 1], 3));
        let fake = FakeDevice::new(0);
        let known_s = unknown.networks.iter().map(|network| fake.network_s(network)).collect();
        let known = Anchors { known_s: Some(known_s), ..Anchors::new(&space) };
        assert_eq!(processes(&[0, 1, 3, 5], &known), (vec![1, 1], 4));
        // One alone has no scatter.
        assert_eq!(processes(&[0, 1, 3, 4, 5], &known), (vec![2, 2, 1, 2, 2, 2], 5));
        // Nothing is lost where the machine does not come back.
        assert_eq!(processes(&[0, 1, 2, 3, 4, 5], &known), (vec![2; 6], 6));
        let any_speed = Anchors { any_speed: true, ..known };
        assert_eq!(processes(&[0, 1], &any_speed), (vec![2, 2, 1, 1], 0));
    }
}
