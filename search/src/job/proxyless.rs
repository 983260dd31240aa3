//! How ProxylessNAS trains a binarised supernet and its architecture, and what it must know of latency.

use netfit_spaces::Genotype;
use serde::{Deserialize, Serialize};

/// The `[proxyless]` table of a run's configuration (Cai et al., ICLR 2019; constants of the authors' code).
///
/// Batch, momentum, weight decay, label smoothing, dropout, augmentation and the share of linear warm-up are those of
/// [`super::Training`].
///
/// | field | default | purpose |
/// |---|---|---|
/// | `update` | `full_v2` | how the architecture learns |
/// | `loss` | `dual` | how latency enters the loss; not used by `reinforce`, whose reward holds it |
/// | `warmup_epochs` | 40 | epochs of weights only, paths drawn uniformly |
/// | `epochs` | 120 | epochs of weights and architecture |
/// | `rest_epochs` | 1 | first of those without a step of the architecture |
/// | `interval` | 5 | weight steps between two steps of the architecture |
/// | `warmup_learning_rate` | 0.05 | peak learning rate of the weights in the warm-up (cosine) |
/// | `learning_rate` | 0.025 | peak learning rate of the weights after it (cosine) |
/// | `architecture_learning_rate` | 1e-3 | Adam's, for alpha |
/// | `architecture_betas` | 0, 0.999 | Adam's |
/// | `architecture_deviation` | 1e-3 | standard deviation of alpha at the start |
/// | `architecture_images` | 0.1 | share of the training images that teach alpha and nothing else |
/// | `lambda` | 0.1 | price of latency in `add`; where `dual` starts |
/// | `eta` | 0.05 | step of the price in `dual` |
/// | `damping` | 1 | what the price in `dual` is higher by for each target's worth above the target |
/// | `mul_scale`, `mul_exponent` | 0.2, 0.3 | `a` and `b` of `mul` |
/// | `networks` | 10 | networks of one update of `reinforce` |
/// | `reward_exponent` | 0.1 | `w` of its reward |
/// | `baseline` | 0.8 | decay of its mean reward |
/// | `slack` | 0.05 | share of the target that the derived network may stay below it |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxyless {
    /// How the architecture learns.
    pub update: Update,
    /// How latency enters the loss.
    pub loss: LatencyLoss,
    /// Epochs of weights only, at least 0.
    pub warmup_epochs: f64,
    /// Epochs of weights and architecture, more than `rest_epochs`.
    pub epochs: f64,
    /// First epochs of `epochs` in which the architecture rests, at least 0.
    pub rest_epochs: f64,
    /// Weight steps between two steps of the architecture, at least 1.
    pub interval: u64,
    /// Peak learning rate of the weights in the warm-up, more than 0.
    pub warmup_learning_rate: f64,
    /// Peak learning rate of the weights after it, more than 0.
    pub learning_rate: f64,
    /// Adam's learning rate, more than 0.
    pub architecture_learning_rate: f64,
    /// Adam's decays of the mean and of the square, from 0 to below 1.
    pub architecture_betas: [f64; 2],
    /// Standard deviation of alpha at the start, at least 0.
    pub architecture_deviation: f64,
    /// Share of the training images that teach alpha, more than 0 and below 1.
    pub architecture_images: f64,
    /// Price of latency, at least 0.
    pub lambda: f64,
    /// Step of the price, more than 0.
    pub eta: f64,
    /// Damping of the price, at least 0.
    pub damping: f64,
    /// `a` of the form `mul`, more than 0.
    pub mul_scale: f64,
    /// `b` of the form `mul`, at least 0.
    pub mul_exponent: f64,
    /// Networks of one update of `reinforce`, at least 2.
    pub networks: usize,
    /// Exponent of the reward of `reinforce`, at least 0.
    pub reward_exponent: f64,
    /// Decay of the mean reward of `reinforce`, from 0 to below 1.
    pub baseline: f64,
    /// Share of the target that the derived network may stay below it, from 0 to 1.
    pub slack: f64,
}

/// How the architecture learns from the supernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// The gradient of every gate at one sampled path, `dL/dg_k = sum(out_k * dL/dout)`; candidates one at a time.
    FullV2,
    /// That of two sampled candidates a layer; the probabilities of all others stay as they were.
    Two,
    /// REINFORCE: `E[R d ln p]`, `R = accuracy (T / latency)^w`.
    Reinforce,
}

/// How the expected latency `E` enters the loss, for a target `T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyLoss {
    /// `CE + ((max(0, lambda + c x))^2 - lambda^2) / 2c` with `x = (E - T) / T` and the damping `c`, and
    /// `lambda <- max(0, lambda + eta x)` at each step of the architecture: aims at `T`. This is the augmented Lagrangian
    /// (Rockafellar 1973) of the constraint `E <= T`; without damping (`CE + lambda x`) the two swing around each other.
    Dual,
    /// `CE + lambda (E - T) / T` at a fixed price.
    Add,
    /// `a CE (ln(80 E / T) / ln 80)^b` with `E / T` of at least 1/40. The code's form depends on the unit: ours is
    /// that of its published operating point, `T` = 80 ms, at any `T`.
    Mul,
}

/// Latencies of a space's options, as a table predicts them: a network's is `fixed_s` and its options' sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceLatency {
    /// Seconds of everything that is not chosen.
    pub fixed_s: f64,
    /// Seconds of each option of each choice, in a genotype's order; a skip takes 0.
    pub options_s: Vec<Vec<f64>>,
    /// The latency to aim at, and the most that the derived network may take.
    pub target_s: f64,
}

/// What the training of an architecture has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxylessFound {
    /// The derived network: the most probable one near the target, but not above it.
    pub genotype: Genotype,
    /// The most probable network, whatever its latency.
    pub most_probable: Genotype,
    /// Probability of each option of each choice, in a genotype's order.
    pub probabilities: Vec<Vec<f64>>,
    /// The expected latency, in seconds.
    pub expected_s: f64,
    /// The price of latency at the end.
    pub lambda: f64,
}

impl Default for Proxyless {
    fn default() -> Self {
        Self {
            update: Update::FullV2,
            loss: LatencyLoss::Dual,
            warmup_epochs: 40.0,
            epochs: 120.0,
            rest_epochs: 1.0,
            interval: 5,
            warmup_learning_rate: 0.05,
            learning_rate: 0.025,
            architecture_learning_rate: 1e-3,
            architecture_betas: [0.0, 0.999],
            architecture_deviation: 1e-3,
            architecture_images: 0.1,
            lambda: 0.1,
            eta: 0.05,
            damping: 1.0,
            mul_scale: 0.2,
            mul_exponent: 0.3,
            networks: 10,
            reward_exponent: 0.1,
            baseline: 0.8,
            slack: 0.05,
        }
    }
}

impl ChoiceLatency {
    /// Seconds of the network of these options.
    pub fn of(&self, path: &[usize]) -> f64 {
        let chosen = self.options_s.iter().zip(path).map(|(options, &option)| options[option]);
        self.fixed_s + chosen.sum::<f64>()
    }

    /// Expected seconds where each choice has these probabilities.
    pub fn expected(&self, probabilities: &[Vec<f64>]) -> f64 {
        let mean = |(options, p): (&Vec<f64>, &Vec<f64>)| {
            options.iter().zip(p).map(|(seconds, p)| seconds * p).sum::<f64>()
        };
        self.fixed_s + self.options_s.iter().zip(probabilities).map(mean).sum::<f64>()
    }
}
