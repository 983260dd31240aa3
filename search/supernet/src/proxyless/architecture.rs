//! The architecture's parameters: a categorical distribution over the options of each choice.

use netfit_search::{Adam, AdamOptions, draw, job::Proxyless, softmax};
use netfit_spaces::Random;
use serde::{Deserialize, Serialize};

/// Added to the root of Adam's second moment, as in the authors' code.
const EPSILON: f64 = 1e-8;

/// `p = softmax(alpha)` for each choice, with Adam's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Architecture {
    alphas: Vec<Vec<f64>>,
    adam: Adam,
}

/// Two options of one choice: the one on the path, and another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) active: usize,
    pub(crate) other: usize,
}

impl Pair {
    pub(crate) fn involved(self) -> [usize; 2] {
        [self.active, self.other]
    }
}

impl Architecture {
    /// `alpha ~ N(0, architecture_deviation^2)` for choices of these sizes.
    pub(crate) fn new(sizes: &[usize], options: &Proxyless, seed: u64) -> Self {
        let mut random = Random::new(seed, "alphas");
        let mut alphas = |&size: &usize| {
            (0..size).map(|_| options.architecture_deviation * random.normal()).collect()
        };
        let [beta1, beta2] = options.architecture_betas;
        let learning_rate = options.architecture_learning_rate;
        let adam = AdamOptions { learning_rate, beta1, beta2, epsilon: EPSILON };
        Self {
            alphas: sizes.iter().map(&mut alphas).collect(),
            adam: Adam::new(adam, sizes.iter().sum()),
        }
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.alphas.iter().map(Vec::len).collect()
    }

    pub(crate) fn probabilities(&self) -> Vec<Vec<f64>> {
        let mut probabilities = self.alphas.clone();
        for p in &mut probabilities {
            softmax(p);
        }
        probabilities
    }

    /// Options drawn by their probabilities, one a choice.
    pub(crate) fn sample(&self, random: &mut Random) -> Vec<usize> {
        let option = |p: &Vec<f64>| usize::from(draw(p, 0.0, random));
        self.probabilities().iter().map(option).collect()
    }

    /// Options drawn uniformly, as in the warm-up.
    pub(crate) fn uniform(&self, random: &mut Random) -> Vec<usize> {
        self.alphas.iter().map(|alphas| random.below(alphas.len())).collect()
    }

    /// Two options a choice, drawn without replacement; of the two, the one on the path is drawn by what they leave to
    /// each other.
    pub(crate) fn pairs(&self, random: &mut Random) -> Vec<Pair> {
        let mut pair = |mut p: Vec<f64>| {
            let first = usize::from(draw(&p, 0.0, random));
            let share = p[first];
            p[first] = 0.0;
            let rest: f64 = p.iter().sum();
            // Where all others have vanished in rounding, the next one is as good as any.
            let second = if rest > 0.0 {
                let p: Vec<f64> = p.iter().map(|p| p / rest).collect();
                let drawn = usize::from(draw(&p, 0.0, random));
                if drawn == first { (first + 1) % p.len() } else { drawn }
            } else {
                (first + 1) % p.len()
            };
            let other = p[second];
            if random.chance(share / (share + other)) {
                Pair { active: first, other: second }
            } else {
                Pair { active: second, other: first }
            }
        };
        self.probabilities().into_iter().map(&mut pair).collect()
    }

    /// One step of Adam down the gradient; one that is not finite makes none.
    pub(crate) fn step(&mut self, gradient: &[Vec<f64>]) {
        let mut flat: Vec<f64> = self.alphas.concat();
        let uphill: Vec<f64> = gradient.iter().flatten().map(|slope| -slope).collect();
        self.adam.climb(&mut flat, &uphill);
        let mut rest = &flat[..];
        for alphas in &mut self.alphas {
            let (own, others) = rest.split_at(alphas.len());
            alphas.copy_from_slice(own);
            rest = others;
        }
    }

    /// A step that moves one pair in each choice, and then shifts both by the same amount, so that together they are as
    /// probable as before and all others keep their probabilities (appendix of the paper).
    pub(crate) fn step_pairs(&mut self, gradient: &[Vec<f64>], pairs: &[Pair]) {
        let before = self.alphas.clone();
        self.step(gradient);
        for ((alphas, before), pair) in self.alphas.iter_mut().zip(&before).zip(pairs) {
            let both = |alphas: &[f64]| {
                let [a, b] = pair.involved().map(|option| alphas[option]);
                a.max(b) + (-(a - b).abs()).exp().ln_1p()
            };
            let shift = both(alphas) - both(before);
            let [a, b] = pair.involved().map(|option| alphas[option] - shift);
            // Adam's momentum, where it has any, would move the others as well.
            alphas.copy_from_slice(before);
            (alphas[pair.active], alphas[pair.other]) = (a, b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn architecture(rate: f64) -> Architecture {
        let options = Proxyless {
            architecture_learning_rate: rate,
            architecture_deviation: 0.8,
            ..Proxyless::default()
        };
        Architecture::new(&[7, 2, 6], &options, 3)
    }

    #[test]
    fn a_step_of_pairs_leaves_all_other_probabilities_unchanged() {
        let mut architecture = architecture(0.3);
        let mut random = Random::new(1, "pairs");
        for _ in 0..50 {
            let before = architecture.probabilities();
            let pairs = architecture.pairs(&mut random);
            let gradient: Vec<Vec<f64>> = before
                .iter()
                .zip(&pairs)
                .map(|(p, pair)| super::super::gradient::to_pair([1.0, -0.4], p, *pair))
                .collect();
            architecture.step_pairs(&gradient, &pairs);
            let after = architecture.probabilities();
            for ((before, after), pair) in before.iter().zip(&after).zip(&pairs) {
                assert_ne!(pair.active, pair.other);
                for option in 0..before.len() {
                    let moved = after[option] - before[option];
                    if option == pair.active {
                        // Its gate's slope is positive: less of it lowers the loss.
                        assert!(moved < 0.0);
                    } else if option != pair.other {
                        assert!(moved.abs() < 1e-12, "{option} of {pair:?} moved by {moved}");
                    }
                }
            }
        }
    }

    #[test]
    fn paths_and_pairs_follow_the_probabilities() {
        let architecture = architecture(0.1);
        let p = &architecture.probabilities()[0];
        let mut random = Random::new(2, "draws");
        let draws = 20_000;
        let (mut sampled, mut active) = ([0.0; 7], [0.0; 7]);
        let mut uniform = [0.0; 7];
        for _ in 0..draws {
            sampled[architecture.sample(&mut random)[0]] += 1.0 / f64::from(draws);
            active[architecture.pairs(&mut random)[0].active] += 1.0 / f64::from(draws);
            uniform[architecture.uniform(&mut random)[0]] += 1.0 / f64::from(draws);
        }
        for option in 0..7 {
            assert!((sampled[option] - p[option]).abs() < 0.015);
            assert!((uniform[option] - 1.0 / 7.0).abs() < 0.015);
            // By hand: every unordered pair by its probability, times the share of the option in it.
            let with = |other: usize| {
                let together =
                    p[option] * p[other] * (1.0 / (1.0 - p[option]) + 1.0 / (1.0 - p[other]));
                together * p[option] / (p[option] + p[other])
            };
            let expected: f64 = (0..7).filter(|&other| other != option).map(with).sum();
            assert!((active[option] - expected).abs() < 0.015, "{} {expected}", active[option]);
        }
    }

    #[test]
    fn the_first_step_of_adam_is_the_learning_rate_against_the_gradients_sign() {
        let mut architecture = architecture(0.05);
        let before = architecture.alphas.clone();
        let mut gradient: Vec<Vec<f64>> = before.iter().map(|a| vec![2.0; a.len()]).collect();
        gradient[1][0] = -3.0;
        architecture.step(&gradient);
        let moved = |choice: usize, option: usize| {
            architecture.alphas[choice][option] - before[choice][option]
        };
        assert!((moved(0, 3) + 0.05).abs() < 1e-6 && (moved(1, 0) - 0.05).abs() < 1e-6);
        gradient[2][1] = f64::NAN;
        let before = architecture.clone();
        architecture.step(&gradient);
        assert_eq!(architecture, before);
    }
}
