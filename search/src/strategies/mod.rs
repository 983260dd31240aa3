//! Strategies: one a file, behind one contract.

mod evolution;
mod random;

#[cfg(test)]
mod conformance;

pub use evolution::{Evolution, EvolutionOptions};
pub use random::RandomSearch;

use netfit_spaces::{Genotype, Space};

use crate::{Error, Evaluated, Result};

/// Names that [`strategy`] knows.
pub const STRATEGIES: [&str; 2] = ["random", "evolution"];

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
}

/// A strategy by its name, with its default options.
///
/// # Errors
/// An unknown name.
pub fn strategy(name: &str, space: &Space, seed: u64) -> Result<Box<dyn Strategy>> {
    match name {
        "random" => Ok(Box::new(RandomSearch::new(space, seed))),
        "evolution" => Ok(Box::new(Evolution::new(space, EvolutionOptions::default(), seed)?)),
        _ => Err(Error::UnknownStrategy { name: name.to_owned(), known: STRATEGIES.to_vec() }),
    }
}
