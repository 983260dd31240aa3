//! Whole-network times that a drifting machine does not move: each burst is divided by those of one reference network
//! right before and after it, in rounds that visit all models in an order drawn anew, and what looks disturbed is
//! measured again.

use netfit_latency_tables::{mad, median, trimmed_mean};
use netfit_spaces::Random;

use crate::{Burst, Device, Error, Result};

/// How whole networks are measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairing {
    /// Bursts of each model in each process.
    pub rounds: usize,
    /// Timed calls of a burst at least.
    pub calls: usize,
    /// Time of a burst.
    pub burst_s: f64,
    /// A burst is disturbed if it, or the reference beside it, is further than so many robust standard deviations
    /// (1.4826 MAD) from the median, and further than `tolerance`.
    pub deviations: f64,
    /// Relative distance that is never a disturbance.
    pub tolerance: f64,
    /// How often disturbed bursts are measured again.
    pub repeats: usize,
    /// Share of bursts that may stay disturbed.
    pub accepted: f64,
}

impl Default for Pairing {
    /// 20 rounds, bursts of 3 calls or 4 ms, 5 deviations, 3 % tolerance, 3 repeats, 10 % accepted.
    fn default() -> Self {
        Self {
            rounds: 20,
            calls: 3,
            burst_s: 0.004,
            deviations: 5.0,
            tolerance: 0.03,
            repeats: 3,
            accepted: 0.1,
        }
    }
}

/// What one process has measured.
pub(crate) struct Paired {
    /// For each model: times in units of the reference's.
    pub(crate) ratios: Vec<Vec<f64>>,
    /// The reference's median time.
    pub(crate) reference_s: f64,
    /// Largest relative distance of a tenth of the reference's bursts from all of them.
    pub(crate) drift: f64,
    pub(crate) repeated: usize,
    pub(crate) disturbed: usize,
}

/// One burst of a model between two of the reference.
#[derive(Clone, Copy)]
struct Sample {
    model: usize,
    seconds: f64,
    before: f64,
    after: f64,
}

impl Sample {
    fn ratio(&self) -> f64 {
        2.0 * self.seconds / (self.before + self.after)
    }
}

impl Pairing {
    pub(crate) fn check(&self) -> Result<()> {
        if self.rounds >= 3 && self.calls >= 1 && self.burst_s >= 0.0 {
            return Ok(());
        }
        Err(Error::Setting {
            what: "rounds of a measurement",
            expected: "at least 3, of at least 1 call".into(),
            found: format!("{} of {}", self.rounds, self.calls),
        })
    }

    /// Measures loaded models beside the loaded `reference`. `progress` is told rounds done and in all.
    pub(crate) fn measure(
        &self,
        device: &mut dyn Device,
        models: &[usize],
        reference: usize,
        random: &mut Random,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Paired> {
        let mut samples = Vec::new();
        // One round to warm up, which does not count.
        self.round(device, models, reference, random)?;
        for round in 0..self.rounds {
            progress(round, self.rounds);
            samples.extend(self.round(device, models, reference, random)?);
        }
        progress(self.rounds, self.rounds);
        let mut repeated = 0;
        for _ in 0..self.repeats {
            let disturbed = self.disturbed(&samples);
            let mut again: Vec<usize> = samples
                .iter()
                .zip(&disturbed)
                .filter(|(_, bad)| **bad)
                .map(|(s, _)| s.model)
                .collect();
            if again.is_empty() {
                break;
            }
            repeated += again.len();
            let mut keep = disturbed.iter().map(|bad| !bad);
            samples.retain(|_| keep.next().unwrap_or(true));
            again.sort_unstable();
            samples.extend(self.round(device, &again, reference, random)?);
        }
        Ok(self.judge(&samples, models, repeated))
    }

    fn round(
        &self,
        device: &mut dyn Device,
        models: &[usize],
        reference: usize,
        random: &mut Random,
    ) -> Result<Vec<Sample>> {
        let mut order = models.to_vec();
        random.shuffle(&mut order);
        let burst = |model| Burst { model, calls: self.calls, seconds: self.burst_s };
        let mut bursts = vec![burst(reference)];
        bursts.extend(order.iter().flat_map(|&model| [burst(model), burst(reference)]));
        let times: Vec<f64> = device.time(&bursts)?.iter().map(|times| median(times)).collect();
        if let Some(wrong) = times.iter().find(|seconds| !(seconds.is_finite() && **seconds > 0.0))
        {
            return Err(Error::Setting {
                what: "time of a burst",
                expected: "a positive number of seconds".into(),
                found: wrong.to_string(),
            });
        }
        let sample = |(index, &model): (usize, &usize)| Sample {
            model,
            before: times[2 * index],
            seconds: times[2 * index + 1],
            after: times[2 * index + 2],
        };
        Ok(order.iter().enumerate().map(sample).collect())
    }

    /// Which samples are out of line: by their reference, or within their model.
    fn disturbed(&self, samples: &[Sample]) -> Vec<bool> {
        let far = |of: &[f64]| {
            let middle = median(of);
            let bound = (self.deviations * 1.4826 * mad(of)).max(self.tolerance * middle);
            move |value: f64| (value - middle).abs() > bound
        };
        let references: Vec<f64> =
            samples.iter().flat_map(|sample| [sample.before, sample.after]).collect();
        let reference_far = far(&references);
        let most = samples.iter().map(|sample| sample.model + 1).max().unwrap_or(0);
        let ratio_far: Vec<_> = (0..most).map(|model| far(&ratios(samples, model))).collect();
        samples
            .iter()
            .map(|sample| {
                reference_far(sample.before)
                    || reference_far(sample.after)
                    || ratio_far[sample.model](sample.ratio())
            })
            .collect()
    }

    fn judge(&self, samples: &[Sample], models: &[usize], repeated: usize) -> Paired {
        let bursts: Vec<f64> =
            samples.iter().flat_map(|sample| [sample.before, sample.after]).collect();
        let reference_s = median(&bursts);
        let drift = bursts
            .chunks(bursts.len().div_ceil(10).max(1))
            .map(|tenth| (median(tenth) / reference_s - 1.0).abs())
            .fold(0.0, f64::max);
        Paired {
            ratios: models.iter().map(|&model| ratios(samples, model)).collect(),
            reference_s,
            drift,
            repeated,
            disturbed: self.disturbed(samples).iter().filter(|bad| **bad).count(),
        }
    }
}

fn ratios(samples: &[Sample], model: usize) -> Vec<f64> {
    samples.iter().filter(|sample| sample.model == model).map(Sample::ratio).collect()
}

/// The estimate from a model's ratios: the mean of their middle half.
pub(crate) fn estimate(ratios: &[f64]) -> f64 {
    trimmed_mean(ratios, 0.25)
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

    #[test]
    fn disturbed_rounds_are_found_and_repeated() {
        let mut device = FakeDevice::new(1);
        device.noise = 0.01;
        // 13 bursts a round: the second, the third and a part of the sixth counted round.
        device.disturbances = vec![(26..52, 1.6), (82..85, 1.3)];
        let (networks, models) = loaded(&mut device, 7);
        let paired = Pairing::default()
            .measure(&mut device, &models[1..], 0, &mut Random::new(0, "order"), &mut |_, _| {})
            .unwrap();
        assert!((12..30).contains(&paired.repeated), "{}", paired.repeated);
        assert_eq!(paired.disturbed, 0);
        for (ratios, network) in paired.ratios.iter().zip(&networks[1..]) {
            let truth = device.network_s(network) / device.network_s(&networks[0]);
            assert!((estimate(ratios) / truth - 1.0).abs() < 0.01);
            assert_eq!(ratios.len(), 20);
        }
    }

    #[test]
    fn a_process_that_is_slow_as_a_whole_changes_no_ratio() {
        let mut device = FakeDevice::new(1);
        device.process_noise = 0.1;
        device.restart().unwrap();
        let (networks, models) = loaded(&mut device, 3);
        let paired = Pairing::default()
            .measure(&mut device, &models[1..], 0, &mut Random::new(0, "order"), &mut |_, _| {})
            .unwrap();
        assert!((paired.reference_s / device.network_s(&networks[0]) - 1.0).abs() > 0.01);
        let truth = device.network_s(&networks[2]) / device.network_s(&networks[0]);
        assert!((estimate(&paired.ratios[1]) / truth - 1.0).abs() < 1e-9);
        assert_eq!(paired.repeated, 0);
    }
}
