//! Random networks to compare with.

use std::collections::HashSet;

use netfit_spaces::{Genotype, Random, Space};

use crate::{Constraints, Error, Result};

/// Draws for each network that is asked for, before what was found is enough.
const TRIES: usize = 1000;

/// Up to `count` distinct genotypes, drawn uniformly per choice from those that keep to the constraints. Where
/// these leave hardly any there are fewer; where none is drawn at all, it is the fastest one of the space, or else one
/// that keeps best to another constraint.
///
/// # Errors
/// A constraint that no network of the space keeps to, none found that keeps to all, or a `count` of 0.
pub fn feasible(
    space: &Space,
    constraints: Constraints<'_>,
    count: usize,
    seed: u64,
) -> Result<Vec<Genotype>> {
    if count == 0 {
        return Err(Error::Evaluations(count));
    }
    drawn(space, constraints, count, &mut Random::new(seed, "select/feasible"))
}

/// The stream of [`equal_latency`]'s draws.
pub(crate) const EQUAL: &str = "select/equal latency";

pub(crate) fn drawn(
    space: &Space,
    constraints: Constraints<'_>,
    count: usize,
    random: &mut Random,
) -> Result<Vec<Genotype>> {
    let start = constraints.start(space)?;
    let (mut known, mut kept) = (HashSet::new(), Vec::new());
    for _ in 0..count.saturating_mul(TRIES) {
        let genotype = space.sample(random);
        if constraints.within(&genotype).is_some() && known.insert(genotype.clone()) {
            kept.push(genotype);
        }
        if kept.len() == count {
            break;
        }
    }
    if kept.is_empty() {
        kept.push(start.ok_or_else(|| constraints.unmet(space))?);
    }
    Ok(kept)
}

/// Of `draws` random networks that keep to the constraints, all but those in `except`, the one whose predicted latency is
/// nearest to `target_s`: a random network of equal latency. They are others than those of [`feasible`].
///
/// # Errors
/// As of [`feasible`]; no network but those in `except`.
pub fn equal_latency(
    space: &Space,
    constraints: Constraints<'_>,
    target_s: f64,
    draws: usize,
    except: &[Genotype],
    seed: u64,
) -> Result<Genotype> {
    let mut random = Random::new(seed, EQUAL);
    let mut candidates = drawn(space, constraints, draws, &mut random)?;
    candidates.retain(|genotype| !except.contains(genotype));
    let distance =
        |genotype: &Genotype| (constraints.latency.latency(genotype).median_s - target_s).abs();
    let nearest = candidates.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.ok_or(Error::NoOther(except.len()))
}
