//! How models are timed side by side: in rounds that visit all of them in an order drawn anew, each for one burst. What
//! looks disturbed is thrown away and measured again.

use std::collections::BTreeMap;

use netfit_latency_tables::mad;
use netfit_spaces::Random;
use serde::{Deserialize, Serialize};

use crate::{
    Burst, Device, Error, Model, Ran, Result,
    gate::{Disturbance, Sitting},
    levels::Levels,
    samples::{Bursts, Sample, moments},
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
    /// Seconds of bursts for each model, on average, after which no more rounds are made either.
    pub enough_s: f64,
    /// Calls of a burst that are not timed: after other models the caches fill up again.
    pub warm_up: usize,
    /// Time that these calls may take, but for the first of them.
    pub warm_up_s: f64,
    /// Timed calls of a burst at least.
    pub calls: usize,
    /// Time of the timed calls of a burst.
    pub burst_s: f64,
    /// Time that a burst may take longer to have calls during which nothing shared the core.
    pub patience_s: f64,
    /// A burst is an outlier if it is further than so many robust standard deviations (1.4826 MAD) from what is
    /// expected, and further than `tolerance`.
    pub deviations: f64,
    /// Relative distance that is never an outlier's.
    pub tolerance: f64,
    /// Relative drift of the machine's speed that is too much, if it is an outlier among the drifts too: the first calls
    /// of small models wander by themselves.
    pub drift: f64,
    /// Seconds of repetitions after which such a drift is one speed of the machine's among others: bursts count at each.
    pub settle_s: f64,
    /// Cores in use by other processes that are too many.
    pub load: f64,
    /// Relative change of the processor's frequency that is too much.
    pub frequency: f64,
    /// How often disturbed bursts are measured again, and for how many times all bursts a load may last.
    pub repeats: usize,
    /// Seconds for which a load may last in any case.
    pub wait_s: f64,
    /// Share of bursts that may stay disturbed.
    pub accepted: f64,
}

impl Default for Protocol {
    /// 3 to 12 rounds to a standard error of 1.5 % or 0.15 s each; bursts of 8 calls or 10 ms that do not count, then of
    /// 1 call or 6 ms, and 50 ms more to have them on an unshared core; outliers beyond 5 deviations and 3 %, 25 % of drift
    /// that settles in 2 s, 0.15 cores of load, 10 % of frequency; 3 repeats or 20 s, 10 % accepted.
    fn default() -> Self {
        Self {
            rounds: 3,
            most_rounds: 12,
            precision: 0.015,
            enough_s: 0.15,
            warm_up: 8,
            warm_up_s: 0.010,
            calls: 1,
            burst_s: 0.006,
            patience_s: 0.05,
            deviations: 5.0,
            tolerance: 0.03,
            drift: 0.25,
            settle_s: 2.0,
            load: 0.15,
            frequency: 0.1,
            repeats: 3,
            wait_s: 20.0,
            accepted: 0.1,
        }
    }
}

/// Visits these models once, in an order drawn anew.
type Round<'a> = dyn FnMut(&[usize], &mut Random) -> Result<Vec<Sample>> + 'a;

/// A drift lasts where at least this part of a repetition drifts too; what passes more often than not is repeated.
const LASTING: f64 = 0.5;
/// What may pass, and is waited for.
const PASSING: [Disturbance; 5] = [
    Disturbance::Load,
    Disturbance::Shared,
    Disturbance::Drift,
    Disturbance::Frequency,
    Disturbance::Throttled,
];
/// Bursts that a repetition has at least, so that neighbours tell the drift; with many models a quarter of a round.
const LEAST: usize = 9;

/// Loads models into a fresh process in an order drawn anew, and gives their numbers. What is loaded first takes memory
/// in small pieces, what comes later in larger ones, which is faster: no model may have the same place every time.
pub(crate) fn load(
    device: &mut dyn Device,
    models: &[Model<'_>],
    random: &mut Random,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<usize>> {
    device.restart()?;
    let mut order: Vec<usize> = (0..models.len()).collect();
    random.shuffle(&mut order);
    let ordered: Vec<Model<'_>> = order.iter().map(|&place| models[place]).collect();
    let loaded = device.load_all(&ordered, &mut |done| progress(done, models.len()))?;
    let mut numbers = vec![0; models.len()];
    order.into_iter().zip(loaded).for_each(|(place, number)| numbers[place] = number);
    Ok(numbers)
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
        let mut counts = vec![0; models.len()];
        self.warm_up(device, models)?;
        let mut round = |which: &[usize], random: &mut Random| {
            let mut order = which.to_vec();
            random.shuffle(&mut order);
            self.round(device, models, &order, (launch, &mut counts))
        };
        let mut done = samples.len() / models.len();
        let mut wanted = self.rounds;
        while done < wanted {
            progress(done, wanted);
            let fresh = round(&all, random)?;
            keep(&fresh)?;
            samples.extend(fresh);
            done += 1;
            let spent_s: f64 = samples.iter().map(|sample| sample.elapsed_s).sum();
            if done >= self.rounds && spent_s > self.enough_s * models.len() as f64 {
                break;
            }
            if done == wanted {
                wanted = self.wanted(&samples, models.len(), done);
            }
        }
        progress(done, done);
        let mut bursts = Bursts::new(samples);
        let repeated = self.repeat(&mut bursts, (models.len(), done), random, &mut round)?;
        Ok(self.judge(&bursts, models.len(), repeated))
    }

    /// Measures again what looks disturbed, until each model has a burst for each of so many rounds; tells what was thrown
    /// away, by why. A load, a drift or another frequency may pass: it is waited for as long as `repeats` times all bursts take, or `wait_s`;
    /// but once a drift has lasted for `settle_s`, bursts count at each of the machine's speeds. Bursts that are disturbed
    /// one by one are repeated so often. Bursts that shared their core but look right are repeated no longer than all
    /// bursts take once.
    fn repeat(
        &self,
        bursts: &mut Bursts,
        (models, rounds): (usize, usize),
        random: &mut Random,
        round: &mut Round<'_>,
    ) -> Result<BTreeMap<String, usize>> {
        let mut repeated: BTreeMap<String, usize> = BTreeMap::new();
        let seconds = |samples: &[Sample]| samples.iter().map(|sample| sample.elapsed_s).sum();
        let first = bursts.counting();
        let all_s: f64 = seconds(&first);
        let each_s = all_s / first.len() as f64;
        let most_s = (self.repeats as f64 * all_s).max(self.wait_s);
        let (mut spent_s, mut pass_s, mut drifting_s, mut single) = (0.0, 0.0, 0.0, 0);
        let mut latest = first.len();
        loop {
            let mut found = self.disturbances(bursts, models);
            if spent_s >= all_s || bursts.settled {
                for why in &mut found {
                    *why = why.filter(|why| *why != Disturbance::Shared);
                }
            }
            let any = |of: &[Disturbance]| found.iter().flatten().any(|why| of.contains(why));
            let drifting = |why: &&Option<Disturbance>| **why == Some(Disturbance::Drift);
            let drifts = found[found.len() - latest..].iter().filter(drifting).count();
            let lasts = drifts as f64 >= LASTING * latest as f64;
            drifting_s = if lasts { drifting_s + pass_s } else { 0.0 };
            if drifting_s > self.settle_s {
                bursts.settled = true;
                drifting_s = 0.0;
                continue;
            }
            single += usize::from(!any(&PASSING));
            let mut again = bursts.missing(&found, models, rounds);
            while again.len() < LEAST.max(models / 4) && !again.is_empty() {
                again.push(random.below(models));
            }
            let cost_s = again.len() as f64 * each_s;
            let stop = spent_s + cost_s > most_s || single > self.repeats;
            if stop && !again.is_empty() {
                return Ok(repeated);
            }
            for why in found.iter().flatten() {
                *repeated.entry(why.name().to_owned()).or_default() += 1;
            }
            bursts.retain(&found.iter().map(Option::is_none).collect::<Vec<_>>());
            if again.is_empty() {
                return Ok(repeated);
            }
            let fresh = round(&again, random)?;
            pass_s = seconds(&fresh).max(cost_s);
            spent_s += pass_s;
            latest = fresh.len();
            bursts.extend(fresh);
        }
    }

    /// Rounds after which the models' times are as exact as asked for, as far as the noise so far tells.
    fn wanted(&self, samples: &[Sample], models: usize, done: usize) -> usize {
        let spread = 1.4826 * mad(&Levels::of(&moments(samples), models).residuals);
        // Each model's level has taken a part of its bursts' spread.
        let spread = spread / (1.0 - 1.0 / done as f64).sqrt();
        let needed = (spread / self.precision).powi(2).ceil();
        if needed.is_finite() { (needed as usize).clamp(done, self.most_rounds) } else { done }
    }

    /// The first calls of a process take longer; one of each is made in any case.
    pub(crate) fn warm_up(&self, device: &mut dyn Device, models: &[usize]) -> Result<()> {
        let burst = |&model: &usize| Burst {
            warm_up: self.warm_up.max(1),
            calls: 0,
            seconds: 0.0,
            patience_s: 0.0,
            ..self.burst(model)
        };
        device.time(&models.iter().map(burst).collect::<Vec<_>>()).map(drop)
    }

    fn burst(&self, model: usize) -> Burst {
        Burst {
            model,
            warm_up: self.warm_up,
            warm_up_s: self.warm_up_s,
            calls: self.calls,
            seconds: self.burst_s,
            patience_s: self.patience_s,
        }
    }

    fn round(
        &self,
        device: &mut dyn Device,
        models: &[usize],
        order: &[usize],
        (launch, counts): (usize, &mut [usize]),
    ) -> Result<Vec<Sample>> {
        let bursts: Vec<Burst> = order.iter().map(|&model| self.burst(models[model])).collect();
        let ran = device.time(&bursts)?;
        let sample = |(&model, ran): (&usize, Ran)| {
            counts[model] += 1;
            Sample::new(model, (launch, counts[model] - 1), &ran)
        };
        order.iter().zip(ran).map(sample).collect()
    }
}

#[cfg(test)]
mod tests;
