//! TuNAS's independent logits.

use netfit_spaces::{Genotype, Random, Space};

use super::{
    AdamOptions, StrategyOptions,
    choices::Choices,
    logits::Logits,
    policy::{Objective, PolicySearch},
};
use crate::{Error, Evaluated, Result, Strategy};

const NAME: &str = "tunas";

/// How [`Tunas`] searches.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `batch` | 1 | networks of one update |
/// | `adam` | learning rate 3e-2, betas 0 and 0.999, epsilon 1e-8 | the policy's optimiser |
/// | `baseline` | 0.95 | decay of the mean reward, the start's bias taken out |
/// | `warm_up` | 0 | networks before the first update |
/// | `tries` | 20 | draws that are known already before uniform ones are mixed in |
#[derive(Clone, Debug, PartialEq)]
pub struct TunasOptions {
    /// Networks of one update.
    pub batch: usize,
    /// The policy's optimiser.
    pub adam: AdamOptions,
    /// Decay of the mean reward, from 0 to below 1.
    pub baseline: f64,
    /// Networks before the first update.
    pub warm_up: usize,
    /// Draws that are known already before uniform ones are mixed in.
    pub tries: usize,
}

impl Default for TunasOptions {
    fn default() -> Self {
        Self { batch: 1, adam: AdamOptions::new(3e-2, 0.0), baseline: 0.95, warm_up: 0, tries: 20 }
    }
}

/// TuNAS's policy (Bender et al., CVPR 2020, section 3): one categorical distribution for each choice, logits of 0 at
/// the start, REINFORCE with a moving baseline; inactive choices have no part. The paper's reward is `absolute`.
///
/// Departures, for searches of some hundred networks that are scored in full instead of many thousand steps of one
/// shared network: a learning rate near 3e-2 that does not grow (3e-4 * batch/256 never learns), and no warm-up: it
/// gives shared weights the time to become worth judging, and here they are.
pub struct Tunas(PolicySearch<Logits>);

impl Tunas {
    /// The policy over `space`.
    ///
    /// # Errors
    /// Options out of range; a reward without a target.
    pub fn new(
        space: &Space,
        options: TunasOptions,
        goal: &StrategyOptions,
        seed: u64,
    ) -> Result<Self> {
        let TunasOptions { batch, adam, baseline, warm_up, tries } = options;
        adam.check(NAME)?;
        if batch == 0 || tries == 0 || !(0.0..1.0).contains(&baseline) {
            let reason = "expected `batch` and `tries` of at least 1, `baseline` from 0 to below 1"
                .to_owned();
            return Err(Error::Configuration { strategy: NAME, reason });
        }
        let objective = Objective::new(NAME, goal)?;
        let choices = Choices::new(space);
        let policy = Logits::new(choices.clone(), adam, baseline, warm_up, || 0.0);
        let random = Random::new(seed, "strategy/tunas");
        Ok(Self(PolicySearch::new(policy, choices, objective, random, (batch, tries))))
    }
}

impl Strategy for Tunas {
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
        let default = TunasOptions::default;
        for options in [
            TunasOptions { batch: 0, ..default() },
            TunasOptions { baseline: 1.0, ..default() },
            TunasOptions { adam: AdamOptions::new(f64::NAN, 0.0), ..default() },
        ] {
            let none = StrategyOptions::default();
            let error = Tunas::new(&space, options, &none, 0).err().unwrap().to_string();
            assert!(error.starts_with("strategy `tunas`: expected"), "{error}");
        }
    }
}
