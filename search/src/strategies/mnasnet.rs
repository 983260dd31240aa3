//! MnasNet's recurrent controller.

use netfit_spaces::{Genotype, Random, Space};

use super::{
    AdamOptions, StrategyOptions,
    choices::Choices,
    gradient::{Adam, Baseline, draw, softmax},
    lstm::{Lstm, Step},
    policy::{Objective, Policy, PolicySearch, Sample},
};
use crate::{Error, Evaluated, Result, Strategy};

const NAME: &str = "mnasnet";

/// How [`MnasNet`] searches.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `hidden` | 32 | units of the LSTM |
/// | `span` | 0.1 | weights start uniform within this of 0 |
/// | `batch` | 10 | networks of one update |
/// | `update` | PPO, clip 0.2, 4 epochs | how a batch is learned from |
/// | `adam` | learning rate 1e-2, betas 0.9 and 0.999, epsilon 1e-8 | the policy's optimiser |
/// | `baseline` | 0.8 | decay of the mean reward of an update's networks, and of the rewards' variance |
/// | `entropy` | 0.01 | weight of the policy's entropy, for rewards of standard deviation 1 |
/// | `tries` | 20 | draws that are known already before uniform ones are mixed in |
#[derive(Clone, Debug, PartialEq)]
pub struct MnasNetOptions {
    /// Units of the LSTM.
    pub hidden: usize,
    /// Weights start uniform within this of 0; 0 or more.
    pub span: f64,
    /// Networks of one update.
    pub batch: usize,
    /// How a batch is learned from.
    pub update: PolicyUpdate,
    /// The policy's optimiser.
    pub adam: AdamOptions,
    /// Decay of the mean reward of an update's networks, and of the rewards' variance; from 0 to below 1.
    pub baseline: f64,
    /// Weight of the policy's entropy, for rewards of standard deviation 1; 0 or more.
    pub entropy: f64,
    /// Draws that are known already before uniform ones are mixed in.
    pub tries: usize,
}

impl Default for MnasNetOptions {
    fn default() -> Self {
        Self {
            hidden: 32,
            span: 0.1,
            batch: 10,
            update: PolicyUpdate::Ppo { clip: 0.2, epochs: 4 },
            adam: AdamOptions::new(1e-2, 0.9),
            baseline: 0.8,
            entropy: 0.01,
            tries: 20,
        }
    }
}

impl MnasNetOptions {
    fn check(&self) -> Result<()> {
        self.adam.check(NAME)?;
        let fail =
            |reason: &str| Err(Error::Configuration { strategy: NAME, reason: reason.to_owned() });
        if self.hidden == 0 || self.batch == 0 || self.tries == 0 {
            return fail("expected `hidden`, `batch` and `tries` of at least 1");
        }
        let positive = |x: f64| x >= 0.0 && x.is_finite();
        let baseline = (0.0..1.0).contains(&self.baseline);
        if !positive(self.span) || !positive(self.entropy) || !baseline {
            return fail(
                "expected `span` and `entropy` of at least 0, `baseline` from 0 to below 1",
            );
        }
        match self.update {
            PolicyUpdate::Ppo { clip, epochs } if !(clip > 0.0 && clip < 1.0) || epochs == 0 => {
                fail("expected `clip` between 0 and 1, `epochs` of at least 1")
            }
            _ => Ok(()),
        }
    }
}

/// How the controller learns from a batch. With `A` the advantage of a network, its reward less the baseline in units
/// of the rewards' standard deviation, and `r` its probability now over that when it was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PolicyUpdate {
    /// Proximal policy optimisation (Schulman et al., 2017): several steps up `min(r A, clamp(r, 1 -+ clip) A)`.
    Ppo {
        /// How far the probability of a network may move, a share.
        clip: f64,
        /// Steps of one batch.
        epochs: usize,
    },
    /// REINFORCE with a baseline (Williams, 1992): one step up `A ln p`.
    Reinforce,
}

/// MnasNet's controller (Tan et al., CVPR 2019, section 4.3): an LSTM makes one choice after the other, each seeing
/// those before it, and learns by PPO. The paper's reward is `mnasnet-soft`.
///
/// Inactive choices are 0 and have no part in the probability. Departures, for searches of some hundred networks
/// instead of 8,000: 32 units, a batch of 10 and a larger learning rate; advantages are divided by the standard
/// deviation of the rewards, so that the entropy's weight means the same for every source of accuracies.
pub struct MnasNet(PolicySearch<Controller>);

impl MnasNet {
    /// The controller over `space`.
    ///
    /// # Errors
    /// Options out of range; a reward without a target.
    pub fn new(
        space: &Space,
        options: MnasNetOptions,
        goal: &StrategyOptions,
        seed: u64,
    ) -> Result<Self> {
        options.check()?;
        let objective = Objective::new(NAME, goal)?;
        let (choices, size) = (Choices::new(space), (options.batch, options.tries));
        let mut random = Random::new(seed, "strategy/mnasnet");
        let policy = Controller::new(choices.clone(), options, &mut random);
        Ok(Self(PolicySearch::new(policy, choices, objective, random, size)))
    }
}

impl Strategy for MnasNet {
    fn ask(&mut self, most: usize) -> Vec<Genotype> {
        self.0.ask(most)
    }

    fn tell(&mut self, evaluated: &[Evaluated]) {
        self.0.tell(evaluated);
    }
}

/// The policy itself.
struct Controller {
    choices: Choices,
    lstm: Lstm,
    adam: Adam,
    mean: Baseline,
    variance: Baseline,
    options: MnasNetOptions,
}

/// A network under the present policy.
struct Reading {
    steps: Vec<Step>,
    /// Of each choice; none where it is inactive.
    probabilities: Vec<Vec<f64>>,
    log_probability: f64,
}

impl Controller {
    fn new(choices: Choices, options: MnasNetOptions, random: &mut Random) -> Self {
        let lstm = Lstm::new(choices.sizes(), options.hidden, options.span, random);
        let adam = Adam::new(options.adam.clone(), lstm.parameters.len());
        let (mean, variance) = (Baseline::new(options.baseline), Baseline::new(options.baseline));
        Self { choices, lstm, adam, mean, variance, options }
    }

    fn read(&self, values: &[u8]) -> Reading {
        let steps = self.lstm.steps(values);
        let mut log_probability = 0.0;
        let distribution = |index: usize| {
            if !self.choices.active(values, index) {
                return Vec::new();
            }
            let mut p = self.lstm.logits(index, &steps[index]);
            softmax(&mut p);
            log_probability += libm::log(p[usize::from(values[index])].max(f64::MIN_POSITIVE));
            p
        };
        let probabilities = (0..values.len()).map(distribution).collect();
        Reading { steps, probabilities, log_probability }
    }

    /// Rewards less their moving mean, in units of their moving standard deviation.
    fn advantages(&mut self, batch: &[Sample]) -> Vec<f64> {
        let rewards: Vec<f64> = batch.iter().map(|sample| sample.reward).collect();
        let mean = self.mean.with(&rewards);
        let squares: Vec<f64> = rewards.iter().map(|reward| (reward - mean).powi(2)).collect();
        let deviation = self.variance.with(&squares).sqrt().max(f64::MIN_POSITIVE);
        rewards.into_iter().map(|reward| (reward - mean) / deviation).collect()
    }

    /// Adds the gradient of `weights.0 * ln p + weights.1 * sum of the active choices' entropies`.
    fn add_slope(&self, values: &[u8], read: &Reading, weights: (f64, f64), gradient: &mut [f64]) {
        let slope = |(p, &value): (&Vec<f64>, &u8)| {
            let ln: Vec<f64> = p.iter().map(|&p| libm::log(p.max(f64::MIN_POSITIVE))).collect();
            let entropy: f64 = p.iter().zip(&ln).map(|(p, ln)| -p * ln).sum();
            let of = |(place, (p, ln)): (usize, (&f64, &f64))| {
                let chosen = f64::from(u8::from(place == usize::from(value)));
                weights.0 * (chosen - p) - weights.1 * p * (ln + entropy)
            };
            p.iter().zip(&ln).enumerate().map(of).collect()
        };
        let slopes: Vec<Vec<f64>> = read.probabilities.iter().zip(values).map(slope).collect();
        self.lstm.backward(&read.steps, &slopes, gradient);
    }
}

impl Policy for Controller {
    fn draw(&self, mix: f64, random: &mut Random) -> Vec<u8> {
        let mut steps: Vec<Step> = Vec::with_capacity(self.choices.sizes().len());
        self.choices.build(|index, values| {
            while steps.len() <= index {
                let next = steps.len();
                let before = steps.last().map(|step| (step, values[next - 1]));
                steps.push(self.lstm.step(next, before));
            }
            let mut probabilities = self.lstm.logits(index, &steps[index]);
            softmax(&mut probabilities);
            draw(&probabilities, mix, random)
        })
    }

    fn learn(&mut self, batch: &[Sample]) {
        let advantages = self.advantages(batch);
        let (clip, epochs) = match self.options.update {
            PolicyUpdate::Ppo { clip, epochs } => (clip, epochs),
            PolicyUpdate::Reinforce => (1.0, 1),
        };
        let (mut drawn, count) = (Vec::new(), batch.len() as f64);
        for epoch in 0..epochs {
            let mut gradient = vec![0.0; self.lstm.parameters.len()];
            for (place, (sample, advantage)) in batch.iter().zip(&advantages).enumerate() {
                let read = self.read(&sample.values);
                if epoch == 0 {
                    drawn.push(read.log_probability);
                }
                let ratio = libm::exp(read.log_probability - drawn[place]);
                let weights =
                    (clipped(ratio, *advantage, clip) / count, self.options.entropy / count);
                self.add_slope(&sample.values, &read, weights, &mut gradient);
            }
            self.adam.climb(&mut self.lstm.parameters, &gradient);
        }
    }
}

/// The slope of `min(r A, clamp(r, 1 - clip, 1 + clip) A)` by `ln p`: `r A`, and 0 where the ratio has already gone
/// as far as it may.
fn clipped(ratio: f64, advantage: f64, clip: f64) -> f64 {
    let gone = if advantage > 0.0 { ratio > 1.0 + clip } else { ratio < 1.0 - clip };
    if gone { 0.0 } else { ratio * advantage }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn controller(preset: &str, options: MnasNetOptions) -> Controller {
        let choices = Choices::new(&Space::preset(preset).unwrap());
        Controller::new(choices, options, &mut Random::new(0, "mnasnet"))
    }

    #[test]
    fn slopes_agree_with_numerical_derivatives_of_log_probability_and_entropy() {
        let options = MnasNetOptions { hidden: 4, span: 0.8, ..Default::default() };
        let mut policy = controller("ofa-28", options);
        let values = policy.draw(0.0, &mut Random::new(1, "mnasnet"));
        assert!((0..values.len()).any(|index| !policy.choices.active(&values, index)));
        let goal = |policy: &Controller| {
            let read = policy.read(&values);
            let all = read.probabilities.iter().flatten();
            -2.0 * read.log_probability + 0.3 * all.map(|p| -p * p.ln()).sum::<f64>()
        };
        let mut gradient = vec![0.0; policy.lstm.parameters.len()];
        policy.add_slope(&values, &policy.read(&values), (-2.0, 0.3), &mut gradient);
        for place in (0..gradient.len()).step_by(7) {
            let parameter = policy.lstm.parameters[place];
            let mut at = |shift: f64| {
                policy.lstm.parameters[place] = parameter + shift;
                goal(&policy)
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            policy.lstm.parameters[place] = parameter;
            let slope = gradient[place];
            assert!((slope - expected).abs() < 1e-7, "{place}: {slope} against {expected}");
        }
    }

    #[test]
    fn draws_have_the_probability_that_is_learned_from() {
        let policy =
            controller("nas-bench-macro", MnasNetOptions { span: 2.0, ..Default::default() });
        let mut random = Random::new(2, "mnasnet");
        let values = policy.draw(0.0, &mut random);
        // How often the first three choices are those, against their probability.
        let read = policy.read(&values);
        let expected: f64 =
            (0..3).map(|index| read.probabilities[index][usize::from(values[index])]).product();
        let hits = (0..5000).filter(|_| policy.draw(0.0, &mut random)[..3] == values[..3]).count();
        let deviation = (expected * (1.0 - expected) / 5000.0).sqrt();
        let found = hits as f64 / 5000.0;
        assert!((found - expected).abs() < 5.0 * deviation, "{found} against {expected}");
    }

    #[test]
    fn a_ratio_that_has_gone_far_enough_has_no_slope() {
        for (ratio, advantage, expected) in [
            (1.0, 2.0, 2.0),
            (1.19, 2.0, 2.38),
            (1.21, 2.0, 0.0),
            (0.5, 2.0, 1.0),
            (0.81, -2.0, -1.62),
            (0.79, -2.0, 0.0),
            (1.5, -2.0, -3.0),
        ] {
            let found = clipped(ratio, advantage, 0.2);
            assert!((found - expected).abs() < 1e-12, "{ratio} {advantage}: {found}");
        }
    }

    #[test]
    fn both_updates_make_what_is_rewarded_likelier() {
        for update in [PolicyUpdate::Reinforce, MnasNetOptions::default().update] {
            let options = MnasNetOptions { update, entropy: 0.0, ..Default::default() };
            let mut policy = controller("nas-bench-macro", options);
            let (good, bad) = (vec![1; 8], vec![2; 8]);
            let sample = |values: &[u8], reward| Sample { values: values.to_vec(), reward };
            let before = [&good, &bad].map(|values| policy.read(values).log_probability);
            policy.learn(&[sample(&good, 1.0), sample(&bad, 0.0)]);
            let after = [&good, &bad].map(|values| policy.read(values).log_probability);
            assert!(after[0] > before[0] && after[1] < before[1], "{before:?} {after:?}");
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let default = MnasNetOptions::default;
        for options in [
            MnasNetOptions { hidden: 0, ..default() },
            MnasNetOptions { entropy: -1.0, ..default() },
            MnasNetOptions { update: PolicyUpdate::Ppo { clip: 0.2, epochs: 0 }, ..default() },
            MnasNetOptions { update: PolicyUpdate::Ppo { clip: f64::NAN, epochs: 1 }, ..default() },
        ] {
            let none = StrategyOptions::default();
            let error = MnasNet::new(&space, options, &none, 0).err().unwrap().to_string();
            assert!(error.starts_with("strategy `mnasnet`: expected"), "{error}");
        }
    }
}
