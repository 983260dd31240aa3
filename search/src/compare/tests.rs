#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::path::Path;

use netfit_predictors::{BlockSums, CsvAccuracy, Latency, LatencyModel};

use super::*;
use crate::{Ended, Evaluated};

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

/// A search of networks `(accuracy, latency)`, in this order.
fn run(seed: u64, networks: &[(f64, f64)]) -> CompareRun {
    let genotype = Space::preset("nas-bench-macro").unwrap().smallest();
    let evaluated = |&(accuracy, latency_s): &(f64, f64)| Evaluated {
        genotype: genotype.clone(),
        accuracy,
        latency_s,
        latency_interval_s: [latency_s; 2],
    };
    let evaluated: Vec<Evaluated> = networks.iter().map(evaluated).collect();
    let pareto = crate::pareto(&evaluated);
    CompareRun::new(
        seed,
        crate::SearchResult {
            best: evaluated.iter().min_by(|a, b| a.better_first(b)).unwrap().clone(),
            pareto,
            evaluations: networks.len(),
            proposals: networks.len(),
            ended: Ended::Evaluations,
            budget_s: 10.0,
            scored: 0,
            seconds: 0.0,
            networks_per_second: 0.0,
            evaluated,
        },
    )
}

fn contender(name: &str) -> Contender {
    Contender { name: name.to_owned(), strategy: name.to_owned(), evaluations: 3 }
}

fn options(seeds: usize, enough: usize) -> CompareOptions {
    let search = SearchOptions { evaluations: 3, ..SearchOptions::default() };
    CompareOptions { search, seeds, enough, ..CompareOptions::default() }
}

fn judged(
    runs: Vec<(Contender, Vec<CompareRun>)>,
    truth: Option<Truth>,
    options: &CompareOptions,
) -> ComparisonResult {
    ComparisonResult::of(("space".into(), "hand".into()), runs, truth, 10.0, options)
}

/// Two seeds each: random search ends at 0.8 and 0.9, the other one at 0.9 and 0.96.
fn by_hand() -> Vec<(Contender, Vec<CompareRun>)> {
    let random = vec![run(0, &[(0.5, 9.0), (0.8, 6.0)]), run(1, &[(0.9, 7.0), (0.6, 1.0)])];
    let other = vec![
        run(0, &[(0.7, 5.0), (0.9, 5.0), (0.8, 6.0)]),
        run(1, &[(0.6, 9.0), (0.7, 9.0), (0.96, 8.0)]),
    ];
    vec![(contender("random"), random), (contender("other"), other)]
}

fn truth_by_hand() -> Truth {
    let pareto: Vec<Evaluated> =
        [(0.9, 5.0), (0.96, 8.0)].map(|network| run(0, &[network]).best).to_vec();
    Truth { networks: 9, optimum: pareto[1].clone(), pareto, lowest_accuracy: 0.5 }
}

#[test]
fn every_number_is_that_of_a_pocket_calculator() {
    let mut options = options(2, 2);
    let result = judged(by_hand(), Some(truth_by_hand()), &options);
    assert_eq!(result.reference, Reference { accuracy: 0.5, latency_s: 10.0 });
    assert_eq!((result.best_accuracy, result.note), (0.96, None));
    let other = &result.strategies[1];
    assert!(close(other.accuracy.value, 0.93));
    assert_eq!(other.accuracy.interval, Some([0.9, 0.96]));
    let regret = other.regret.unwrap();
    assert!(close(regret.value, 0.03) && close(regret.interval.unwrap()[1], 0.06), "{regret:?}");
    // 100 (0.93 - 0.85) / 0.85, and of each seed alone 100 (0.9 - 0.8) / 0.8 and 100 (0.96 - 0.9) / 0.9.
    let improvement = other.relative_improvement.unwrap();
    let [low, high] = improvement.interval.unwrap();
    assert!(close(improvement.value, 8.0 / 0.85), "{improvement:?}");
    assert!(close(low, 6.0 / 0.9) && close(high, 12.5), "{improvement:?}");
    let [low, high] = other.difference.interval.unwrap();
    assert!(close(other.difference.value, 0.08) && close(low, 0.06) && close(high, 0.1));
    assert_eq!(other.verdict, Some(Verdict::Better));
    // The exact front has 0.4 * 5 + 0.06 * 2 = 2.12; the searches 0.4 * 5 and 0.46 * 2.
    assert!(close(other.hypervolume.unwrap(), 0.5 * (2.0 + 0.92) / 2.12));
    // Best networks at 5 and 8 of 10.
    assert!(close(other.latency_gap, 0.35));
    // Only the second seed finds the optimum, as its third network.
    assert_eq!((other.evaluations_to_near, other.share_near), (None, 0.5));
    // Its halves: 0.8 and 0.85, then 0.65 and 0.83; random search's second seed fell from 0.9 to 0.6.
    assert!(close(other.runs[0].learnt, 0.05) && close(other.runs[1].learnt, 0.18));
    assert_eq!((other.share_learnt, result.strategies[0].share_learnt), (1.0, 0.5));
    options.near = 0.06;
    let result = judged(by_hand(), Some(truth_by_hand()), &options);
    let other = &result.strategies[1];
    assert_eq!((other.evaluations_to_near, other.share_near), (Some(2.5), 1.0));
    let random = &result.strategies[0];
    assert_eq!((random.verdict, random.difference.value), (None, 0.0));
    assert_eq!(random.relative_improvement.unwrap().interval, Some([0.0; 2]));
}

#[test]
fn without_a_truth_all_searches_together_take_its_place() {
    let result = judged(by_hand(), None, &options(2, 2));
    assert_eq!((result.best_accuracy, result.truth.is_none()), (0.96, true));
    assert_eq!(result.reference.accuracy, 0.5);
    let other = &result.strategies[1];
    assert!(other.regret.is_none());
    // (0.6, 1), (0.9, 5), (0.96, 8): 0.1 * 9 + 0.3 * 5 + 0.06 * 2.
    assert!(close(other.hypervolume.unwrap(), 0.5 * (2.0 + 0.92) / 2.52));
    // Nothing has an area, and nothing can be improved on: no share rather than a made-up one.
    let nothing = || vec![run(0, &[(0.0, 9.0)]), run(1, &[(0.0, 9.0)])];
    let runs = vec![(contender("random"), nothing()), (contender("other"), nothing())];
    let outcome = judged(runs, None, &options(2, 2)).strategies.remove(1);
    assert_eq!((outcome.hypervolume, outcome.relative_improvement), (None, None));
    assert_eq!(outcome.verdict, Some(Verdict::NoDifference));
}

#[test]
fn a_verdict_needs_seeds_and_an_interval_without_0() {
    let runs = |shift: fn(usize) -> f64, seeds: usize| {
        let base = [0.7, 0.72, 0.74, 0.71, 0.73];
        let of = |seed| run(seed as u64, &[(base[seed] + shift(seed), 5.0)]);
        (0..seeds).map(of).collect::<Vec<_>>()
    };
    let verdicts = |seeds: usize| {
        let shifted = [
            runs(|_| 0.0, seeds),
            runs(|_| 0.01, seeds),
            runs(|_| -0.01, seeds),
            runs(|seed| if seed % 2 == 0 { 0.01 } else { -0.01 }, seeds),
            runs(|_| 0.0, seeds),
        ];
        let names = ["random", "up", "down", "mixed", "same"].map(contender);
        let result = judged(names.into_iter().zip(shifted).collect(), None, &options(seeds, 5));
        let verdicts: Vec<_> = result.strategies.iter().map(|outcome| outcome.verdict).collect();
        (result.note, verdicts)
    };
    let (better, worse) = (Some(Verdict::Better), Some(Verdict::Worse));
    let neither = Some(Verdict::NoDifference);
    assert_eq!(verdicts(5), (None, vec![None, better, worse, neither, neither]));
    assert_eq!(verdicts(4), (Some("too few seeds: no conclusion"), vec![None; 5]));
}

#[test]
fn a_search_that_ends_early_stays_at_its_best() {
    let runs = vec![run(0, &[(0.5, 1.0), (0.7, 1.0), (0.6, 1.0)]), run(1, &[(0.9, 1.0)])];
    let result = judged(vec![(contender("random"), runs)], None, &options(2, 2));
    let medians: Vec<f64> = result.strategies[0].quartiles().iter().map(|q| q[1]).collect();
    assert!(close(medians[0], 0.7) && close(medians[1], 0.8) && close(medians[2], 0.8));
    assert_eq!(medians.len(), 3);
}

/// One second for each 1e12 multiply-adds, and an interval of 10 %.
struct Slow(BlockSums);

impl Slow {
    fn new(space: &Space) -> Self {
        Self(BlockSums::new(space, |block| Ok(block.multiply_adds().0 as f64)).unwrap())
    }

    fn of_sum(sum: f64) -> Latency {
        let median_s = sum / 1e12;
        Latency { median_s, low_s: 0.9 * median_s, high_s: 1.1 * median_s, relative: 1.0 }
    }
}

impl LatencyModel for Slow {
    fn latency(&self, genotype: &Genotype) -> Latency {
        Self::of_sum(self.0.sum(genotype))
    }

    fn fastest(&self) -> (Genotype, Latency) {
        let (genotype, sum) = self.0.smallest();
        (genotype, Self::of_sum(sum))
    }
}

/// NAS-Bench-Macro with the fastest half of it within the budget.
struct Macro {
    space: Space,
    known: CsvAccuracy,
    latency: Slow,
    /// Accuracies within the budget, best first.
    feasible: Vec<f64>,
    budget_s: f64,
}

impl Macro {
    fn new() -> Self {
        let space = Space::preset("nas-bench-macro").unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/nas-bench-macro.csv");
        let columns = "genotype=arch,accuracy=mean_acc,unit=percent";
        let known = CsvAccuracy::load(&format!("{},{columns}", file.display()), &space).unwrap();
        let latency = Slow::new(&space);
        let timed = |(genotype, accuracy): (Genotype, f64)| {
            (Slow::of_sum(latency.0.sum(&genotype)).high_s, accuracy)
        };
        let mut networks: Vec<(f64, f64)> = known.pairs().into_iter().map(timed).collect();
        networks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let budget_s = networks[networks.len() / 2].0;
        networks.retain(|network| network.0 <= budget_s);
        let mut feasible: Vec<f64> = networks.into_iter().map(|network| network.1).collect();
        feasible.sort_by(|a, b| b.total_cmp(a));
        Self { space, known, latency, feasible, budget_s }
    }

    fn options(strategies: &[&str], seeds: usize, evaluations: usize) -> CompareOptions {
        CompareOptions {
            search: SearchOptions { evaluations, ..SearchOptions::default() },
            strategies: strategies.iter().map(ToString::to_string).collect(),
            seeds,
            ..CompareOptions::default()
        }
    }

    fn compare(
        &self,
        options: &CompareOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ComparisonResult> {
        let comparison = Comparison {
            space: &self.space,
            accuracy: &mut self.known.clone(),
            constraints: Constraints::new(&self.latency, self.budget_s),
            known: Some(&self.known.pairs()),
        };
        comparison.run(options, progress)
    }
}

/// `sum of the accuracy of rank r times C(n - 1 - r, N - 1) / C(n, N)`: the best of N draws without replacement.
fn expected_best(feasible: &[f64], draws: usize) -> f64 {
    let count = feasible.len();
    let mut share = draws as f64 / count as f64;
    let mut sum = 0.0;
    for (rank, accuracy) in feasible.iter().enumerate().take(count - draws + 1) {
        sum += share * accuracy;
        share *= (count - draws - rank) as f64 / (count - 1 - rank).max(1) as f64;
    }
    sum
}

#[test]
fn random_search_has_the_regret_of_its_closed_form() {
    let bench = Macro::new();
    assert!(close(expected_best(&[0.9, 0.6, 0.3], 2), 0.9 * 2.0 / 3.0 + 0.6 / 3.0));
    let result = bench.compare(&Macro::options(&[], 200, 50), &mut |_| {}).unwrap();
    assert_eq!(result.truth.as_ref().unwrap().networks, bench.feasible.len());
    assert_eq!(result.best_accuracy, bench.feasible[0]);
    for (outcome, draws) in result.strategies.iter().zip([50, 100]) {
        let regret = outcome.regret.unwrap();
        let expected = bench.feasible[0] - expected_best(&bench.feasible, draws);
        let [low, high] = regret.interval.unwrap();
        // Twice the half-width of 95 % is about 4 standard deviations.
        let room = high - low;
        assert!((regret.value - expected).abs() < room, "{draws}: {regret:?}, {expected}");
        assert!(room < expected, "{draws}: {regret:?}");
    }
}

#[test]
fn an_exhaustive_random_search_has_no_regret_and_the_whole_front() {
    let bench = Macro::new();
    let result = bench.compare(&Macro::options(&["random"], 2, 6561), &mut |_| {}).unwrap();
    let names: Vec<&str> = result.strategies.iter().map(|outcome| &*outcome.name).collect();
    assert_eq!(names, ["random", "random 2x"]);
    for outcome in &result.strategies {
        assert_eq!((outcome.regret.unwrap().value, outcome.share_near), (0.0, 1.0));
        assert!(close(outcome.hypervolume.unwrap(), 1.0));
        for run in &outcome.runs {
            assert_eq!((run.evaluations, run.ended), (bench.feasible.len(), Ended::Exhausted));
            assert!(run.best.latency_interval_s[1] <= bench.budget_s);
        }
    }
    assert_eq!(result.note, Some("too few seeds: no conclusion"));
}

#[test]
fn a_comparison_is_the_same_each_time_and_tells_its_seeds() {
    let bench = Macro::new();
    let mut options = Macro::options(&["evolution"], 5, 200);
    options.first_seed = 7;
    let mut steps = Vec::new();
    let first = bench
        .compare(&options, &mut |step| steps.push((step.stage, step.done, step.total)))
        .unwrap();
    assert_eq!(first, bench.compare(&options, &mut |_| {}).unwrap());
    assert_eq!(steps[4..7], [("random", 5), ("random 2x", 1), ("random 2x", 2)].map(stage));
    let evolution = &first.strategies[2];
    let seeds: Vec<u64> = evolution.runs.iter().map(|run| run.seed).collect();
    assert_eq!(seeds, [7, 8, 9, 10, 11]);
    assert!(evolution.runs.iter().all(|run| run.evaluations == 200 && run.curve.is_sorted()));
    // At twice the cost random search goes on where it was.
    for (once, twice) in first.strategies[0].runs.iter().zip(&first.strategies[1].runs) {
        assert_eq!((once.evaluations, twice.evaluations), (200, 400));
        assert_eq!(once.curve, twice.curve[..200]);
    }
    assert!(evolution.regret.unwrap().value < first.strategies[0].regret.unwrap().value);
}

/// Within the budget both `mnasnet-hard` and `constraint` are the accuracy; `proxyless` pays for speed.
#[test]
fn one_strategy_is_compared_under_several_rewards() {
    let bench = Macro::new();
    let names = ["tunas:mnasnet-hard", "tunas:constraint", "tunas:proxyless"];
    let result = bench.compare(&Macro::options(&names, 5, 200), &mut |_| {}).unwrap();
    let [hard, constraint, fast] = &result.strategies[2..] else { panic!("{result:?}") };
    assert_eq!([&*hard.name, &*constraint.name, &*fast.name], names);
    assert_eq!(hard.runs, constraint.runs);
    assert_ne!(hard.runs, fast.runs);
}

fn stage((name, done): (&str, u64)) -> (String, u64, u64) {
    (name.to_owned(), done, 5)
}

#[test]
fn a_truth_needs_every_network_within_the_budget_and_no_other() {
    let bench = Macro::new();
    let mut known = bench.known.pairs();
    let find = |known: &[(Genotype, f64)], enumerated| {
        let constraints = Constraints::new(&bench.latency, bench.budget_s);
        Truth::find(&bench.space, constraints, known, enumerated)
    };
    let whole = find(&known, 6.0).unwrap();
    assert_eq!(whole.lowest_accuracy, *bench.feasible.last().unwrap());
    assert_eq!(find(&known, 3.0), None);
    let slowest = known.pop().unwrap();
    assert_eq!(slowest.0, bench.space.largest());
    assert_eq!(find(&known, 6.0), Some(whole));
    known.remove(0);
    assert_eq!(find(&known, 6.0), None);
}

#[test]
fn comparisons_that_make_no_sense_are_refused_before_any_work() {
    let bench = Macro::new();
    let good = Macro::options(&["evolution"], 5, 100);
    let named = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    for (options, expected) in [
        (CompareOptions { strategies: named(&["evolutoin"]), ..good.clone() }, "`evolutoin`; hint"),
        (
            CompareOptions { strategies: named(&["random", "random"]), ..good.clone() },
            "twice; hint",
        ),
        (CompareOptions { strategies: named(&["tunas:gold"]), ..good.clone() }, "`gold`; hint"),
        (CompareOptions { strategies: named(&["random:absolute"]), ..good.clone() }, "no reward"),
        (CompareOptions { seeds: 0, ..good.clone() }, "found 0 seeds"),
        (CompareOptions { first_seed: u64::MAX, ..good.clone() }, "below 2^64"),
        (Macro::options(&["evolution"], 5, 0), "evaluation"),
        (CompareOptions { level: 1.0, ..good.clone() }, "`level` between 0 and 1"),
        (CompareOptions { near: f64::NAN, ..good.clone() }, "`near`"),
        (CompareOptions { resamples: 0, ..good.clone() }, "a resample"),
    ] {
        let mut worked = false;
        let error = bench.compare(&options, &mut |_| worked = true).unwrap_err().to_string();
        assert!(error.contains(expected) && !worked, "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for (budget_s, expected) in [(f64::INFINITY, "finite"), (1e-12, "hint: allow at least")] {
        let bench = Macro { budget_s, ..Macro::new() };
        let error = bench.compare(&good, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
