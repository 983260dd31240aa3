//! What a network has to keep to: a latency, what can be counted, latencies on other devices.

use std::fmt;

use netfit_predictors::{BlockSums, Latency, LatencyModel, TableLatency};
use netfit_spaces::{Block, Genotype, Space};

use crate::{Duration, Error, Result};

/// Hard constraints of a search, all of which hold for every network that it scores.
#[derive(Clone, Copy)]
pub struct Constraints<'a> {
    /// What predicts latencies.
    pub latency: &'a dyn LatencyModel,
    /// Latency that the upper end of a prediction's interval must keep to; infinite: none.
    pub budget_s: f64,
    /// What else must hold.
    pub others: &'a SideConstraints,
}

/// Hard constraints beside the latency that a search is about.
#[derive(Clone, Debug, Default)]
pub struct SideConstraints {
    /// What can be counted, each with the most that a network may have.
    pub sizes: Vec<SizeConstraint>,
    /// Latencies on other devices.
    pub elsewhere: Vec<LatencyConstraint>,
}

static NONE: SideConstraints = SideConstraints { sizes: Vec::new(), elsewhere: Vec::new() };

/// A count of networks, as of parameters, that is the sum of their blocks' counts, and the most that it may be.
#[derive(Clone, Debug)]
pub struct SizeConstraint {
    unit: &'static str,
    /// What every network has beside its blocks.
    fixed: u64,
    sums: BlockSums,
    most: u64,
    smallest: Genotype,
}

/// A latency on another device: the upper end of the interval that its table predicts keeps to a budget.
#[derive(Clone, Debug)]
pub struct LatencyConstraint {
    device: String,
    latency: TableLatency,
    budget_s: f64,
    fastest: Genotype,
}

impl<'a> Constraints<'a> {
    /// A latency, and nothing else.
    pub fn new(latency: &'a dyn LatencyModel, budget_s: f64) -> Self {
        Self { latency, budget_s, others: &NONE }
    }

    /// The predicted latency of a genotype that keeps to all of them.
    pub fn within(&self, genotype: &Genotype) -> Option<Latency> {
        let latency = self.latency.latency(genotype);
        let fits = latency.high_s <= self.budget_s && self.others.hold(genotype);
        fits.then_some(latency)
    }

    /// A network to start from that keeps to all of them: the fastest of the space, or else the one that keeps best to some
    /// other constraint; none where these do not, though others may.
    ///
    /// # Errors
    /// A budget below the fastest network of the space.
    pub(crate) fn start(&self, space: &Space) -> Result<Option<Genotype>> {
        let fastest = fastest(space, self.latency, self.budget_s)?;
        let mut least = std::iter::once(fastest).chain(self.others.least());
        Ok(least.find(|genotype| self.within(genotype).is_some()))
    }

    /// Nothing was found that keeps to all of them at once.
    pub(crate) fn unmet(&self, space: &Space) -> Error {
        let others = self.others.to_string();
        Error::Unmet { space: space.name().to_owned(), budget_s: self.budget_s, others }
    }
}

impl SideConstraints {
    fn hold(&self, genotype: &Genotype) -> bool {
        self.sizes.iter().all(|size| size.of(genotype) <= size.most)
            && self.elsewhere.iter().all(|other| other.predict(genotype).high_s <= other.budget_s)
    }

    /// The network of each that keeps to it best.
    fn least(&self) -> impl Iterator<Item = Genotype> {
        let smallest = self.sizes.iter().map(|size| size.smallest.clone());
        smallest.chain(self.elsewhere.iter().map(|other| other.fastest.clone()))
    }
}

impl fmt::Display for SideConstraints {
    /// What follows a latency, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for SizeConstraint { most, unit, .. } in &self.sizes {
            write!(f, ", at most {most} {unit}")?;
        }
        for LatencyConstraint { budget_s, device, .. } in &self.elsewhere {
            write!(f, ", within {} on {device}", Duration(*budget_s))?;
        }
        Ok(())
    }
}

/// The fastest network of the space, if it keeps to the budget.
fn fastest(space: &Space, latency: &dyn LatencyModel, budget_s: f64) -> Result<Genotype> {
    let (genotype, fastest) = latency.fastest();
    if fastest.high_s <= budget_s {
        return Ok(genotype);
    }
    Err(Error::Impossible {
        space: space.name().to_owned(),
        budget_s,
        genotype: genotype.to_string(),
        fastest_s: fastest.median_s,
        fastest_high_s: fastest.high_s,
    })
}

impl LatencyConstraint {
    /// A budget on the `device` (in words) that `latency` predicts.
    ///
    /// # Errors
    /// A budget below the fastest network of the space.
    pub fn new(
        space: &Space,
        device: String,
        latency: TableLatency,
        budget_s: f64,
    ) -> Result<Self> {
        let fastest = fastest(space, &latency, budget_s)?;
        Ok(Self { device, latency, budget_s, fastest })
    }

    /// A network's latency there.
    pub fn predict(&self, genotype: &Genotype) -> Latency {
        self.latency.latency(genotype)
    }
}

impl SizeConstraint {
    /// At most `most` of what `count` counts in a block, and `fixed` of it beside the blocks. `unit` is its plural.
    ///
    /// # Errors
    /// What `count` reports; a network that is the smallest of the space and has more.
    pub fn new(
        space: &Space,
        unit: &'static str,
        most: u64,
        fixed: u64,
        mut count: impl FnMut(&Block) -> netfit_predictors::Result<u64>,
    ) -> Result<Self> {
        // Whole numbers of 53 bits are exact.
        let sums = BlockSums::new(space, |block| Ok(count(block)? as f64))?;
        let (smallest, _) = sums.smallest();
        let size = Self { unit, fixed, sums, most, smallest };
        let least = size.of(&size.smallest);
        if least <= most {
            return Ok(size);
        }
        Err(Error::TooLarge {
            space: space.name().to_owned(),
            unit,
            most,
            genotype: size.smallest.to_string(),
            least,
        })
    }

    /// At most `most` learned numbers, as [`netfit_spaces::Parameters`] counts them.
    ///
    /// # Errors
    /// A smallest network that has more.
    pub fn parameters(space: &Space, most: u64) -> Result<Self> {
        Self::new(space, "parameters", most, 0, |block| Ok(block.parameters().0))
    }

    /// What a network has.
    pub fn of(&self, genotype: &Genotype) -> u64 {
        self.fixed + self.sums.sum(genotype) as u64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_predictors::{Accuracy, Threads};
    use netfit_spaces::Random;

    use super::*;
    use crate::{STRATEGIES, Search, SearchOptions, equal_latency, feasible, strategy};

    /// The more parameters the faster.
    struct Backwards(SizeConstraint);

    impl LatencyModel for Backwards {
        fn latency(&self, genotype: &Genotype) -> Latency {
            let median_s = 1.0 / self.0.of(genotype) as f64;
            Latency { median_s, low_s: median_s, high_s: median_s, relative: 1.0 }
        }

        fn fastest(&self) -> (Genotype, Latency) {
            let largest = self.0.sums.space().largest();
            let latency = self.latency(&largest);
            (largest, latency)
        }
    }

    #[test]
    fn counts_are_those_of_whole_networks() {
        let mut random = Random::new(3, "sizes");
        for preset in ["ofa-28", "nas-bench-macro", "proxyless-28"] {
            let space = Space::preset(preset).unwrap();
            let size = SizeConstraint::parameters(&space, u64::MAX).unwrap();
            for _ in 0..50 {
                let genotype = space.sample(&mut random);
                assert_eq!(size.of(&genotype), space.network(&genotype).parameters().0, "{preset}");
            }
        }
    }

    #[test]
    fn networks_keep_to_the_latency_and_to_every_count() {
        let space = Space::preset("ofa-28").unwrap();
        let parameters = |most| SizeConstraint::parameters(&space, most).unwrap();
        let at_most =
            |most| SideConstraints { sizes: vec![parameters(most)], ..SideConstraints::default() };
        let (small, large) = (space.smallest(), space.largest());
        let count = |genotype| parameters(u64::MAX).of(genotype);
        let (least, most) = (count(&small), count(&large));
        let latency = Backwards(parameters(most));
        let seconds = |count: u64| 1.0 / count as f64;
        let start = |budget_s, most| {
            Constraints { latency: &latency, budget_s, others: &at_most(most) }.start(&space)
        };
        assert_eq!(start(seconds(most), most).unwrap(), Some(large.clone()));
        assert_eq!(start(seconds(least), least).unwrap(), Some(small.clone()));
        // Each alone can be kept to.
        assert_eq!(start(seconds(most), most - 1).unwrap(), None);
        let message = SizeConstraint::parameters(&space, least - 1).unwrap_err().to_string();
        let words = format!(
            "with at most {} parameters: the smallest, `{small}`, needs {least}",
            least - 1
        );
        assert!(message.contains(&words) && message.contains("hint"), "{message}");
        assert!(start(0.5 * seconds(most), most).unwrap_err().to_string().contains("the fastest"));

        let others = at_most(most - 1);
        let both = Constraints { latency: &latency, budget_s: seconds(least), others: &others };
        assert!(both.within(&small).is_some() && both.within(&large).is_none());
        let both = Constraints { budget_s: 0.9 * seconds(least), ..both };
        assert!(both.within(&small).is_none());
    }

    /// The later the options, the more accurate.
    struct Late;

    impl Accuracy for Late {
        fn source(&self) -> String {
            "late".to_owned()
        }

        fn accuracies(&mut self, genotypes: &[Genotype]) -> netfit_predictors::Result<Vec<f64>> {
            let sum = |genotype: &Genotype| genotype.values().iter().map(|&v| f64::from(v)).sum();
            Ok(genotypes.iter().map(sum).collect())
        }
    }

    #[test]
    fn every_strategy_keeps_to_what_is_counted() {
        let space = Space::preset("ofa-28").unwrap();
        let count = |genotype: &Genotype| space.network(genotype).parameters().0;
        let (least, all) = (count(&space.smallest()), count(&space.largest()));
        let most = least + (all - least) / 3;
        let sizes = vec![SizeConstraint::parameters(&space, most).unwrap()];
        let others = SideConstraints { sizes, ..SideConstraints::default() };
        let latency = Backwards(SizeConstraint::parameters(&space, all).unwrap());
        let budget_s = 1.0 / (least as f64);
        let constraints = Constraints { latency: &latency, budget_s, others: &others };
        let bounds = SearchOptions { evaluations: 200, ..SearchOptions::default() };
        for name in STRATEGIES {
            let mut strategy = strategy(name, &space, 0).unwrap();
            let (accuracy, strategy) = (&mut Late, strategy.as_mut());
            let (journal, threads) = (None, Threads::new(2).unwrap());
            let search =
                Search { space: &space, strategy, accuracy, constraints, journal, threads };
            let found = search.run(&bounds, &mut |_| {}).unwrap().evaluated;
            assert_eq!(found.len(), 200, "{name}");
            assert!(found.iter().all(|network| count(&network.genotype) <= most), "{name}");
        }
        let drawn = feasible(&space, constraints, 30, 0).unwrap();
        assert!(drawn.len() == 30 && drawn.iter().all(|genotype| count(genotype) <= most));
        assert!(count(&equal_latency(&space, constraints, 0.0, 30, &[], 0).unwrap()) <= most);
        // The latency alone lets larger ones through.
        let alone = feasible(&space, Constraints::new(&latency, budget_s), 30, 0).unwrap();
        assert!(alone.iter().any(|genotype| count(genotype) > most));
    }
}
