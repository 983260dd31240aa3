//! Strategies: one a file, behind one contract.

mod active;
mod aging;
mod choices;
mod evolution;
mod gradient;
mod logits;
mod lstm;
mod mnasnet;
mod policy;
mod proposals;
mod proxyless;
mod random;
mod tunas;

#[cfg(test)]
mod conformance;

pub use active::{Active, ActiveOptions};
pub use aging::{AgingEvolution, AgingEvolutionOptions};
pub use evolution::{Evolution, EvolutionOptions};
pub use gradient::{Adam, AdamOptions, Baseline, draw, softmax};
pub use mnasnet::{MnasNet, MnasNetOptions, PolicyUpdate};
pub use proxyless::{ProxylessR, ProxylessROptions};
pub use random::RandomSearch;
pub use tunas::{Tunas, TunasOptions};

use std::sync::atomic::{AtomicUsize, Ordering};

use netfit_predictors::Threads;
use netfit_spaces::{Genotype, Space};

use crate::{Error, Evaluated, Result, Reward};

/// Names that [`strategy`] knows.
pub const STRATEGIES: [&str; 7] =
    ["random", "evolution", "aging-evolution", "active", "mnasnet", "tunas", "proxyless-r"];

/// Proposes genotypes and learns from what became of them. All randomness follows from the seed it was built with.
///
/// The loop asks, drops what is infeasible or known already, scores the rest, tells, and asks again; so a strategy
/// needs to know neither the budget nor what is known.
pub trait Strategy {
    /// At most `most` canonical genotypes of the space, in the order in which they should be scored; none: the
    /// strategy has no more to propose.
    fn ask(&mut self, most: usize) -> Vec<Genotype>;

    /// Those of the last proposals that were feasible and new, scored, in the same order. Now and then it is a
    /// network that was not proposed: the fastest one, where nothing else was found within the budget.
    fn tell(&mut self, evaluated: &[Evaluated]);

    /// The same, for a search that says beforehand what it would take. No proposal at all, refused ones included: the
    /// strategy has no more.
    ///
    /// By default what [`Strategy::ask`] proposes. A strategy whose proposals do not hang on each other looks for some
    /// that fit, so that the networks that are scored together are as many as were asked for.
    fn offer(&mut self, most: usize, filter: &Filter<'_>) -> Vec<Genotype> {
        let _ = filter;
        self.ask(most)
    }
}

/// Which genotypes a search would take, and the threads on which to look for them.
pub struct Filter<'a> {
    fits: &'a (dyn Fn(&Genotype) -> bool + Sync),
    threads: &'a Threads,
    refused: AtomicUsize,
}

impl<'a> Filter<'a> {
    /// What `fits` takes: genotypes that are feasible and new.
    pub fn new(fits: &'a (dyn Fn(&Genotype) -> bool + Sync), threads: &'a Threads) -> Self {
        Self { fits, threads, refused: AtomicUsize::new(0) }
    }

    /// Whether the search would take a proposal; counts those that it would not.
    pub fn fits(&self, genotype: &Genotype) -> bool {
        let fits = (self.fits)(genotype);
        if !fits {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// The threads.
    pub fn threads(&self) -> &Threads {
        self.threads
    }

    /// Proposals that it refused.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What strategies that learn from rewards aim at.
///
/// Without a reward they learn from the accuracy: a search scores networks within its budget only, so the budget
/// holds anyway, and a reward that also pays for speed below the budget ends at networks that are faster than they
/// have to be and less accurate. The published rewards are there for those who want that trade.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StrategyOptions {
    /// The latency that a reward refers to, above 0.
    pub target_s: Option<f64>,
    /// The reward, which needs a target; none: the accuracy.
    pub reward: Option<Reward>,
}

/// A strategy by its name, with its default options; one that learns from rewards learns from the accuracy, and evolution
/// has as many generations as the loop lets it have.
///
/// # Errors
/// An unknown name.
pub fn strategy(name: &str, space: &Space, seed: u64) -> Result<Box<dyn Strategy>> {
    strategy_with(name, space, seed, &StrategyOptions::default())
}

/// A strategy by its name, with its default options and a reward for a target latency.
///
/// # Errors
/// An unknown name, a target that is not above 0, a reward without a target or for a strategy that takes none.
pub fn strategy_with(
    name: &str,
    space: &Space,
    seed: u64,
    goal: &StrategyOptions,
) -> Result<Box<dyn Strategy>> {
    let plain = |strategy: &'static str| match goal.reward {
        None => Ok(()),
        Some(reward) => Err(Error::Configuration {
            strategy,
            reason: format!(
                "takes no reward, found `{reward}`; hint: mnasnet, tunas and proxyless-r do"
            ),
        }),
    };
    Ok(match name {
        "random" => {
            plain("random")?;
            Box::new(RandomSearch::new(space, seed))
        }
        "evolution" => {
            plain("evolution")?;
            // The loop bounds the evaluations.
            let options = EvolutionOptions { generations: usize::MAX, ..Default::default() };
            Box::new(Evolution::new(space, options, seed)?)
        }
        "aging-evolution" => {
            plain("aging-evolution")?;
            Box::new(AgingEvolution::new(space, AgingEvolutionOptions::default(), seed)?)
        }
        "active" => {
            plain("active")?;
            Box::new(Active::new(space, ActiveOptions::default(), seed)?)
        }
        "mnasnet" => Box::new(MnasNet::new(space, MnasNetOptions::default(), goal, seed)?),
        "tunas" => Box::new(Tunas::new(space, TunasOptions::default(), goal, seed)?),
        "proxyless-r" => {
            Box::new(ProxylessR::new(space, ProxylessROptions::default(), goal, seed)?)
        }
        _ => {
            let (name, known) = (name.to_owned(), STRATEGIES.to_vec());
            return Err(Error::UnknownStrategy { name, known });
        }
    })
}
