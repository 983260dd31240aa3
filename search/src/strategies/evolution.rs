//! The evolutionary search of Once-for-All.

use std::ops::Range;

use netfit_predictors::Threads;
use netfit_spaces::{ChoiceKind, Genotype, Random, Space};

use crate::{Error, Evaluated, Filter, Result, Strategy, run::Genotypes};

/// Children that are looked for in a row, with random numbers of their own.
const BROOD: usize = 10;

/// How [`Evolution`] searches.
///
/// | field | default | purpose |
/// |---|---|---|
/// | `population` | 100 | random networks at the start, and children of a generation |
/// | `generations` | 500 | generations after the start |
/// | `parents` | 0.25 | parents of the next generation, a share of the population |
/// | `mutated` | 0.5 | share of the children that come by mutation; the others by crossover |
/// | `layer_rate` | 0.1 | probability that a layer's choices are drawn again |
/// | `depth_rate` | 0.1 | the same of a stage's depth |
/// | `resolution_rate` | 0.5 | the same of the resolution |
/// | `tries` | 100 | proposals for each child before its generation does without it |
#[derive(Clone, Debug, PartialEq)]
pub struct EvolutionOptions {
    /// Random networks at the start, and children of a generation.
    pub population: usize,
    /// Generations after the start.
    pub generations: usize,
    /// Parents of the next generation, a share of the population.
    pub parents: f64,
    /// Share of the children that come by mutation; the others by crossover.
    pub mutated: f64,
    /// Probability that a layer's choices are drawn again.
    pub layer_rate: f64,
    /// Probability that a stage's depth is drawn again.
    pub depth_rate: f64,
    /// Probability that the resolution is drawn again.
    pub resolution_rate: f64,
    /// Proposals for each child before its generation does without it.
    pub tries: usize,
}

impl Default for EvolutionOptions {
    fn default() -> Self {
        Self {
            population: 100,
            generations: 500,
            parents: 0.25,
            mutated: 0.5,
            layer_rate: 0.1,
            depth_rate: 0.1,
            resolution_rate: 0.5,
            tries: 100,
        }
    }
}

impl EvolutionOptions {
    /// Evaluations of a whole search, where no generation is closed early.
    pub fn evaluations(&self) -> usize {
        self.population.saturating_mul(self.generations.saturating_add(1))
    }

    fn check(&self) -> Result<()> {
        let fail = |reason: &str| {
            Err(Error::Configuration { strategy: "evolution", reason: reason.to_owned() })
        };
        if self.population == 0 || self.tries == 0 {
            return fail("expected `population` and `tries` of at least 1");
        }
        let shares =
            [self.parents, self.mutated, self.layer_rate, self.depth_rate, self.resolution_rate];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return fail("expected every share and rate from 0 to 1");
        }
        Ok(())
    }
}

/// Evolution as in Once-for-All (Cai et al., ICLR 2020; the authors' `evolution.py`).
///
/// A generation's parents are the best of the parents before and their children. Departures: a child that is known
/// already is no child; a crossing that is known or over the budget is mutated before two others are crossed, since
/// parents that have grown alike cross to what is known; a child that is hard to find is done without, so no loop is
/// without bound; the last generation counts. Children are looked for in broods of ten, each with random numbers of its
/// own: any number of threads finds the same.
pub struct Evolution {
    space: Space,
    options: EvolutionOptions,
    seed: u64,
    /// 0: the random start.
    generation: usize,
    parents: Vec<Evaluated>,
    children: Vec<Evaluated>,
    /// Children of this generation that were looked for, found or not.
    sought: usize,
    /// Streams of random numbers so far.
    streams: u64,
}

/// Some children of a generation, by number: the first ones are mutants, the others crossings.
struct Brood {
    children: Range<usize>,
    random: Random,
}

impl Evolution {
    /// Evolution in `space`.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(space: &Space, options: EvolutionOptions, seed: u64) -> Result<Self> {
        options.check()?;
        Ok(Self {
            space: space.clone(),
            options,
            seed,
            generation: 0,
            parents: Vec::new(),
            children: Vec::new(),
            sought: 0,
            streams: 0,
        })
    }

    /// Makes the best of this generation the parents of the next; where there are none at all, starts again.
    fn next_generation(&mut self) {
        self.sought = 0;
        let mut pool = std::mem::take(&mut self.parents);
        pool.append(&mut self.children);
        if pool.is_empty() {
            return;
        }
        pool.sort_by(Evaluated::better_first);
        let share = self.options.parents * self.options.population as f64;
        pool.truncate((share.round() as usize).max(1));
        (self.parents, self.generation) = (pool, self.generation + 1);
    }

    fn stream(&mut self) -> Random {
        self.streams += 1;
        Random::at(self.seed, "strategy/evolution", &[self.streams])
    }

    /// The next `most` children of this generation, or as many as it still has.
    fn broods(&mut self, most: usize) -> Vec<Brood> {
        let first = self.sought;
        self.sought = self.options.population.min(first.saturating_add(most));
        let mut broods = Vec::new();
        for start in (first..self.sought).step_by(BROOD) {
            let children = start..self.sought.min(start + BROOD);
            broods.push(Brood { children, random: self.stream() });
        }
        broods
    }

    /// A brood's children that were found, with their numbers.
    fn raise(&self, brood: &Brood, filter: &Filter<'_>) -> Vec<(usize, Genotype)> {
        let mut random = brood.random.clone();
        let mut child = |number: usize| {
            let found = self.child(number, &mut random, &|genotype| filter.fits(genotype));
            found.map(|genotype| (number, genotype))
        };
        brood.children.clone().filter_map(&mut child).collect()
    }

    /// The first proposal that fits; none among [`EvolutionOptions::tries`].
    fn child(
        &self,
        number: usize,
        random: &mut Random,
        fits: &dyn Fn(&Genotype) -> bool,
    ) -> Option<Genotype> {
        let EvolutionOptions { population, mutated, tries, .. } = self.options;
        let mutant = number < (mutated * population as f64).round() as usize;
        let mut refused = None;
        for _ in 0..tries {
            let mended = refused.is_some();
            let child = self.proposal(mutant, refused.take(), random);
            if fits(&child) {
                return Some(child);
            }
            if !mutant && !mended {
                refused = Some(child);
            }
        }
        None
    }

    /// A proposal for a child; `refused` is the crossing that was refused last.
    fn proposal(&self, mutant: bool, refused: Option<Genotype>, random: &mut Random) -> Genotype {
        match (self.generation, mutant, refused) {
            (0, ..) => self.space.sample(random),
            (_, true, _) => self.mutate(self.parent(random), random),
            (_, false, Some(crossing)) => self.mutate(&crossing, random),
            (_, false, None) => {
                let (a, b) = (self.parent(random), self.parent(random));
                self.space.crossover(a, b, random)
            }
        }
    }

    fn parent(&self, random: &mut Random) -> &Genotype {
        &self.parents[random.below(self.parents.len())].genotype
    }

    fn mutate(&self, genotype: &Genotype, random: &mut Random) -> Genotype {
        let EvolutionOptions { layer_rate, depth_rate, resolution_rate, .. } = self.options;
        self.space.mutate(genotype, random, |kind| match kind {
            ChoiceKind::Resolution => resolution_rate,
            ChoiceKind::Depth { .. } => depth_rate,
            ChoiceKind::Kernel { .. }
            | ChoiceKind::Expand { .. }
            | ChoiceKind::Op { .. }
            | ChoiceKind::Squeeze { .. }
            | ChoiceKind::Skip { .. }
            | ChoiceKind::Width { .. } => layer_rate,
        })
    }

    /// Each of the found once: of two alike the later one is looked for again.
    fn distinct(&mut self, found: Vec<(usize, Genotype)>, filter: &Filter<'_>) -> Vec<Genotype> {
        let mut children = Genotypes::default();
        for (number, genotype) in found {
            if children.contains(&genotype) {
                let new = |other: &Genotype| !children.contains(other) && filter.fits(other);
                let mut random = self.stream();
                let another = self.child(number, &mut random, &new);
                children.extend(another);
            } else {
                children.insert(genotype);
            }
        }
        children.into_iter().collect()
    }
}

impl Strategy for Evolution {
    fn ask(&mut self, most: usize) -> Vec<Genotype> {
        self.offer(most, &Filter::new(&|_| true, &Threads::default()))
    }

    fn offer(&mut self, most: usize, filter: &Filter<'_>) -> Vec<Genotype> {
        if self.sought >= self.options.population {
            self.next_generation();
        }
        if self.generation > self.options.generations {
            return Vec::new();
        }
        let broods = self.broods(most);
        let found = filter.threads().map(&broods, |brood| self.raise(brood, filter));
        self.distinct(found.into_iter().flatten().collect(), filter)
    }

    fn tell(&mut self, evaluated: &[Evaluated]) {
        self.children.extend_from_slice(evaluated);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn scored(genotypes: Vec<Genotype>) -> Vec<Evaluated> {
        let score = |genotype: Genotype| {
            let sum = genotype.values().iter().map(|&value| f64::from(value)).sum::<f64>();
            Evaluated { genotype, accuracy: sum, latency_s: 1.0, latency_interval_s: [1.0, 1.0] }
        };
        genotypes.into_iter().map(score).collect()
    }

    #[test]
    fn the_best_quarter_are_the_parents_of_a_whole_generation() {
        let space = Space::preset("ofa-28").unwrap();
        let options = EvolutionOptions { population: 20, generations: 1, ..Default::default() };
        assert_eq!(options.evaluations(), 40);
        let mut evolution = Evolution::new(&space, options, 0).unwrap();
        let start = evolution.ask(15);
        assert_eq!(start.len(), 15);
        let mut start = scored(start);
        evolution.tell(&start);
        let rest = scored(evolution.ask(15));
        assert_eq!(rest.len(), 5);
        evolution.tell(&rest);
        start.extend(rest);
        start.sort_by(Evaluated::better_first);
        assert_eq!(evolution.offer(50, &Filter::new(&|_| true, &Threads::default())).len(), 20);
        assert_eq!(evolution.parents, start[..5]);
    }

    #[test]
    fn the_second_half_of_a_generation_are_crossings() {
        let space = Space::preset("ofa-28").unwrap();
        // Nothing mutates: a mutant is its parent, which is known.
        let (layer_rate, depth_rate, resolution_rate) = (0.0, 0.0, 0.0);
        let options = EvolutionOptions {
            population: 20,
            layer_rate,
            depth_rate,
            resolution_rate,
            ..EvolutionOptions::default()
        };
        let mut evolution = Evolution::new(&space, options, 0).unwrap();
        let start = scored(evolution.ask(20));
        evolution.tell(&start);
        let new = |genotype: &Genotype| start.iter().all(|known| known.genotype != *genotype);
        let (threads, asked) = (Threads::default(), 20);
        let filter = Filter::new(&new, &threads);
        let children = evolution.offer(asked, &filter);
        assert_eq!(children.len(), 10);
        assert!(filter.refused() >= 10 * 100);
        for child in &children {
            for (place, value) in child.values().iter().enumerate() {
                let of_parent = |known: &Evaluated| known.genotype.values()[place] == *value;
                assert!(*value == 0 || evolution.parents.iter().any(of_parent), "{child}");
            }
        }
    }

    #[test]
    fn any_number_of_threads_finds_the_same_children_and_each_once() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let children = |threads: usize| {
            let options = EvolutionOptions { population: 60, ..EvolutionOptions::default() };
            let mut evolution = Evolution::new(&space, options, 7).unwrap();
            let threads = Threads::new(threads).unwrap();
            let mut all = Vec::new();
            for _ in 0..4 {
                // Some are refused, and none is taken twice.
                let taken: HashSet<Genotype> = all.iter().cloned().collect();
                let fits =
                    |genotype: &Genotype| genotype.values()[0] < 2 && !taken.contains(genotype);
                let found = evolution.offer(60, &Filter::new(&fits, &threads));
                evolution.tell(&scored(found.clone()));
                all.extend(found);
            }
            all
        };
        let one = children(1);
        assert!(one.len() > 200, "{}", one.len());
        assert_eq!(one.iter().collect::<HashSet<_>>().len(), one.len());
        for threads in [2, 5] {
            assert_eq!(children(threads), one, "{threads} threads");
        }
    }

    #[test]
    fn a_generation_without_children_is_closed() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let options = EvolutionOptions {
            population: 4,
            generations: 3,
            tries: 5,
            ..EvolutionOptions::default()
        };
        let mut evolution = Evolution::new(&space, options, 0).unwrap();
        let start = scored(evolution.ask(1));
        evolution.tell(&start);
        let mut asked = 0;
        while !evolution.ask(4).is_empty() {
            evolution.tell(&[]);
            asked += 1;
            assert!(asked < 100);
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        for options in [
            EvolutionOptions { population: 0, ..Default::default() },
            EvolutionOptions { mutated: 1.5, ..Default::default() },
            EvolutionOptions { parents: f64::NAN, ..Default::default() },
        ] {
            let error = Evolution::new(&space, options, 0).err().unwrap().to_string();
            assert!(error.starts_with("strategy `evolution`: expected"), "{error}");
        }
    }
}
