//! The ask/tell side of strategies that learn a policy.

use std::collections::HashSet;

use netfit_spaces::{Genotype, Random};

use super::{StrategyOptions, choices::Choices, proposals::Proposals};
use crate::{Error, Evaluated, Result, Reward, Strategy};

/// A distribution over genotypes that learns from rewards.
pub(super) trait Policy {
    /// A draw; each choice from the policy, mixed with a uniform one of weight `mix`.
    fn draw(&self, mix: f64, random: &mut Random) -> Vec<u8>;

    /// Learns from a batch of draws, of which there is at least one.
    fn learn(&mut self, batch: &[Sample]);
}

/// A network that was drawn and scored.
pub(super) struct Sample {
    /// Its choices.
    pub(super) values: Vec<u8>,
    /// Its reward, finite.
    pub(super) reward: f64,
}

/// Draws from a policy and lets it learn from each `batch` of networks that came back.
///
/// What the loop drops, infeasible networks above all, is drawn again and teaches nothing: the policy climbs the mean
/// reward of feasible networks that are new. Nothing is proposed twice. A policy that has settled draws what it knows;
/// then, after `tries` such draws, its next ones are mixed with uniform ones, by a weight that grows from draw to draw
/// up to 1 after as many again; they teach like any other.
pub(super) struct PolicySearch<P> {
    policy: P,
    choices: Choices,
    proposals: Proposals,
    objective: Objective,
    random: Random,
    batch: usize,
    tries: usize,
    /// The last proposals.
    pending: HashSet<Genotype>,
    samples: Vec<Sample>,
}

impl<P: Policy> PolicySearch<P> {
    pub(super) fn new(
        policy: P,
        choices: Choices,
        objective: Objective,
        random: Random,
        (batch, tries): (usize, usize),
    ) -> Self {
        Self {
            policy,
            choices,
            proposals: Proposals::default(),
            objective,
            random,
            batch,
            tries,
            pending: HashSet::new(),
            samples: Vec::new(),
        }
    }
}

impl<P: Policy> Strategy for PolicySearch<P> {
    fn ask(&mut self, most: usize) -> Vec<Genotype> {
        let Self { policy, choices, proposals, random, batch, tries, .. } = self;
        let mut draw = || {
            proposals.fresh(2 * *tries, choices.space(), random, |attempt, random| {
                let mix = (attempt + 1).saturating_sub(*tries) as f64 / *tries as f64;
                choices.genotype(&policy.draw(mix, random))
            })
        };
        let count = most.min(*batch - self.samples.len());
        let asked: Vec<Genotype> = (0..count).map_while(|_| draw()).collect();
        self.pending = asked.iter().cloned().collect();
        asked
    }

    fn tell(&mut self, evaluated: &[Evaluated]) {
        for network in evaluated {
            self.proposals.note(&network.genotype);
            let reward = self.objective.of(network);
            if self.pending.remove(&network.genotype) && reward.is_finite() {
                let values = network.genotype.values().to_vec();
                self.samples.push(Sample { values, reward });
            }
        }
        if self.samples.len() >= self.batch {
            self.policy.learn(&self.samples);
            self.samples.clear();
        }
    }
}

/// What a policy learns from: a reward for a target, or the accuracy alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objective(Option<(Reward, f64)>);

impl Objective {
    pub(super) fn new(strategy: &'static str, goal: &StrategyOptions) -> Result<Self> {
        let fail = |reason| Err(Error::Configuration { strategy, reason });
        match (goal.target_s, goal.reward) {
            (Some(target_s), _) if !(target_s > 0.0 && target_s.is_finite()) => {
                fail(format!("expected a finite target latency above 0 s, found {target_s}"))
            }
            (None, Some(reward)) => fail(format!(
                "reward `{reward}` without a target latency; hint: give a target, or no reward for the accuracy alone"
            )),
            (target_s, reward) => Ok(Self(reward.zip(target_s))),
        }
    }

    fn of(self, network: &Evaluated) -> f64 {
        let Some((reward, target_s)) = self.0 else { return network.accuracy };
        reward.of(network.accuracy, network.latency_s, target_s)
    }
}
