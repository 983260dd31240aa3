//! States of the machine. Networks do not all slow down alike: what a process has measured while the machine was much
//! faster or slower (two threads that have to share a core, another clock) is true for another machine.

use std::collections::BTreeMap;

use netfit_latency_tables::median;

use crate::{journal::Part, views::View};

/// Which sittings are of the state that is measured.
pub(crate) struct States {
    /// For each sitting, in their order.
    pub(crate) measured: Vec<bool>,
    /// For each the logarithm of how much slower it was than the measured state.
    pub(crate) slower: Vec<f64>,
}

impl States {
    /// The measured state is that in which the first models have their known seconds, else the one that most sittings are
    /// in; of states with as many, the fastest. Sittings are of one state if their speeds differ by less than `drift`.
    pub(crate) fn of(views: &[View<'_>], known_s: Option<&[f64]>, drift: f64) -> Self {
        let base = base(views, known_s);
        let slower: Vec<f64> = views.iter().map(|view| slower(view, &base)).collect();
        let around = |middle| slower.iter().filter(|&&other| near(middle, other, drift)).count();
        let most = slower.iter().copied().reduce(|best, other| {
            let (more, as_many) = (around(other) > around(best), around(other) == around(best));
            if more || as_many && other < best { other } else { best }
        });
        let middle = if known_s.is_some() { 0.0 } else { most.unwrap_or(0.0) };
        Self {
            measured: slower.iter().map(|&other| near(middle, other, drift)).collect(),
            slower: slower.iter().map(|other| other - middle).collect(),
        }
    }

    /// How many sittings of that group of models are of the measured state.
    pub(crate) fn count(&self, views: &[View<'_>], group: usize) -> usize {
        let measured = views.iter().zip(&self.measured);
        measured.filter(|(view, measured)| **measured && view.group == group).count()
    }
}

/// Which parts, one of each process, are of the state that is measured; all, if none is. A machine may change its state
/// between a process of blocks and that of whole networks beside it, which was `slower` by so much than the measured state.
/// How much longer or shorter a part's blocks take than networks in the same state, most processes tell.
pub(crate) fn parts_measured(parts: &[Part], slower: &[f64], drift: f64) -> Vec<bool> {
    let levels: Vec<BTreeMap<&str, f64>> = parts.iter().map(Part::levels).collect();
    let base = levels.first().cloned().unwrap_or_default();
    let longer: Vec<f64> =
        levels.into_iter().map(|levels| apart(levels.into_iter(), &base)).collect();
    let than_networks: Vec<f64> = longer.iter().zip(slower).map(|(a, b)| a - b).collect();
    let usual = if than_networks.is_empty() { 0.0 } else { median(&than_networks) };
    let measured: Vec<bool> = longer.iter().map(|&longer| near(usual, longer, drift)).collect();
    if measured.contains(&true) { measured } else { vec![true; parts.len()] }
}

/// Whether two logarithms of speeds are of one state.
fn near(a: f64, b: f64, drift: f64) -> bool {
    (a - b).abs() <= drift.ln_1p()
}

/// Logarithms of the seconds that models are known to take, by their places; of the first sitting where nothing is known.
fn base(views: &[View<'_>], known_s: Option<&[f64]>) -> BTreeMap<usize, f64> {
    match (known_s, views.first()) {
        (Some(known_s), _) => known_s.iter().map(|seconds| seconds.ln()).enumerate().collect(),
        (None, Some(view)) => view.levels().collect(),
        (None, None) => BTreeMap::new(),
    }
}

/// The logarithm of how much longer models take in a sitting than at the base.
fn slower(view: &View<'_>, base: &BTreeMap<usize, f64>) -> f64 {
    apart(view.levels(), base)
}

/// The median difference of levels from those of the same name at the base; 0 where they have none in common.
fn apart<T: Ord>(levels: impl Iterator<Item = (T, f64)>, base: &BTreeMap<T, f64>) -> f64 {
    let difference = |(name, level): (T, f64)| Some(level - base.get(&name)?);
    let differences: Vec<f64> = levels.filter_map(difference).collect();
    if differences.is_empty() { 0.0 } else { median(&differences) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::view;

    fn measured(factors: &[f64], known_s: Option<&[f64]>) -> Vec<bool> {
        let views: Vec<View<'_>> = factors
            .iter()
            .map(|factor| view(0, &[0, 1, 2], &[1.0, 2.0, 3.0].map(|s| s * factor), &[1.0; 3]))
            .collect();
        States::of(&views, known_s, 0.25).measured
    }

    #[test]
    fn the_state_of_most_sittings_is_measured() {
        assert_eq!(measured(&[1.0, 1.6, 1.05, 1.6, 0.9], None), [true, false, true, false, true]);
        assert_eq!(measured(&[1.6, 1.0, 1.65, 1.6], None), [true, false, true, true]);
        assert_eq!(measured(&[1.0, 1.1, 1.2], None), [true; 3]);
        assert_eq!(measured(&[], None), [false; 0]);
    }

    #[test]
    fn of_states_with_as_many_sittings_the_fastest_is_measured() {
        assert_eq!(measured(&[1.6, 1.0], None), [false, true]);
        assert_eq!(measured(&[1.0, 1.6], None), [true, false]);
    }

    #[test]
    fn what_is_known_is_of_the_measured_state() {
        let known_s = [1.5, 3.0];
        assert_eq!(measured(&[1.0, 1.0, 1.6, 1.0], Some(&known_s)), [false, false, true, false]);
    }

    /// Two blocks that take so many times longer.
    fn part(factor: f64) -> Part {
        let block = |(name, seconds): (&str, f64)| {
            (name.to_owned(), (vec![factor * seconds, 9.0, 0.0], vec![1.0]))
        };
        Part { blocks: [("a", 1.0), ("b", 2.0)].map(block).into(), ..Part::default() }
    }

    #[test]
    fn parts_are_of_the_measured_state_whatever_the_networks_beside_them_were() {
        let measured = |factors: &[f64], slower: &[f64]| {
            let parts: Vec<Part> = factors.iter().map(|&factor| part(factor)).collect();
            parts_measured(&parts, slower, 0.25)
        };
        let slow = 1.6_f64.ln();
        // Blocks in place take longer than networks, in each state.
        let [fast_s, slow_s] = [1.2, 1.2 * 1.6];
        assert_eq!(
            measured(&[slow_s, fast_s, fast_s, slow_s, fast_s], &[slow, 0.0, 0.0, 0.0, slow]),
            [false, true, true, false, true]
        );
        // Most parts were slow, yet networks are measured in the fast state.
        assert_eq!(measured(&[fast_s, slow_s, slow_s], &[0.0, slow, slow]), [true, false, false]);
        assert_eq!(measured(&[slow_s, slow_s], &[slow, slow]), [true, true]);
        assert_eq!(measured(&[1.0, 1.1, 1.2], &[0.0; 3]), [true; 3]);
        assert_eq!(measured(&[], &[]), [false; 0]);
    }

    #[test]
    fn sittings_of_each_group_are_counted() {
        let sitting =
            |group, factor: f64| view(group, &[0, 1 + group], &[factor, 2.0 * factor], &[1.0; 3]);
        let views = [sitting(0, 1.0), sitting(1, 1.0), sitting(0, 1.7), sitting(1, 1.1)];
        let states = States::of(&views, None, 0.25);
        assert_eq!([states.count(&views, 0), states.count(&views, 1)], [1, 2]);
    }
}
