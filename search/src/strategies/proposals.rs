//! What has been proposed, so that nothing is proposed twice.

use std::collections::HashSet;

use netfit_spaces::{Genotype, Random, Space};

/// Uniform draws without a new genotype after which a space counts as exhausted.
const UNIFORM: usize = 1000;

/// The genotypes that a strategy has proposed or was told of. What was proposed and not told is infeasible or known:
/// the loop would only drop it again.
#[derive(Clone, Debug, Default)]
pub(super) struct Proposals(HashSet<Genotype>);

impl Proposals {
    /// The first new genotype among `attempts` draws, and then among 1,000 uniform draws from the space; none where
    /// all are known. `draw` is told how often it was asked before, so that it can go further afield. Whatever the
    /// strategy has settled on, the search so goes on to other networks, and it ends: with the space.
    pub(super) fn fresh(
        &mut self,
        attempts: usize,
        space: &Space,
        random: &mut Random,
        mut draw: impl FnMut(usize, &mut Random) -> Genotype,
    ) -> Option<Genotype> {
        for attempt in 0..attempts + UNIFORM {
            let genotype =
                if attempt < attempts { draw(attempt, random) } else { space.sample(random) };
            if self.note(&genotype) {
                return Some(genotype);
            }
        }
        None
    }

    /// At most `count` new genotypes, drawn uniformly from the space.
    pub(super) fn uniform(
        &mut self,
        count: usize,
        space: &Space,
        random: &mut Random,
    ) -> Vec<Genotype> {
        let draw = || self.fresh(0, space, random, |_, _| space.smallest());
        std::iter::from_fn(draw).take(count).collect()
    }

    /// Whether it was proposed or told.
    pub(super) fn knows(&self, genotype: &Genotype) -> bool {
        self.0.contains(genotype)
    }

    /// Whether it is new; it is not the next time.
    pub(super) fn note(&mut self, genotype: &Genotype) -> bool {
        !self.0.contains(genotype) && self.0.insert(genotype.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_proposed_once_and_then_exhausted() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let (mut proposals, mut random) = (Proposals::default(), Random::new(0, "proposals"));
        let same = space.largest();
        let mut draws = Vec::new();
        let mut next = |draws: &mut Vec<usize>| {
            proposals.fresh(3, &space, &mut random, |attempt, _| {
                draws.push(attempt);
                same.clone()
            })
        };
        assert_eq!(next(&mut draws), Some(same.clone()));
        assert_eq!(draws, [0]);
        let found = std::iter::from_fn(|| next(&mut draws)).take(10_000).collect::<HashSet<_>>();
        assert!(found.len() > 6000 && found.len() < 6561 && !found.contains(&same));
        assert_eq!(draws[1..4], [0, 1, 2]);
    }
}
