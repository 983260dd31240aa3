//! Which whole networks are measured.

use std::collections::HashSet;

use netfit_spaces::{Genotype, Random, Space};

use crate::{Error, Result};

/// Networks that are drawn for each one of a fit.
const CANDIDATES: usize = 3;

/// Distinct random genotypes outside `known`.
pub(crate) fn draw(
    space: &Space,
    count: usize,
    known: &HashSet<Genotype>,
    random: &mut Random,
) -> Result<Vec<Genotype>> {
    let drawn = draw_most(space, count, known, random);
    if drawn.len() == count {
        return Ok(drawn);
    }
    Err(Error::TooSmall { space: space.name().to_owned(), found: drawn.len(), expected: count })
}

/// Genotypes for a fit: one half random ones, the other spread evenly over the multiply-adds of three times as many.
/// A fit to random ones alone would know the middle of a space well and guess at its small and large networks, which
/// are few but whose leverage is large.
pub(crate) fn draw_spread(
    space: &Space,
    count: usize,
    known: &HashSet<Genotype>,
    random: &mut Random,
) -> Result<Vec<Genotype>> {
    let mut drawn = draw_most(space, CANDIDATES * count, known, random);
    if drawn.len() < count {
        let (space, found) = (space.name().to_owned(), drawn.len());
        return Err(Error::TooSmall { space, found, expected: count });
    }
    let work = |genotype: &Genotype| space.network(genotype).multiply_adds().0 as f64;
    let mut candidates: Vec<(f64, Genotype)> = drawn
        .split_off(count / 2)
        .into_iter()
        .map(|genotype| (work(&genotype), genotype))
        .collect();
    let ends = |pick: fn(f64, f64) -> f64| candidates.iter().map(|(work, _)| *work).reduce(pick);
    let (least, most) = (ends(f64::min).unwrap_or(0.0), ends(f64::max).unwrap_or(0.0));
    let steps = count - drawn.len();
    for step in 0..steps {
        let wanted = least + (most - least) * step as f64 / (steps - 1).max(1) as f64;
        let distance = |(work, _): &(f64, Genotype)| (work - wanted).abs();
        let nearest = (0..candidates.len())
            .min_by(|&a, &b| distance(&candidates[a]).total_cmp(&distance(&candidates[b])));
        if let Some(nearest) = nearest {
            drawn.push(candidates.swap_remove(nearest).1);
        }
    }
    Ok(drawn)
}

/// As many distinct random genotypes outside `known` as `count`, or as a small space has.
fn draw_most(
    space: &Space,
    count: usize,
    known: &HashSet<Genotype>,
    random: &mut Random,
) -> Vec<Genotype> {
    let mut seen = known.clone();
    let mut drawn = Vec::new();
    for _ in 0..100 * count {
        if drawn.len() == count {
            break;
        }
        let genotype = space.sample(random);
        if seen.insert(genotype.clone()) {
            drawn.push(genotype);
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_a_fit_reach_further_than_random_ones() {
        let space = Space::preset("ofa-28").unwrap();
        let work = |genotypes: &[Genotype]| -> Vec<u64> {
            let mut work: Vec<u64> =
                genotypes.iter().map(|g| space.network(g).multiply_adds().0).collect();
            work.sort_unstable();
            work
        };
        let (known, count) = (HashSet::new(), 40);
        let random = draw(&space, count, &known, &mut Random::new(1, "networks")).unwrap();
        let spread = draw_spread(&space, count, &known, &mut Random::new(1, "networks")).unwrap();
        assert_eq!(spread.iter().collect::<HashSet<_>>().len(), count);
        assert_eq!(random[..count / 2], spread[..count / 2]);
        let all = draw(&space, 3 * count, &known, &mut Random::new(1, "networks")).unwrap();
        let (all, random, spread) =
            (work(&all[count / 2..]), work(&random), work(&spread[count / 2..]));
        assert_eq!((spread[0], spread[count / 2 - 1]), (all[0], all[all.len() - 1]));
        assert!(spread[0] <= random[0] && spread[count / 2 - 1] >= random[count - 1]);
        let gap = |work: &[u64]| work.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(
            gap(&spread) <= 2 * (all[all.len() - 1] - all[0]) / (count / 2 - 1) as u64 + gap(&all)
        );
    }
}
