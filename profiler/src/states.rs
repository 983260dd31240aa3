//! States of the machine. Networks do not all slow down alike: what a process has measured while the machine was much
//! faster or slower (two threads that have to share a core, another clock) is true for another machine.

use std::collections::BTreeMap;

use netfit_latency_tables::median;

use crate::views::View;

/// Which sittings are of the state that is measured.
pub(crate) struct States {
    /// For each sitting, in their order.
    pub(crate) measured: Vec<bool>,
}

impl States {
    /// The measured state is that in which the first models have their known seconds, else the one that most sittings are
    /// in; of states with as many, the fastest. Sittings are of one state if their speeds differ by less than `drift`.
    pub(crate) fn of(views: &[View<'_>], known_s: Option<&[f64]>, drift: f64) -> Self {
        let base = base(views, known_s);
        let slower: Vec<f64> = views.iter().map(|view| slower(view, &base)).collect();
        let near = |a: f64, b: f64| (a - b).abs() <= drift.ln_1p();
        let around = |middle: f64| slower.iter().filter(|&&other| near(middle, other)).count();
        let most = slower.iter().copied().reduce(|best, other| {
            let (more, as_many) = (around(other) > around(best), around(other) == around(best));
            if more || as_many && other < best { other } else { best }
        });
        let middle = if known_s.is_some() { 0.0 } else { most.unwrap_or(0.0) };
        Self { measured: slower.iter().map(|&other| near(middle, other)).collect() }
    }

    /// How many sittings of that group of models are of the measured state.
    pub(crate) fn count(&self, views: &[View<'_>], group: usize) -> usize {
        let measured = views.iter().zip(&self.measured);
        measured.filter(|(view, measured)| **measured && view.group == group).count()
    }
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
    let apart = |(place, level): (usize, f64)| Some(level - base.get(&place)?);
    median(&view.levels().filter_map(apart).collect::<Vec<f64>>())
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

    #[test]
    fn sittings_of_each_group_are_counted() {
        let sitting =
            |group, factor: f64| view(group, &[0, 1 + group], &[factor, 2.0 * factor], &[1.0; 3]);
        let views = [sitting(0, 1.0), sitting(1, 1.0), sitting(0, 1.7), sitting(1, 1.1)];
        let states = States::of(&views, None, 0.25);
        assert_eq!([states.count(&views, 0), states.count(&views, 1)], [1, 2]);
    }
}
