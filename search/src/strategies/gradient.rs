//! What policy gradients share: Adam, the baseline, categorical distributions.

use netfit_spaces::Random;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Adam (Kingma and Ba, ICLR 2015), which climbs here: the parameters follow the gradient upwards.
///
/// Each strategy has its own defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamOptions {
    /// Step size, above 0.
    pub learning_rate: f64,
    /// Decay of the gradient's mean, from 0 to below 1.
    pub beta1: f64,
    /// Decay of the squared gradient's mean, from 0 to below 1.
    pub beta2: f64,
    /// Added to the root of the squared gradient's mean, above 0.
    pub epsilon: f64,
}

impl AdamOptions {
    pub(super) fn new(learning_rate: f64, beta1: f64) -> Self {
        Self { learning_rate, beta1, beta2: 0.999, epsilon: 1e-8 }
    }

    pub(super) fn check(&self, strategy: &'static str) -> Result<()> {
        let Self { learning_rate, beta1, beta2, epsilon } = *self;
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let decay = |x: f64| (0.0..1.0).contains(&x);
        if positive(learning_rate) && positive(epsilon) && decay(beta1) && decay(beta2) {
            return Ok(());
        }
        let reason =
            "expected `learning_rate` and `epsilon` above 0, `beta1` and `beta2` from 0 to below 1"
                .to_owned();
        Err(Error::Configuration { strategy, reason })
    }
}

/// Adam with its state, which can be kept and gone on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    options: AdamOptions,
    /// Weight that the start at 0 still has in each moment: beta to the power of the steps.
    start: [f64; 2],
    mean: Vec<f64>,
    square: Vec<f64>,
}

impl Adam {
    /// At rest, for so many parameters.
    pub fn new(options: AdamOptions, parameters: usize) -> Self {
        Self {
            options,
            start: [1.0; 2],
            mean: vec![0.0; parameters],
            square: vec![0.0; parameters],
        }
    }

    /// One step upwards. A gradient that is not finite as a whole makes none.
    pub fn climb(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        if gradient.iter().any(|g| !g.is_finite()) {
            return;
        }
        let AdamOptions { learning_rate, beta1, beta2, epsilon } = self.options;
        self.start = [self.start[0] * beta1, self.start[1] * beta2];
        let [rest1, rest2] = self.start.map(|start| 1.0 - start);
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((parameter, g), (mean, square)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *mean = beta1 * *mean + (1.0 - beta1) * g;
            *square = beta2 * *square + (1.0 - beta2) * g * g;
            *parameter += learning_rate * (*mean / rest1) / ((*square / rest2).sqrt() + epsilon);
        }
    }
}

/// The exponential moving average of rewards, without the bias of its start at 0 (TuNAS's baseline).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    decay: f64,
    sum: f64,
    weight: f64,
}

impl Baseline {
    /// Of nothing yet; `decay` is from 0 to below 1.
    pub fn new(decay: f64) -> Self {
        Self { decay, sum: 0.0, weight: 0.0 }
    }

    /// The average of what was taken in, if anything was.
    pub fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }

    /// Takes a batch's mean reward in, and says the average. The batch is not empty.
    pub fn with(&mut self, rewards: &[f64]) -> f64 {
        let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
        self.sum = self.decay * self.sum + (1.0 - self.decay) * mean;
        self.weight = self.decay * self.weight + (1.0 - self.decay);
        self.sum / self.weight
    }
}

/// Turns logits into probabilities.
pub fn softmax(logits: &mut [f64]) {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for logit in &mut *logits {
        *logit = libm::exp(*logit - highest);
        sum += *logit;
    }
    for logit in logits {
        *logit /= sum;
    }
}

/// A draw from `probabilities`, mixed with a uniform one: `(1 - mix) p + mix / n`.
pub fn draw(probabilities: &[f64], mix: f64, random: &mut Random) -> u8 {
    let last = probabilities.len() - 1;
    if mix > 0.0 && random.chance(mix) {
        return random.below(last + 1) as u8;
    }
    let mut left = random.uniform();
    let place = probabilities.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    place.unwrap_or(last) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adam_is_that_computed_by_hand() {
        let options = AdamOptions { learning_rate: 0.1, beta1: 0.5, beta2: 0.75, epsilon: 1e-8 };
        let mut adam = Adam::new(options, 1);
        let mut parameter = [1.0];
        // Bias-corrected, the first step is the sign of the gradient.
        adam.climb(&mut parameter, &[4.0]);
        assert!((parameter[0] - 1.1).abs() < 1e-8);
        // Mean (0.5 * 2 + 0.5 * -2) / 0.75 = 0.
        adam.climb(&mut parameter, &[-2.0]);
        assert!((parameter[0] - 1.1).abs() < 1e-8);
        adam.climb(&mut parameter, &[f64::NAN]);
        // Mean (0.5 * 0 + 0.5 * 2) / 0.875; square ((4 * 0.75 + 1) * 0.75 + 1) / (37 / 64).
        adam.climb(&mut parameter, &[2.0]);
        let step = 0.1 * (1.0 / 0.875) / (4.0_f64 / (37.0 / 64.0)).sqrt();
        assert!((parameter[0] - 1.1 - step).abs() < 1e-8, "{}", parameter[0] - 1.1 - step);
    }

    #[test]
    fn a_baseline_starts_at_the_first_reward_and_follows() {
        let mut baseline = Baseline::new(0.75);
        assert!((baseline.with(&[0.5, 0.7]) - 0.6).abs() < 1e-12);
        // (0.75 * 0.25 * 0.6 + 0.25 * 1) / (1 - 0.75^2)
        assert!((baseline.with(&[1.0]) - (0.1125 + 0.25) / 0.4375).abs() < 1e-12);
    }

    #[test]
    fn draws_follow_the_mixed_probabilities() {
        let mut p = [1.0, 1.0 + 3.0_f64.ln(), -1e3];
        softmax(&mut p);
        assert!((p[0] - 0.25).abs() < 1e-12 && (p[1] - 0.75).abs() < 1e-12);
        for (mix, expected) in [(0.0, [0.25, 0.75, 0.0]), (0.3, [0.275, 0.625, 0.1])] {
            let mut random = Random::new(0, "draw");
            let mut counts = [0; 3];
            for _ in 0..20_000 {
                counts[usize::from(draw(&p, mix, &mut random))] += 1;
            }
            for (count, expected) in counts.iter().zip(expected) {
                assert!((f64::from(*count) / 20_000.0 - expected).abs() < 0.015, "{counts:?}");
            }
        }
    }
}
