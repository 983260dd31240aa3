//! Whether the machine was quiet: which bursts do not count, and what to say of all of them.

use std::collections::BTreeMap;

use netfit_latency_tables::{Hygiene, Verdict, mad, median};
use serde::{Deserialize, Serialize};

use crate::{
    Error, ProfileOptions, Protocol, Result,
    levels::Levels,
    samples::{Bursts, Sample, frequency_changes, launch_bound, moments},
};

/// Clean bursts of a model that are enough to do without its others.
const LEAST_CLEAN: usize = 3;

/// How often a process is measured where it is disturbed, each time anew.
pub(crate) const ATTEMPTS: u64 = 3;

/// Why a burst does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    Load,
    Shared,
    Drift,
    Frequency,
    Throttled,
    Outlier,
}

impl Disturbance {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Shared => "shared core",
            Self::Drift => "drift",
            Self::Frequency => "frequency",
            Self::Throttled => "throttling",
            Self::Outlier => "outlier",
        }
    }
}

/// What one process has measured.
#[derive(Clone, Debug)]
pub(crate) struct Sitting {
    /// Bursts that count, in the order of time.
    pub(crate) samples: Vec<Sample>,
    pub(crate) split: Levels,
    /// Bursts that were thrown away, by why.
    pub(crate) repeated: BTreeMap<String, usize>,
    /// Bursts after all repetitions, and those of them that still look disturbed and do not count either, as long as
    /// their models have others.
    pub(crate) bursts: usize,
    pub(crate) disturbed: usize,
    /// Bursts that still shared their core, though nothing looks wrong with them: they do not count either, as long as
    /// their models have others, but refuse nothing.
    pub(crate) shared: usize,
    /// Calls that were replaced within their bursts, since they shared their core.
    pub(crate) replaced: usize,
    /// Largest load by others beside a burst that counts, cores.
    pub(crate) load: Option<f64>,
    /// Largest relative change of the frequency.
    pub(crate) frequency_change: Option<f64>,
    /// Share of the bursts in which a GPU waited for its host.
    pub(crate) launch_bound: Option<f64>,
}

/// How clean a part's or a sitting's bursts were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gate {
    pub(crate) bursts: usize,
    pub(crate) disturbed: usize,
    pub(crate) repeated: BTreeMap<String, usize>,
    #[serde(default)]
    pub(crate) shared: usize,
    #[serde(default)]
    pub(crate) replaced: usize,
    pub(crate) load: Option<f64>,
    pub(crate) frequency_change: Option<f64>,
    #[serde(default)]
    pub(crate) launch_bound: Option<f64>,
    pub(crate) drift: f64,
}

impl Protocol {
    /// For each burst that still counts why it should not, if so.
    pub(crate) fn disturbances(&self, bursts: &Bursts, models: usize) -> Vec<Option<Disturbance>> {
        let (samples, loads) = (bursts.counting(), bursts.loads());
        let split = Levels::of(&moments(&samples), models);
        let bound = |of: &[f64], least: f64| (self.deviations * 1.4826 * mad(of)).max(least);
        let outlier = bound(&split.residuals, self.tolerance);
        let drift = bound(&split.drifts, self.drift);
        let changes = frequency_changes(&samples);
        let found = |at: usize| {
            if loads[at].is_some_and(|load| load > self.load) {
                Some(Disturbance::Load)
            } else if samples[at].throttled {
                Some(Disturbance::Throttled)
            } else if changes[at].is_some_and(|change| change > self.frequency) {
                Some(Disturbance::Frequency)
            } else if !bursts.settled && split.drifts[at].abs() > drift {
                Some(Disturbance::Drift)
            } else if split.residuals[at].abs() > outlier {
                Some(Disturbance::Outlier)
            } else {
                samples[at].shared.then_some(Disturbance::Shared)
            }
        };
        (0..samples.len()).map(found).collect()
    }

    /// What a process has measured, once nothing more is repeated.
    pub(crate) fn judge(
        &self,
        bursts: &Bursts,
        models: usize,
        repeated: BTreeMap<String, usize>,
    ) -> Sitting {
        let found = self.disturbances(bursts, models);
        let mut samples = bursts.counting();
        let largest = |values: Vec<Option<f64>>| {
            let counting = values.into_iter().zip(&found).filter(|(_, why)| why.is_none());
            counting.filter_map(|(value, _)| value).reduce(f64::max)
        };
        let (load, frequency_change) =
            (largest(bursts.loads()), largest(frequency_changes(&samples)));
        let shared = found.iter().filter(|why| **why == Some(Disturbance::Shared)).count();
        let disturbed = found.iter().flatten().count() - shared;
        let mut clean = vec![0; models];
        for (sample, why) in samples.iter().zip(&found) {
            clean[sample.model] += usize::from(why.is_none());
        }
        let (replaced, bursts) = (bursts.replaced(), samples.len());
        let mut reasons = found.into_iter();
        // Better a disturbed time than none.
        samples.retain(|sample| {
            reasons.next().flatten().is_none() || clean[sample.model] < LEAST_CLEAN
        });
        let split = Levels::of(&moments(&samples), models);
        let launch_bound = launch_bound(&samples);
        Sitting {
            samples,
            split,
            repeated,
            bursts,
            disturbed,
            shared,
            replaced,
            load,
            frequency_change,
            launch_bound,
        }
    }
}

impl Sitting {
    pub(crate) fn gate(&self) -> Gate {
        let drifts = &self.split.drifts;
        let tenth = drifts.len().div_ceil(10).max(1);
        let drift = drifts.chunks(tenth).map(|drifts| median(drifts).exp_m1().abs());
        Gate {
            bursts: self.bursts,
            disturbed: self.disturbed,
            repeated: self.repeated.clone(),
            shared: self.shared,
            replaced: self.replaced,
            load: self.load,
            frequency_change: self.frequency_change,
            launch_bound: self.launch_bound,
            drift: drift.fold(0.0, f64::max),
        }
    }
}

/// Share of the bursts in which a GPU waited for its host, over all of these, where that is told.
pub(crate) fn launch_bound_share(gates: &[Gate]) -> Option<f64> {
    let told = gates.iter().filter_map(|gate| Some((gate.launch_bound?, gate.bursts as f64)));
    let (bound, bursts) = told
        .fold((0.0, 0.0), |(bound, all), (share, bursts)| (bound + share * bursts, all + bursts));
    (bursts > 0.0).then(|| bound / bursts)
}

/// Measures until it is clean, or noise is accepted, in [`ATTEMPTS`] attempts at most, which `measure` is told by number:
/// a minute of noise in one process should not cost all the others.
pub(crate) fn until_clean<T>(
    options: &ProfileOptions,
    mut measure: impl FnMut(u64) -> Result<T>,
    gate: impl Fn(&T) -> Gate,
) -> Result<T> {
    let mut attempt = 0;
    loop {
        let measured = measure(attempt)?;
        attempt += 1;
        match judge(&[gate(&measured)], options) {
            Err(Error::Disturbed { .. }) if attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(measured),
        }
    }
}

/// The verdict over all gates; an error where it is not clean and noise is not accepted.
pub(crate) fn judge(gates: &[Gate], options: &ProfileOptions) -> Result<Hygiene> {
    let largest = |of: fn(&Gate) -> Option<f64>| gates.iter().filter_map(of).reduce(f64::max);
    let bursts = gates.iter().map(|gate| gate.bursts).sum();
    let disturbed = gates.iter().map(|gate| gate.disturbed).sum();
    let shared = gates.iter().map(|gate| gate.shared).sum();
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
        calls_replaced: gates.iter().map(|gate| gate.replaced).sum(),
        disturbed,
        shared,
        reference_drift: drift,
        load: largest(|gate| gate.load),
        frequency_change: largest(|gate| gate.frequency_change),
        launch_bound: launch_bound_share(gates),
        processes_at_another_speed: 0,
        repeated_for,
    })
}
