//! How models are timed side by side: in rounds that visit all of them in an order drawn anew, each for one burst. What
//! looks disturbed is thrown away and measured again.

use std::collections::BTreeMap;

use netfit_latency_tables::{mad, median};
use netfit_spaces::Random;
use serde::{Deserialize, Serialize};

use crate::{
    Burst, Device, Error, Ran, Result,
    levels::{Levels, Moment},
};

/// How models are timed side by side in one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Bursts of each model at least.
    pub rounds: usize,
    /// Bursts of each model at most.
    pub most_rounds: usize,
    /// Relative standard error of a model's time at which no more rounds are made.
    pub precision: f64,
    /// Calls of a burst that are not timed: after other models the caches fill up again.
    pub warm_up: usize,
    /// Time after which a burst is warm in any case.
    pub warm_up_s: f64,
    /// Timed calls of a burst at least.
    pub calls: usize,
    /// Time of the timed calls of a burst.
    pub burst_s: f64,
    /// A burst is an outlier if it is further than so many robust standard deviations (1.4826 MAD) from what is
    /// expected, and further than `tolerance`.
    pub deviations: f64,
    /// Relative distance that is never an outlier's.
    pub tolerance: f64,
    /// Relative drift of the machine's speed that is too much, if it is an outlier among the drifts too: the first calls
    /// of small models wander by themselves.
    pub drift: f64,
    /// Cores in use by other processes that are too many.
    pub load: f64,
    /// Relative change of the processor's frequency that is too much.
    pub frequency: f64,
    /// How often disturbed bursts are measured again.
    pub repeats: usize,
    /// Share of bursts that may stay disturbed.
    pub accepted: f64,
}

impl Default for Protocol {
    /// 10 to 30 rounds to a standard error of 0.5 %; bursts of 8 calls or 10 ms that do not count, then of 1 call or
    /// 6 ms; outliers beyond 5 deviations and 3 %, 25 % of drift, 0.15 cores of load, 10 % of frequency; 3 repeats, 10 %
    /// accepted.
    fn default() -> Self {
        Self {
            rounds: 10,
            most_rounds: 30,
            precision: 0.005,
            warm_up: 8,
            warm_up_s: 0.010,
            calls: 1,
            burst_s: 0.006,
            deviations: 5.0,
            tolerance: 0.03,
            drift: 0.25,
            load: 0.15,
            frequency: 0.1,
            repeats: 3,
            accepted: 0.1,
        }
    }
}

/// Time over which a load is told: others' processor time comes in steps of some 10 ms.
const LOAD_S: f64 = 1.0;
/// Bursts that a repetition has at least, so that neighbours tell the drift.
const LEAST: usize = 9;

/// One burst of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The model's place among those that are measured.
    #[serde(rename = "m")]
    pub(crate) model: usize,
    /// Median seconds of a call.
    #[serde(rename = "s")]
    pub(crate) seconds: f64,
    #[serde(rename = "e")]
    pub(crate) elapsed_s: f64,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub(crate) others_s: Option<f64>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(crate) hertz: Option<f64>,
    /// Bursts of one launch were measured in a row in one process.
    #[serde(rename = "l")]
    pub(crate) launch: usize,
    /// How many bursts of its model came before it in its launch, those included that do not count.
    #[serde(rename = "b")]
    pub(crate) burst: usize,
}

/// Why a burst does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    Load,
    Drift,
    Frequency,
    Outlier,
}

impl Disturbance {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Drift => "drift",
            Self::Frequency => "frequency",
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
    /// Bursts among `samples` that still look disturbed.
    pub(crate) disturbed: usize,
    /// Largest load by others beside a burst that counts, cores.
    pub(crate) load: Option<f64>,
    /// Largest relative change of the frequency.
    pub(crate) frequency_change: Option<f64>,
}

impl Protocol {
    pub(crate) fn check(&self) -> Result<()> {
        if self.rounds >= 3 && self.most_rounds >= self.rounds && self.calls >= 1 {
            return Ok(());
        }
        Err(Error::Setting {
            what: "rounds of a measurement",
            expected: "at least 3, at most `most_rounds`, of at least 1 call".into(),
            found: format!("{} to {} of {}", self.rounds, self.most_rounds, self.calls),
        })
    }

    /// Measures loaded models; `samples` were measured before (the whole rounds of a process that was cut off), `keep`
    /// is given each round's. `progress` is told rounds done and in all.
    pub(crate) fn measure(
        &self,
        device: &mut dyn Device,
        models: &[usize],
        mut samples: Vec<Sample>,
        random: &mut Random,
        keep: &mut dyn FnMut(&[Sample]) -> Result<()>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Sitting> {
        let launch = samples.iter().map(|sample| sample.launch + 1).max().unwrap_or(0);
        let all: Vec<usize> = (0..models.len()).collect();
        let mut bursts = vec![0; models.len()];
        let mut round = |which: &[usize], random: &mut Random| {
            let mut order = which.to_vec();
            random.shuffle(&mut order);
            self.round(device, models, &order, (launch, &mut bursts))
        };
        // One round to warm up, which does not count.
        round(&all, random)?;
        let mut done = samples.len() / models.len();
        let mut wanted = self.rounds;
        while done < wanted {
            progress(done, wanted);
            let fresh = round(&all, random)?;
            keep(&fresh)?;
            samples.extend(fresh);
            done += 1;
            if done == wanted {
                wanted = self.wanted(&samples, models.len(), done);
            }
        }
        progress(done, wanted);
        let mut repeated: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..self.repeats {
            let found = self.disturbances(&samples, models.len());
            let bad = samples.iter().zip(&found).filter_map(|(s, why)| Some((s.model, (*why)?)));
            let bad: Vec<(usize, Disturbance)> = bad.collect();
            if bad.is_empty() {
                break;
            }
            let mut again: Vec<usize> = bad.iter().map(|(model, _)| *model).collect();
            for (_, why) in bad {
                *repeated.entry(why.name().to_owned()).or_default() += 1;
            }
            let mut counts = found.iter().map(Option::is_none);
            samples.retain(|_| counts.next().unwrap_or(true));
            while again.len() < LEAST {
                again.push(random.below(models.len()));
            }
            samples.extend(round(&again, random)?);
        }
        Ok(self.judge(samples, models.len(), repeated))
    }

    /// Rounds after which the models' times are as exact as asked for, as far as the noise so far tells.
    fn wanted(&self, samples: &[Sample], models: usize, done: usize) -> usize {
        let spread = 1.4826 * mad(&Levels::of(&moments(samples), models).residuals);
        let needed = (spread / self.precision).powi(2).ceil();
        if needed.is_finite() { (needed as usize).clamp(done, self.most_rounds) } else { done }
    }

    fn round(
        &self,
        device: &mut dyn Device,
        models: &[usize],
        order: &[usize],
        (launch, counts): (usize, &mut [usize]),
    ) -> Result<Vec<Sample>> {
        let bursts: Vec<Burst> = order
            .iter()
            .map(|&model| Burst {
                model: models[model],
                warm_up: self.warm_up,
                warm_up_s: self.warm_up_s,
                calls: self.calls,
                seconds: self.burst_s,
            })
            .collect();
        let ran = device.time(&bursts)?;
        let sample = |(&model, ran): (&usize, Ran)| {
            counts[model] += 1;
            Sample::new(model, (launch, counts[model] - 1), &ran)
        };
        order.iter().zip(ran).map(sample).collect()
    }

    /// For each burst why it does not count, if so.
    fn disturbances(&self, samples: &[Sample], models: usize) -> Vec<Option<Disturbance>> {
        let split = Levels::of(&moments(samples), models);
        let bound = |of: &[f64], least: f64| (self.deviations * 1.4826 * mad(of)).max(least);
        let outlier = bound(&split.residuals, self.tolerance);
        let drift = bound(&split.drifts, self.drift);
        let loads = loads(samples);
        let changes = frequency_changes(samples);
        let found = |at: usize| {
            if loads[at].is_some_and(|load| load > self.load) {
                Some(Disturbance::Load)
            } else if changes[at].is_some_and(|change| change > self.frequency) {
                Some(Disturbance::Frequency)
            } else if split.drifts[at].abs() > drift {
                Some(Disturbance::Drift)
            } else if split.residuals[at].abs() > outlier {
                Some(Disturbance::Outlier)
            } else {
                None
            }
        };
        (0..samples.len()).map(found).collect()
    }

    fn judge(
        &self,
        samples: Vec<Sample>,
        models: usize,
        repeated: BTreeMap<String, usize>,
    ) -> Sitting {
        let found = self.disturbances(&samples, models);
        let largest = |values: Vec<Option<f64>>| {
            let counting = values.into_iter().zip(&found).filter(|(_, why)| why.is_none());
            counting.filter_map(|(value, _)| value).reduce(f64::max)
        };
        Sitting {
            load: largest(loads(&samples)),
            frequency_change: largest(frequency_changes(&samples)),
            disturbed: found.iter().flatten().count(),
            split: Levels::of(&moments(&samples), models),
            samples,
            repeated,
        }
    }
}

impl Sample {
    fn new(model: usize, (launch, burst): (usize, usize), ran: &Ran) -> Result<Self> {
        let seconds = median(&ran.calls);
        if seconds.is_finite() && seconds > 0.0 {
            let (elapsed_s, others_s, hertz) = (ran.elapsed_s, ran.others_s, ran.hertz);
            return Ok(Self { model, seconds, elapsed_s, others_s, hertz, launch, burst });
        }
        Err(Error::Setting {
            what: "time of a burst",
            expected: "a positive number of seconds".into(),
            found: seconds.to_string(),
        })
    }
}

pub(crate) fn moments(samples: &[Sample]) -> Vec<Moment> {
    let moment = |sample: &Sample| Moment {
        model: sample.model,
        launch: sample.launch,
        log_s: sample.seconds.ln(),
    };
    samples.iter().map(moment).collect()
}

/// For each burst the cores that others used in the [`LOAD_S`] around it, or in all of the time where that is shorter.
fn loads(samples: &[Sample]) -> Vec<Option<f64>> {
    let (mut ends, mut others) = (vec![0.0], vec![0.0]);
    for sample in samples {
        let Some(others_s) = sample.others_s else { return vec![None; samples.len()] };
        ends.push(ends[ends.len() - 1] + sample.elapsed_s);
        others.push(others[others.len() - 1] + others_s);
    }
    let load = |at: usize| {
        let middle = f64::midpoint(ends[at], ends[at + 1]);
        let first = ends.partition_point(|end| *end < middle - LOAD_S / 2.0).min(at);
        let last = ends.partition_point(|end| *end < middle + LOAD_S / 2.0).min(samples.len());
        let last = last.max(at + 1);
        let elapsed_s = ends[last] - ends[first];
        (elapsed_s > 0.0).then(|| ((others[last] - others[first]) / elapsed_s).max(0.0))
    };
    (0..samples.len()).map(load).collect()
}

/// For each burst the relative distance of the processor's frequency from the median.
fn frequency_changes(samples: &[Sample]) -> Vec<Option<f64>> {
    let known: Vec<f64> = samples.iter().filter_map(|sample| sample.hertz).collect();
    let middle = if known.is_empty() { f64::NAN } else { median(&known) };
    samples.iter().map(|sample| Some((sample.hertz? / middle - 1.0).abs())).collect()
}

#[cfg(test)]
mod tests {
    use netfit_spaces::{Network, Space};

    use super::*;
    use crate::{FakeDevice, Model};

    fn loaded(device: &mut FakeDevice, count: usize) -> (Vec<Network>, Vec<usize>) {
        let space = Space::preset("ofa-28").unwrap();
        let mut random = Random::new(3, "networks");
        let networks: Vec<Network> =
            (0..count).map(|_| space.network(&space.sample(&mut random))).collect();
        let numbers =
            networks.iter().map(|network| device.load(Model::Network(network)).unwrap()).collect();
        (networks, numbers)
    }

    fn measure(device: &mut FakeDevice, models: &[usize], protocol: &Protocol) -> Sitting {
        let random = &mut Random::new(0, "order");
        protocol
            .measure(device, models, Vec::new(), random, &mut |_| Ok(()), &mut |_, _| {})
            .unwrap()
    }

    /// Largest relative error of a network's time against that of the first one.
    fn error(sitting: &Sitting, device: &FakeDevice, networks: &[Network]) -> f64 {
        let truth = |n: usize| device.network_s(&networks[n]) / device.network_s(&networks[0]);
        let found = |n: usize| (sitting.split.models[n] - sitting.split.models[0]).exp();
        (0..networks.len()).map(|n| (found(n) / truth(n) - 1.0).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn rounds_end_when_times_are_exact_enough() {
        let mut device = FakeDevice::new(1);
        let (networks, models) = loaded(&mut device, 12);
        let exact = measure(&mut device, &models, &Protocol::default());
        assert_eq!(exact.samples.len(), 12 * 10);
        device.noise = 0.025;
        let noisy = measure(&mut device, &models, &Protocol::default());
        assert!((12 * 12..=12 * 30).contains(&noisy.samples.len()), "{}", noisy.samples.len());
        assert!(error(&noisy, &device, &networks) < 0.03);
        assert_eq!((noisy.disturbed, noisy.load), (0, Some(0.0)));
    }

    #[test]
    fn slow_bursts_are_found_and_repeated() {
        let mut device = FakeDevice::new(1);
        device.noise = 0.01;
        let (networks, models) = loaded(&mut device, 12);
        // Every 30th burst; 12 bursts a round.
        device.disturbances = (1..100).map(|n| (30 * n..30 * n + 1, 1.3)).collect();
        let sitting = measure(&mut device, &models, &Protocol::default());
        assert!(sitting.repeated["outlier"] >= 3, "{:?}", sitting.repeated);
        assert_eq!(sitting.disturbed, 0);
        assert!(error(&sitting, &device, &networks) < 0.015);
    }

    #[test]
    fn a_machine_that_slows_down_as_a_whole_has_drifted() {
        let mut device = FakeDevice::new(1);
        device.noise = 0.01;
        let (networks, models) = loaded(&mut device, 12);
        device.disturbances = vec![(36..60, 1.5)];
        let sitting = measure(&mut device, &models, &Protocol::default());
        assert!((20..30).contains(&sitting.repeated["drift"]), "{:?}", sitting.repeated);
        assert_eq!(sitting.disturbed, 0);
        assert!(error(&sitting, &device, &networks) < 0.015);
    }

    #[test]
    fn load_by_others_is_found_though_it_slows_nothing_down() {
        let mut device = FakeDevice::new(1);
        let (_, models) = loaded(&mut device, 12);
        device.loads = vec![(48..96, 1.0)];
        let sitting = measure(&mut device, &models, &Protocol::default());
        assert!(sitting.repeated["load"] >= 48, "{:?}", sitting.repeated);
        assert_eq!(sitting.disturbed, 0);
        assert!(sitting.load.unwrap() <= 0.15);
        device.loads = vec![(0..100_000, 1.0)];
        let sitting = measure(&mut device, &models, &Protocol::default());
        assert_eq!(sitting.disturbed, sitting.samples.len());
    }

    #[test]
    fn what_was_measured_before_a_cut_counts_once() {
        let mut device = FakeDevice::new(1);
        let (networks, models) = loaded(&mut device, 6);
        let protocol = Protocol { rounds: 8, most_rounds: 8, ..Protocol::default() };
        let mut kept: Vec<Sample> = Vec::new();
        let cut = protocol.measure(
            &mut device,
            &models,
            Vec::new(),
            &mut Random::new(0, "order"),
            &mut |fresh| {
                kept.extend_from_slice(fresh);
                if kept.len() == 18 { Err(Error::Refused("cut".into())) } else { Ok(()) }
            },
            &mut |_, _| {},
        );
        assert!(cut.is_err());
        let mut more = 0;
        let sitting = protocol
            .measure(
                &mut device,
                &models,
                kept,
                &mut Random::new(1, "order"),
                &mut |fresh| {
                    more += fresh.len();
                    Ok(())
                },
                &mut |_, _| {},
            )
            .unwrap();
        assert_eq!((more, sitting.samples.len()), (30, 48));
        assert!((0..6).all(|m| sitting.samples.iter().filter(|s| s.model == m).count() == 8));
        assert!(error(&sitting, &device, &networks) < 1e-9);
    }
}
