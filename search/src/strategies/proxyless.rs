//! ProxylessNAS's REINFORCE variant.

use netfit_spaces::{Genotype, Random, Space};

use super::{
    AdamOptions, StrategyOptions,
    choices::Choices,
    logits::Logits,
    policy::{Objective, PolicySearch},
};
use crate::{Error, Evaluated, Result, Strategy};

const NAME: &str = "proxyless-r";

/// How [`ProxylessR`] searches.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `batch` | 10 | networks of one update |
/// | `deviation` | 1e-3 | standard deviation of the logits at the start |
/// | `adam` | learning rate 0.1, betas 0 and 0.999, epsilon 1e-8 | the policy's optimiser |
/// | `baseline` | 0.8 | decay of the mean reward of an update's networks |
/// | `tries` | 20 | draws that are known already before uniform ones are mixed in |
#[derive(Clone, Debug, PartialEq)]
pub struct ProxylessROptions {
    /// Networks of one update.
    pub batch: usize,
    /// Standard deviation of the logits at the start, 0 or more.
    pub deviation: f64,
    /// The policy's optimiser.
    pub adam: AdamOptions,
    /// Decay of the mean reward of an update's networks, from 0 to below 1.
    pub baseline: f64,
    /// Draws that are known already before uniform ones are mixed in.
    pub tries: usize,
}

impl Default for ProxylessROptions {
    fn default() -> Self {
        let adam = AdamOptions::new(0.1, 0.0);
        Self { batch: 10, deviation: 1e-3, adam, baseline: 0.8, tries: 20 }
    }
}

/// ProxylessNAS's REINFORCE (Cai et al., ICLR 2019, section 3.3.2): one categorical distribution for each choice, the
/// mean of `R d ln p` over ten networks an update, a moving baseline. The paper's reward
/// is `proxyless`.
///
/// The gradient variant, which trains a supernet, is no strategy but a trainer. Departures: a learning rate of 0.1,
/// where the paper's 1e-3 takes thousands of updates, and choices that are inactive have no part.
pub struct ProxylessR(PolicySearch<Logits>);

impl ProxylessR {
    /// The policy over `space`.
    ///
    /// # Errors
    /// Options out of range; a reward without a target.
    pub fn new(
        space: &Space,
        options: ProxylessROptions,
        goal: &StrategyOptions,
        seed: u64,
    ) -> Result<Self> {
        let ProxylessROptions { batch, deviation, adam, baseline, tries } = options;
        adam.check(NAME)?;
        let start = deviation >= 0.0 && deviation.is_finite();
        if batch == 0 || tries == 0 || !start || !(0.0..1.0).contains(&baseline) {
            let reason = "expected `batch` and `tries` of at least 1, `deviation` of at least 0, `baseline` from 0 to below 1"
                .to_owned();
            return Err(Error::Configuration { strategy: NAME, reason });
        }
        let objective = Objective::new(NAME, goal)?;
        let choices = Choices::new(space);
        let mut random = Random::new(seed, "strategy/proxyless-r");
        let initial = || deviation * random.normal();
        let policy = Logits::new(choices.clone(), adam, baseline, 0, initial);
        Ok(Self(PolicySearch::new(policy, choices, objective, random, (batch, tries))))
    }
}

impl Strategy for ProxylessR {
    fn ask(&mut self, most: usize) -> Vec<Genotype> {
        self.0.ask(most)
    }

    fn tell(&mut self, evaluated: &[Evaluated]) {
        self.0.tell(evaluated);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let default = ProxylessROptions::default;
        for options in [
            ProxylessROptions { tries: 0, ..default() },
            ProxylessROptions { deviation: f64::NAN, ..default() },
            ProxylessROptions { adam: AdamOptions::new(0.1, 1.0), ..default() },
        ] {
            let none = StrategyOptions::default();
            let error = ProxylessR::new(&space, options, &none, 0).err().unwrap().to_string();
            assert!(error.starts_with("strategy `proxyless-r`: expected"), "{error}");
        }
    }
}
