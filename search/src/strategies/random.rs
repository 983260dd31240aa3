//! Random search.

use netfit_spaces::{Genotype, Random, Space};

use crate::{Evaluated, Strategy};

/// Spaces of up to 10 to this power of genotypes are walked through as a whole.
const WALKED: f64 = 5.0;

/// Draws uniformly per choice, without replacement, until the space is exhausted: the baseline of every comparison.
///
/// A small space is put in order once: with `p` the probability of a genotype under uniform choices, sorting by
/// `-ln(u) / p` gives the same law as drawing one after the other without replacement (Efraimidis and Spirakis, 2006).
/// In a larger one draws are independent, and the loop drops those that are known already.
pub struct RandomSearch {
    space: Space,
    random: Random,
    /// What is left of a small space, last first.
    left: Option<Vec<Genotype>>,
}

impl RandomSearch {
    /// Random search in `space`.
    pub fn new(space: &Space, seed: u64) -> Self {
        let mut random = Random::new(seed, "strategy/random");
        let left = (space.log10_size() <= WALKED).then(|| {
            let mut keyed: Vec<(f64, Genotype)> = space
                .enumerate()
                .map(|genotype| {
                    let exponential = -(1.0 - random.uniform()).ln();
                    (exponential / probability(space, &genotype), genotype)
                })
                .collect();
            keyed.sort_by(|a, b| b.0.total_cmp(&a.0));
            keyed.into_iter().map(|(_, genotype)| genotype).collect()
        });
        Self { space: space.clone(), random, left }
    }
}

impl Strategy for RandomSearch {
    fn ask(&mut self, most: usize) -> Vec<Genotype> {
        match &mut self.left {
            Some(left) => (0..most).map_while(|_| left.pop()).collect(),
            None => (0..most).map(|_| self.space.sample(&mut self.random)).collect(),
        }
    }

    fn tell(&mut self, _: &[Evaluated]) {}
}

/// Probability of a canonical genotype where each choice is drawn uniformly.
fn probability(space: &Space, genotype: &Genotype) -> f64 {
    let choices = space.choices().iter().enumerate();
    choices
        .filter(|(index, _)| space.active(genotype, *index))
        .map(|(_, choice)| 1.0 / choice.size as f64)
        .product()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_small_space_is_exhausted_exactly_once() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let mut random = RandomSearch::new(&space, 1);
        let mut seen = HashSet::new();
        loop {
            let asked = random.ask(1000);
            if asked.is_empty() {
                break;
            }
            for genotype in asked {
                assert!(seen.insert(genotype));
            }
        }
        assert_eq!(seen.len(), 6561);
    }

    #[test]
    fn the_first_draw_is_uniform_per_choice() {
        let text = r#"
            name = "toy"
            input = "1x8x8"
            classes = 2
            stem = ["conv k3 s1 relu o8"]
            head = ["pool", "linear"]
            [[stages]]
            width = 8
            stride = 1
            depth = [1, 2]
            kernel = [3, 5, 7]
            expand = [3]
        "#;
        let space = Space::from_toml("toy", text).unwrap();
        assert_eq!(space.enumerate().count(), 3 + 9);
        let first = |seed| RandomSearch::new(&space, seed).ask(1).remove(0);
        let shallow = (0..2000).filter(|&seed| first(seed).values()[0] == 0).count();
        // Depth is a fair coin, though only a quarter of the genotypes are shallow: 1000 +- 5 standard deviations.
        assert!((890..1110).contains(&shallow), "{shallow}");
    }
}
