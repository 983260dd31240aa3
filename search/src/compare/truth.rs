//! The exact answer, where every accuracy is known.

use std::collections::HashMap;

use netfit_spaces::{Genotype, Space};
use serde::Serialize;

use crate::{Constraints, Evaluated, pareto};

/// What a perfect search under the budget finds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Truth {
    /// Networks of the space within the budget.
    pub networks: usize,
    /// The best of them.
    pub optimum: Evaluated,
    /// Those that no other one dominates, in ascending order of latency.
    pub pareto: Vec<Evaluated>,
    /// Lowest accuracy within the budget.
    pub lowest_accuracy: f64,
}

impl Truth {
    /// Walks through the whole of `space`. None where it has more than 10 to the power of `enumerated` genotypes, where
    /// nothing is within the budget, or where the accuracy of a network within the budget is not `known`.
    pub fn find(
        space: &Space,
        constraints: Constraints<'_>,
        known: &[(Genotype, f64)],
        enumerated: f64,
    ) -> Option<Self> {
        if space.log10_size() > enumerated {
            return None;
        }
        let known: HashMap<&Genotype, f64> =
            known.iter().map(|(key, value)| (key, *value)).collect();
        let mut feasible = Vec::new();
        for genotype in space.enumerate() {
            if let Some(latency) = constraints.within(&genotype) {
                let accuracy = known.get(&genotype).copied().filter(|a| a.is_finite())?;
                feasible.push(Evaluated::new(genotype, accuracy, &latency));
            }
        }
        let optimum = feasible.iter().min_by(|a, b| a.better_first(b))?.clone();
        Some(Self {
            networks: feasible.len(),
            optimum,
            pareto: pareto(&feasible),
            lowest_accuracy: feasible
                .iter()
                .fold(f64::INFINITY, |low, network| low.min(network.accuracy)),
        })
    }
}
