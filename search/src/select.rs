//! Random networks to compare with.

use std::collections::HashSet;

use netfit_predictors::LatencyModel;
use netfit_spaces::{Genotype, Random, Space};

use crate::{Error, Result, run::feasible_fastest};

/// Draws for each network that is asked for, before what was found is enough.
const TRIES: usize = 1000;

/// Up to `count` distinct genotypes, drawn uniformly per choice from those whose interval keeps to the budget. Where
/// the budget leaves hardly any there are fewer; where none is drawn at all, it is the fastest one of the space.
///
/// # Errors
/// A budget below the fastest network of the space, or a `count` of 0.
pub fn feasible(
    space: &Space,
    latency: &dyn LatencyModel,
    budget_s: f64,
    count: usize,
    seed: u64,
) -> Result<Vec<Genotype>> {
    if count == 0 {
        return Err(Error::Evaluations(count));
    }
    drawn(space, latency, budget_s, count, &mut Random::new(seed, "select/feasible"))
}

/// The stream of [`equal_latency`]'s draws.
pub(crate) const EQUAL: &str = "select/equal latency";

pub(crate) fn drawn(
    space: &Space,
    latency: &dyn LatencyModel,
    budget_s: f64,
    count: usize,
    random: &mut Random,
) -> Result<Vec<Genotype>> {
    let fastest = feasible_fastest(space, latency, budget_s)?;
    let (mut known, mut kept) = (HashSet::new(), Vec::new());
    for _ in 0..count.saturating_mul(TRIES) {
        let genotype = space.sample(random);
        let fits = latency.latency(&genotype).high_s <= budget_s;
        if fits && known.insert(genotype.clone()) {
            kept.push(genotype);
        }
        if kept.len() == count {
            break;
        }
    }
    if kept.is_empty() {
        kept.push(fastest);
    }
    Ok(kept)
}

/// Of `draws` random networks within the budget, all but those in `except`, the one whose predicted latency is
/// nearest to `target_s`: a random network of equal latency. They are others than those of [`feasible`].
///
/// # Errors
/// A budget below the fastest network of the space; no network but those in `except`.
pub fn equal_latency(
    space: &Space,
    latency: &dyn LatencyModel,
    budget_s: f64,
    target_s: f64,
    draws: usize,
    except: &[Genotype],
    seed: u64,
) -> Result<Genotype> {
    let mut random = Random::new(seed, EQUAL);
    let mut candidates = drawn(space, latency, budget_s, draws, &mut random)?;
    candidates.retain(|genotype| !except.contains(genotype));
    let distance = |genotype: &Genotype| (latency.latency(genotype).median_s - target_s).abs();
    let nearest = candidates.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.ok_or(Error::NoOther(except.len()))
}
