//! A policy of independent categorical distributions, one for each choice, that learns by REINFORCE.

use netfit_spaces::Random;

use super::{
    choices::Choices,
    gradient::{Adam, AdamOptions, Baseline, draw, softmax},
    policy::{Policy, Sample},
};

/// `ln p(a)` is the sum of `ln softmax(logits_i)[a_i]` over the active choices `i` of `a`; one step of Adam along the
/// mean over a batch of `(R - baseline) d ln p(a)`, where the baseline is the moving average of the mean rewards with
/// this batch in it.
pub(super) struct Logits {
    choices: Choices,
    /// Where each choice's logits begin.
    offsets: Vec<usize>,
    parameters: Vec<f64>,
    probabilities: Vec<f64>,
    adam: Adam,
    baseline: Baseline,
    /// Networks still to be seen before the first step.
    warm_up: usize,
}

impl Logits {
    /// A policy whose logits start at `initial()`.
    pub(super) fn new(
        choices: Choices,
        adam: AdamOptions,
        baseline: f64,
        warm_up: usize,
        initial: impl FnMut() -> f64,
    ) -> Self {
        let (mut offsets, mut total) = (Vec::new(), 0);
        for size in choices.sizes() {
            offsets.push(total);
            total += size;
        }
        let parameters: Vec<f64> = std::iter::repeat_with(initial).take(total).collect();
        let mut policy = Self {
            choices,
            offsets,
            probabilities: vec![0.0; total],
            adam: Adam::new(adam, total),
            baseline: Baseline::new(baseline),
            warm_up,
            parameters,
        };
        policy.refresh();
        policy
    }

    fn of_choice(&self, index: usize) -> std::ops::Range<usize> {
        self.offsets[index]..self.offsets[index] + self.choices.sizes()[index]
    }

    fn refresh(&mut self) {
        self.probabilities.clone_from(&self.parameters);
        for index in 0..self.offsets.len() {
            let range = self.of_choice(index);
            softmax(&mut self.probabilities[range]);
        }
    }

    /// Adds `weight * d ln p(values)`.
    fn add_slope(&self, values: &[u8], weight: f64, gradient: &mut [f64]) {
        for (index, &value) in values.iter().enumerate() {
            if self.choices.active(values, index) {
                let range = self.of_choice(index);
                gradient[range.start + usize::from(value)] += weight;
                for place in range {
                    gradient[place] -= weight * self.probabilities[place];
                }
            }
        }
    }
}

impl Policy for Logits {
    fn draw(&self, mix: f64, random: &mut Random) -> Vec<u8> {
        self.choices.build(|index, _| draw(&self.probabilities[self.of_choice(index)], mix, random))
    }

    fn learn(&mut self, batch: &[Sample]) {
        let rewards: Vec<f64> = batch.iter().map(|sample| sample.reward).collect();
        let baseline = self.baseline.with(&rewards);
        if self.warm_up > 0 {
            self.warm_up = self.warm_up.saturating_sub(batch.len());
            return;
        }
        let mut gradient = vec![0.0; self.parameters.len()];
        for sample in batch {
            let weight = (sample.reward - baseline) / batch.len() as f64;
            self.add_slope(&sample.values, weight, &mut gradient);
        }
        self.adam.climb(&mut self.parameters, &gradient);
        self.refresh();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::Space;

    use super::*;

    fn policy(preset: &str, seed: u64) -> Logits {
        let choices = Choices::new(&Space::preset(preset).unwrap());
        let mut random = Random::new(seed, "logits");
        Logits::new(choices, AdamOptions::new(0.1, 0.0), 0.95, 0, || random.normal())
    }

    fn log_probability(policy: &Logits, values: &[u8]) -> f64 {
        let active = (0..values.len()).filter(|&index| policy.choices.active(values, index));
        let p = |index| policy.probabilities[policy.offsets[index] + usize::from(values[index])];
        active.map(|index| p(index).ln()).sum()
    }

    #[test]
    fn slopes_agree_with_numerical_derivatives_and_inactive_choices_have_none() {
        let mut policy = policy("ofa-28", 0);
        let values = policy.draw(0.0, &mut Random::new(1, "logits"));
        let inactive = (0..values.len()).find(|&i| !policy.choices.active(&values, i)).unwrap();
        let mut gradient = vec![0.0; policy.parameters.len()];
        policy.add_slope(&values, 1.0, &mut gradient);
        assert!(gradient[policy.of_choice(inactive)].iter().all(|g| g.abs() < f64::MIN_POSITIVE));
        for (place, slope) in gradient.into_iter().enumerate() {
            let mut at = |shift: f64| {
                let logit = policy.parameters[place];
                policy.parameters[place] += shift;
                policy.refresh();
                let found = log_probability(&policy, &values);
                policy.parameters[place] = logit;
                found
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - expected).abs() < 1e-8, "{place}: {slope} against {expected}");
        }
    }

    #[test]
    fn what_is_rewarded_above_the_baseline_becomes_likelier() {
        let mut policy = policy("nas-bench-macro", 2);
        let (good, bad) = (vec![1; 8], vec![2; 8]);
        let before = [&good, &bad].map(|values| log_probability(&policy, values));
        let sample = |values: &[u8], reward| Sample { values: values.to_vec(), reward };
        policy.learn(&[sample(&good, 1.0), sample(&bad, 0.0)]);
        let after = [&good, &bad].map(|values| log_probability(&policy, values));
        assert!(after[0] > before[0] && after[1] < before[1], "{before:?} {after:?}");
    }

    #[test]
    fn the_warm_up_changes_nothing() {
        let mut policy = policy("nas-bench-macro", 3);
        policy.warm_up = 2;
        let before = policy.parameters.clone();
        let sample = |value, reward| Sample { values: vec![value; 8], reward };
        policy.learn(&[sample(0, 1.0), sample(1, 0.0)]);
        assert_eq!(policy.parameters, before);
        policy.learn(&[sample(0, 1.0), sample(1, 0.0)]);
        assert_ne!(policy.parameters, before);
    }
}
