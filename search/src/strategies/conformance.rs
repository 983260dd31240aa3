//! One suite for all strategies.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use netfit_predictors::{Accuracy, BlockSums, Latency, LatencyModel, Threads};
use netfit_spaces::{Genotype, Space};
use proptest::prelude::*;

use super::{STRATEGIES, StrategyOptions, strategy, strategy_with};
use crate::{
    Constraints, Ended, Error, Evaluated, Filter, Journal, REWARDS, Reward, Search, SearchOptions,
    SearchResult, Strategy, equal_latency, feasible,
};

/// Those that learn from rewards.
const POLICIES: [&str; 3] = ["mnasnet", "tunas", "proxyless-r"];

/// Multiply-adds at 1e12 a second, give or take 2 %.
struct Counted(BlockSums);

impl Counted {
    fn new(space: &Space) -> Self {
        Self(BlockSums::new(space, |block| Ok(block.multiply_adds().0 as f64)).unwrap())
    }

    fn of_sum(sum: f64) -> Latency {
        let median_s = sum / 1e12;
        Latency { median_s, low_s: 0.98 * median_s, high_s: 1.02 * median_s, relative: 1.0 }
    }

    /// The latency that a share of the way from the fastest to the slowest network takes.
    fn budget(&self, space: &Space, share: f64) -> f64 {
        let (fast, slow) =
            (self.fastest().1.high_s, Self::of_sum(self.0.sum(&space.largest())).high_s);
        fast + share * (slow - fast)
    }
}

impl LatencyModel for Counted {
    fn latency(&self, genotype: &Genotype) -> Latency {
        Self::of_sum(self.0.sum(genotype))
    }

    fn fastest(&self) -> (Genotype, Latency) {
        let (genotype, sum) = self.0.smallest();
        (genotype, Self::of_sum(sum))
    }
}

/// A smooth function of the choices: weights that differ by place, less for each further step. Counts what it scores.
#[derive(Default)]
struct Toy {
    scored: usize,
    /// Fails once so many are scored.
    fails_after: Option<usize>,
}

impl Toy {
    fn accuracy(genotype: &Genotype) -> f64 {
        let values = genotype.values().iter().enumerate();
        let gains =
            values.map(|(place, &value)| (1 + place * 7 % 5) as f64 * f64::from(value).sqrt());
        gains.sum::<f64>() / (10.0 * genotype.values().len() as f64)
    }
}

impl Accuracy for Toy {
    fn source(&self) -> String {
        "toy".to_owned()
    }

    fn accuracies(&mut self, genotypes: &[Genotype]) -> netfit_predictors::Result<Vec<f64>> {
        self.scored += genotypes.len();
        if self.fails_after.is_some_and(|most| self.scored > most) {
            return Err(netfit_predictors::Error::Source("cut off".into()));
        }
        Ok(genotypes.iter().map(Self::accuracy).collect())
    }
}

/// A budget, and bounds of a search.
#[derive(Clone)]
struct Asked {
    budget_s: f64,
    bounds: SearchOptions,
}

fn options(budget_s: f64, evaluations: usize) -> Asked {
    let bounds = SearchOptions { evaluations, rejections: 20_000, ..SearchOptions::default() };
    Asked { budget_s, bounds }
}

fn run(space: &Space, strategy: &mut dyn Strategy, asked: &Asked) -> Result<SearchResult, Error> {
    let latency = Counted::new(space);
    let search = Search {
        space,
        strategy,
        accuracy: &mut Toy::default(),
        constraints: Constraints::new(&latency, asked.budget_s),
        journal: None,
        threads: Threads::default(),
    };
    search.run(&asked.bounds, &mut |_| {})
}

fn named(space: &Space, name: &str, seed: u64, options: &Asked) -> SearchResult {
    run(space, strategy(name, space, seed).unwrap().as_mut(), options).unwrap()
}

/// Records what a strategy proposes and is told, and checks the contract.
struct Watched<'a> {
    inner: Box<dyn Strategy>,
    space: &'a Space,
    budget_s: f64,
    last: Vec<Genotype>,
    told: HashSet<Genotype>,
}

impl Strategy for Watched<'_> {
    fn ask(&mut self, _: usize) -> Vec<Genotype> {
        unreachable!("the loop takes offers")
    }

    fn offer(&mut self, most: usize, filter: &Filter<'_>) -> Vec<Genotype> {
        self.last = self.inner.offer(most, filter);
        assert!(self.last.len() <= most, "no more than were asked for");
        for genotype in &self.last {
            let parsed = self.space.parse(&genotype.to_string()).unwrap();
            assert_eq!(parsed, *genotype, "canonical and in the space");
        }
        self.last.clone()
    }

    fn tell(&mut self, evaluated: &[Evaluated]) {
        let mut places = self.last.iter();
        for network in evaluated {
            assert!(network.latency_interval_s[1] <= self.budget_s, "only feasible ones are told");
            assert!(network.accuracy.is_finite());
            assert!(self.told.insert(network.genotype.clone()), "each one once");
            assert!(
                places.any(|place| *place == network.genotype),
                "in the order of the proposals"
            );
        }
        self.inner.tell(evaluated);
    }
}

#[test]
fn proposals_are_in_the_space_and_only_feasible_ones_are_told() {
    for preset in ["ofa-28", "nas-bench-macro", "proxyless-28", "mnasnet-28"] {
        let space = Space::preset(preset).unwrap();
        let budget_s = Counted::new(&space).budget(&space, 0.4);
        for name in STRATEGIES {
            let inner = strategy(name, &space, 3).unwrap();
            let mut watched =
                Watched { inner, space: &space, budget_s, last: Vec::new(), told: HashSet::new() };
            let result = run(&space, &mut watched, &options(budget_s, 350)).unwrap();
            assert_eq!((result.evaluations, result.ended), (350, Ended::Evaluations), "{name}");
            assert_eq!(watched.told.len(), 350);
            assert!(result.evaluated.contains(&result.best));
            let highest = result.evaluated.iter().map(|n| n.accuracy).fold(0.0, f64::max);
            assert!((result.best.accuracy - highest).abs() < 1e-12);
            assert_eq!(result.pareto.last(), Some(&result.best));
        }
    }
}

#[test]
fn a_proposal_is_of_the_space_and_no_more_come_than_were_asked_for() {
    for preset in ["ofa-28", "nas-bench-macro", "mnasnet-28"] {
        let space = Space::preset(preset).unwrap();
        for name in STRATEGIES {
            let asked = strategy(name, &space, 3).unwrap().ask(30);
            assert!((1..=30).contains(&asked.len()), "{name}");
            for genotype in asked {
                assert_eq!(space.parse(&genotype.to_string()).unwrap(), genotype, "{name}");
            }
        }
    }
}

#[test]
fn the_seed_fixes_a_search() {
    let space = Space::preset("ofa-28").unwrap();
    let bounds = options(Counted::new(&space).budget(&space, 0.4), 250);
    for name in STRATEGIES {
        let [a, b, c] = [1, 1, 2].map(|seed| named(&space, name, seed, &bounds).evaluated);
        assert_eq!(a, b, "{name}");
        assert_ne!(a, c, "{name}");
    }
}

#[test]
fn strategies_are_no_worse_than_random_search_at_equal_cost() {
    let space = Space::preset("ofa-28").unwrap();
    let bounds = options(Counted::new(&space).budget(&space, 0.4), 600);
    let mean = |name| {
        (0..5).map(|seed| named(&space, name, seed, &bounds).best.accuracy).sum::<f64>() / 5.0
    };
    let random = mean("random");
    for name in STRATEGIES {
        assert!(mean(name) >= random, "{name}");
    }
    assert!(mean("evolution") > random + 0.005, "{} against {random}", mean("evolution"));
}

#[test]
fn a_search_that_was_cut_off_resumes_to_the_same_end() {
    let space = Space::preset("ofa-28").unwrap();
    let latency = Counted::new(&space);
    let bounds = options(latency.budget(&space, 0.4), 400);
    for name in STRATEGIES {
        let unbroken = named(&space, name, 5, &bounds);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let go = |accuracy: &mut Toy| {
            let mut journal = Journal::open(&path, &space).unwrap();
            let mut strategy = strategy(name, &space, 5).unwrap();
            let (strategy, journal) = (strategy.as_mut(), Some(&mut journal));
            let threads = Threads::new(2).unwrap();
            let constraints = Constraints::new(&latency, bounds.budget_s);
            Search { space: &space, strategy, accuracy, constraints, journal, threads }
                .run(&bounds.bounds, &mut |_| {})
        };
        let cut = go(&mut Toy { fails_after: Some(230), ..Toy::default() }).unwrap_err();
        assert_eq!(cut.to_string(), "cut off");
        let before = Journal::open(&path, &space).unwrap().records().len();
        assert!(before > 0 && before <= 230);
        let mut toy = Toy::default();
        assert_eq!(go(&mut toy).unwrap().evaluated, unbroken.evaluated, "{name}");
        assert_eq!(toy.scored, 400 - before, "nothing is scored twice");
        let mut toy = Toy::default();
        assert_eq!(go(&mut toy).unwrap().evaluated, unbroken.evaluated, "{name}");
        assert_eq!(toy.scored, 0);
    }
}

#[test]
fn an_impossible_budget_names_the_fastest_network() {
    let space = Space::preset("ofa-28").unwrap();
    let fastest = Counted::new(&space).fastest();
    for name in STRATEGIES {
        let mut strategy = strategy(name, &space, 0).unwrap();
        let message = run(&space, strategy.as_mut(), &options(1e-9, 10)).unwrap_err().to_string();
        assert!(message.contains("within 1.00 ns") && message.contains("hint:"), "{message}");
        assert!(message.contains(&fastest.0.to_string()), "{message}");
    }
    let none = run(&space, strategy("random", &space, 0).unwrap().as_mut(), &options(1.0, 0));
    assert!(none.unwrap_err().to_string().contains("at least one evaluation"));
}

#[test]
fn a_budget_that_leaves_only_the_fastest_network_finds_it() {
    let space = Space::preset("ofa-28").unwrap();
    let latency = Counted::new(&space);
    let (genotype, fastest) = latency.fastest();
    for name in STRATEGIES {
        let mut bounds = options(fastest.high_s, 50);
        bounds.bounds.rejections = 2000;
        let result = named(&space, name, 0, &bounds);
        assert_eq!((result.best.genotype, result.evaluations), (genotype.clone(), 1), "{name}");
        assert_ne!(result.ended, Ended::Evaluations);
    }
    let constraints = Constraints::new(&latency, fastest.high_s);
    let alone = feasible(&space, constraints, 3, 0).unwrap();
    assert_eq!(alone, [genotype]);
    assert!(equal_latency(&space, constraints, 1.0, 3, &alone, 0).is_err());
}

#[test]
fn random_search_ends_with_the_space_and_finds_its_optimum() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let latency = Counted::new(&space);
    let bounds = options(latency.budget(&space, 0.5), 100_000);
    let result = named(&space, "random", 0, &bounds);
    let feasible = |genotype: &Genotype| latency.latency(genotype).high_s <= bounds.budget_s;
    let all: Vec<Genotype> = space.enumerate().filter(feasible).collect();
    assert_eq!((result.evaluations, result.proposals), (all.len(), 6561));
    assert_eq!(result.ended, Ended::Exhausted);
    let best = all.iter().map(Toy::accuracy).fold(0.0, f64::max);
    assert!((result.best.accuracy - best).abs() < 1e-12);
}

#[test]
fn policies_learn() {
    let space = Space::preset("ofa-28").unwrap();
    let bounds = options(Counted::new(&space).budget(&space, 0.4), 300);
    let mean = |networks: &[Evaluated]| networks.iter().map(|n| n.accuracy).sum::<f64>() / 50.0;
    for name in POLICIES {
        let risen = |&seed: &u64| {
            let evaluated = named(&space, name, seed, &bounds).evaluated;
            mean(&evaluated[250..]) > mean(&evaluated[..50])
        };
        let seeds = (0..10).filter(risen).count();
        assert!(seeds >= 9, "{name}: in {seeds} of 10 searches");
    }
}

#[test]
fn searches_of_a_small_space_end_whatever_a_strategy_has_settled_on() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let bounds = options(Counted::new(&space).budget(&space, 0.4), 1000);
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
    let toy = Space::from_toml("toy", text).unwrap();
    for name in STRATEGIES {
        let result = named(&space, name, 0, &bounds);
        assert_eq!((result.evaluations, result.ended), (1000, Ended::Evaluations), "{name}");
        let result = named(&toy, name, 0, &options(f64::INFINITY, 100));
        assert_eq!(result.evaluations, 12, "{name} finds all that there are");
        assert_ne!(result.ended, Ended::Evaluations);
    }
}

#[test]
fn rewards_steer_policies_and_are_refused_where_they_mean_nothing() {
    let space = Space::preset("ofa-28").unwrap();
    let budget_s = Counted::new(&space).budget(&space, 0.4);
    let goal = |target_s, reward: Reward| StrategyOptions { target_s, reward: Some(reward) };
    for name in POLICIES {
        // Of 600 networks the last 100, under a strong reward for speed and under one for accuracy alone.
        let latency = |reward| {
            let goal = goal(Some(budget_s), reward);
            let mut strategy = strategy_with(name, &space, 0, &goal).unwrap();
            let result = run(&space, strategy.as_mut(), &options(budget_s, 600)).unwrap();
            result.evaluated[500..].iter().map(|network| network.latency_s).sum::<f64>() / 100.0
        };
        let (fast, accurate) =
            (latency(Reward::MnasNet { alpha: -1.0, beta: -1.0 }), latency(Reward::Constraint));
        assert!(fast < accurate, "{name}: {fast} s against {accurate} s");
        for target_s in [0.0, f64::NAN, f64::INFINITY] {
            let found = strategy_with(name, &space, 0, &goal(Some(target_s), Reward::PROXYLESS));
            let message = found.err().unwrap().to_string();
            assert!(message.contains("expected a finite target latency above 0 s"), "{message}");
        }
        let message = strategy_with(name, &space, 0, &goal(None, Reward::ABSOLUTE)).err().unwrap();
        assert!(message.to_string().contains("`absolute` without a target latency; hint: "));
    }
    for name in STRATEGIES.into_iter().filter(|name| !POLICIES.contains(name)) {
        for reward in REWARDS.map(|name| name.parse().unwrap()) {
            let found = strategy_with(name, &space, 0, &goal(Some(budget_s), reward));
            let message = found.err().unwrap().to_string();
            let expected = format!("strategy `{name}`: takes no reward, found `{reward}`; hint: ");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
}

#[test]
fn unknown_strategies_are_refused_with_the_known_ones() {
    let space = Space::preset("ofa-28").unwrap();
    let message = strategy("annealing", &space, 0).err().unwrap().to_string();
    let known = STRATEGIES.join(", ");
    assert_eq!(message, format!("unknown strategy `annealing`; hint: strategies are {known}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_networks_to_compare_with_keep_to_the_budget(share in 0.0..1.0_f64, seed in any::<u64>()) {
        let space = Space::preset("ofa-28").unwrap();
        let latency = Counted::new(&space);
        let budget_s = latency.budget(&space, share);
        let constraints = Constraints::new(&latency, budget_s);
        let drawn = feasible(&space, constraints, 20, seed).unwrap();
        prop_assert_eq!(&drawn, &feasible(&space, constraints, 20, seed).unwrap());
        let distinct: HashSet<_> = drawn.iter().collect();
        prop_assert!(distinct.len() == drawn.len() && drawn.len() <= 20 && !drawn.is_empty());
        prop_assert!(drawn.iter().all(|genotype| latency.latency(genotype).high_s <= budget_s));
        let target = latency.latency(&drawn[0]).median_s;
        let near = |target| equal_latency(&space, constraints, target, 20, &[], seed).unwrap();
        let found = latency.latency(&near(target));
        prop_assert!(found.high_s <= budget_s);
        // Nobody of its own draw, which is another one, is nearer.
        let mut random = netfit_spaces::Random::new(seed, crate::select::EQUAL);
        for other in crate::select::drawn(&space, constraints, 20, &mut random).unwrap() {
            let distance = |seconds: f64| (seconds - target).abs();
            prop_assert!(distance(latency.latency(&other).median_s) >= distance(found.median_s));
        }
    }
}
