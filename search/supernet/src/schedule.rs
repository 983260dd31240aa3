//! Progressive shrinking (section 3.3; the authors' `train_ofa_net.py`): which choices are open, how long, at what
//! learning rate.

use std::ops::Range;

use netfit_search::job::Training;
use netfit_spaces::{Choice, ChoiceKind, Genotype, Random, Space};

/// One phase of training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    /// For people: `full network`, `elastic kernel`, ...
    pub(crate) name: &'static str,
    /// Optimiser steps.
    pub(crate) steps: u64,
    /// Subnets whose gradients one step adds up.
    pub(crate) subnets: usize,
    /// Peak learning rate.
    pub(crate) rate: f64,
    /// Steps of linear warm-up.
    pub(crate) warmup: u64,
    /// Which choices are open.
    pub(crate) open: Open,
    /// How many middle widths were elastic before, where channels are sorted first.
    pub(crate) sort: Option<usize>,
}

/// How many values of each kind of choice are open, counted from the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    kernel: usize,
    depth: usize,
    expand: usize,
}

const ALL: usize = usize::MAX;

/// Name, open choices, subnets a step, epochs and learning rate (the last two relative to each other), as published.
const SHRINKING: [(&str, Open, usize, f64, f64); 5] = [
    ("elastic kernel", Open { kernel: ALL, depth: 1, expand: 1 }, 1, 120.0, 3e-2),
    ("elastic depth 1", Open { kernel: ALL, depth: 2, expand: 1 }, 2, 25.0, 2.5e-3),
    ("elastic depth 2", Open { kernel: ALL, depth: ALL, expand: 1 }, 2, 120.0, 7.5e-3),
    ("elastic expand 1", Open { kernel: ALL, depth: ALL, expand: 2 }, 4, 25.0, 2.5e-3),
    ("elastic expand 2", Open { kernel: ALL, depth: ALL, expand: ALL }, 4, 120.0, 7.5e-3),
];

impl Open {
    const NONE: Self = Self { kernel: 1, depth: 1, expand: 1 };

    /// The open values of a choice.
    fn range(self, choice: &Choice) -> Range<usize> {
        let open = match choice.kind {
            ChoiceKind::Kernel { .. } => self.kernel,
            ChoiceKind::Depth { .. } => self.depth,
            ChoiceKind::Expand { .. } => self.expand,
            ChoiceKind::Resolution
            | ChoiceKind::Op { .. }
            | ChoiceKind::Squeeze { .. }
            | ChoiceKind::Skip { .. }
            | ChoiceKind::Width { .. } => 1,
        };
        choice.size.saturating_sub(open)..choice.size
    }

    /// A genotype drawn uniformly from the open values.
    pub(crate) fn sample(self, space: &Space, random: &mut Random) -> Genotype {
        space.sample_within(random, |choice| self.range(choice))
    }

    fn values(self, space: &Space) -> Vec<Range<usize>> {
        space.choices().iter().map(|choice| self.range(choice)).collect()
    }
}

/// A learning rate over the steps of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Curve {
    pub(crate) peak: f64,
    pub(crate) steps: u64,
    pub(crate) warmup: u64,
}

impl Curve {
    /// A share `warmup` of the steps is spent on the warm-up.
    pub(crate) fn new(peak: f64, steps: u64, warmup: f64) -> Self {
        Self { peak, steps, warmup: (steps as f64 * warmup).round() as u64 }
    }

    /// Linear warm-up, then half a cosine down to 0.
    pub(crate) fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let done = (step - self.warmup) as f64 / (self.steps - self.warmup).max(1) as f64;
        0.5 * self.peak * (1.0 + (std::f64::consts::PI * done).cos())
    }
}

impl Phase {
    /// Learning rate of a step: linear warm-up, then half a cosine down to 0.
    pub(crate) fn rate(&self, step: u64) -> f64 {
        Curve { peak: self.rate, steps: self.steps, warmup: self.warmup }.rate(step)
    }
}

/// The phases for a space and `steps_per_epoch` steps an epoch: the full network, then progressive shrinking.
///
/// A phase that opens nothing new in this space (only two depths, say) is left out; the others share its epochs.
pub(crate) fn phases(space: &Space, training: &Training, steps_per_epoch: u64) -> Vec<Phase> {
    let steps = |epochs: f64| (epochs * steps_per_epoch as f64).round() as u64;
    let warmup = |steps: u64| (steps as f64 * training.warmup).round() as u64;
    let full = steps(training.full_epochs);
    let mut phases = vec![Phase {
        name: "full network",
        steps: full,
        subnets: 1,
        rate: training.full_learning_rate,
        warmup: warmup(full),
        open: Open::NONE,
        sort: None,
    }];
    let mut before = Open::NONE;
    let mut opening = Vec::new();
    for phase in SHRINKING {
        if phase.1.values(space) != before.values(space) {
            let sort = (phase.1.expand != before.expand).then_some(before.expand);
            opening.push((phase, sort));
            before = phase.1;
        }
    }
    let shares: f64 = opening.iter().map(|((.., share, _), _)| share).sum();
    for ((name, open, subnets, share, rate), sort) in opening {
        let steps = steps(training.shrink_epochs * share / shares);
        let rate = training.shrink_learning_rate * rate / SHRINKING[0].4;
        phases.push(Phase { name, steps, subnets, rate, warmup: warmup(steps), open, sort });
    }
    phases
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn training() -> Training {
        let shrinking = Training { shrink_epochs: 410.0, ..Training::default() };
        Training { full_epochs: 10.0, warmup: 0.1, shrink_learning_rate: 3e-2, ..shrinking }
    }

    #[test]
    fn phases_follow_the_published_order_and_proportions() {
        let space = Space::preset("ofa-mbv3").unwrap();
        let phases = phases(&space, &training(), 2);
        let table: Vec<_> = phases.iter().map(|p| (p.name, p.steps, p.subnets, p.sort)).collect();
        assert_eq!(
            table,
            [
                ("full network", 20, 1, None),
                ("elastic kernel", 240, 1, None),
                ("elastic depth 1", 50, 2, None),
                ("elastic depth 2", 240, 2, None),
                ("elastic expand 1", 50, 4, Some(1)),
                ("elastic expand 2", 240, 4, Some(2)),
            ]
        );
        for (phase, rate) in phases[1..].iter().zip([3e-2, 2.5e-3, 7.5e-3, 2.5e-3, 7.5e-3]) {
            assert!((phase.rate - rate).abs() < 1e-12, "{}", phase.name);
        }
    }

    #[test]
    fn choices_open_one_after_the_other() {
        let space = Space::preset("ofa-mbv3").unwrap();
        let phases = phases(&space, &training(), 2);
        let open = |phase: &Phase| {
            let of = |wanted: fn(&ChoiceKind) -> bool| {
                let choice = space.choices().iter().find(|choice| wanted(&choice.kind)).unwrap();
                phase.open.range(choice)
            };
            [
                of(|kind| matches!(kind, ChoiceKind::Kernel { .. })),
                of(|kind| matches!(kind, ChoiceKind::Depth { .. })),
                of(|kind| matches!(kind, ChoiceKind::Expand { .. })),
            ]
        };
        let opened: Vec<_> = phases.iter().map(open).collect();
        assert_eq!(opened[0], [2..3, 2..3, 2..3]);
        assert_eq!(opened[1], [0..3, 2..3, 2..3]);
        assert_eq!(opened[2], [0..3, 1..3, 2..3]);
        assert_eq!(opened[3], [0..3, 0..3, 2..3]);
        assert_eq!(opened[4], [0..3, 0..3, 1..3]);
        assert_eq!(opened[5], [0..3, 0..3, 0..3]);
        let mut random = Random::new(0, "subnets");
        assert_eq!(phases[0].open.sample(&space, &mut random), space.largest());
    }

    #[test]
    fn phases_that_open_nothing_are_left_out() {
        let mut spec = Space::preset("ofa-28").unwrap().spec().clone();
        for stage in &mut spec.stages {
            stage.depth = vec![1, 2];
            stage.expand = vec![3];
        }
        let phases = phases(&Space::new(spec).unwrap(), &training(), 145);
        let steps: Vec<_> = phases.iter().map(|phase| (phase.name, phase.steps)).collect();
        let expected =
            [("full network", 1450), ("elastic kernel", 410 * 120), ("elastic depth 1", 410 * 25)];
        assert_eq!(steps, expected);
    }

    #[test]
    fn the_rate_warms_up_and_falls_along_a_cosine() {
        let space = Space::preset("ofa-28").unwrap();
        let phase = Phase { rate: 0.4, ..phases(&space, &training(), 10)[0].clone() };
        assert_eq!((phase.steps, phase.warmup), (100, 10));
        for (step, rate) in [(0, 0.04), (9, 0.4), (10, 0.4), (55, 0.2), (40, 0.3)] {
            assert!((phase.rate(step) - rate).abs() < 1e-9, "{step}: {}", phase.rate(step));
        }
        assert!(phase.rate(99) > 0.0 && phase.rate(99) < 1e-3);
    }
}
