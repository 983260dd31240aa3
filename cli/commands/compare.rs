//! `netfit compare`: strategies side by side at equal cost, finished runs at equal latency, and a supernet's ranking
//! against that of networks trained from scratch.

mod retrain;
mod runs;

use std::{path::Path, time::Instant};

use anyhow::{Result, bail};
use netfit_latency_tables::{Estimate, LatencyTable};
use netfit_predictors::{Accuracy, CsvAccuracy, Predictor, TableLatency};
use netfit_search::{
    Budget, CompareOptions, Comparison, ComparisonResult, Constraints, Outcome, SearchOptions,
    SideConstraints,
};
use netfit_spaces::{Genotype, Space};
use serde::Serialize;

pub(crate) use self::runs::{MethodResult, RunsResult};
use crate::{
    args::{Compare, CompareSearch},
    budgets::{BudgetResult, LatencyBudget, SideBudgets, quantizes, unlabelled},
    format, output, plots,
    progress::Progress,
    runtime::{self, check_apart, check_writable, source_file, space_file},
};

const COLUMNS: [&str; 9] = [
    "strategy",
    "networks",
    "best accuracy, mean",
    "regret, points",
    "to 0.1 point",
    "hypervolume",
    "|LAT - T| / T",
    "over random",
    "verdict",
];

pub(crate) fn execute(args: &Compare, as_json: bool) -> Result<()> {
    args.plot.iter().try_for_each(|path| check_writable(path))?;
    if args.retrain.is_none() {
        args.training.expect_none("a comparison without --retrain")?;
    }
    if args.search.is_none() && args.beside != SideBudgets::default() {
        bail!(
            "--max-parameters, --max-bytes and --also belong to strategies; hint: runs have theirs in their netfit.toml"
        );
    }
    match (&args.search, &args.runs[..], args.retrain) {
        (Some(search), [], None) => strategies(search, &args.beside, args.plot.as_deref(), as_json),
        (None, [run], Some(count)) => {
            if args.plot.is_some() {
                bail!("--retrain draws no picture; hint: leave out --plot");
            }
            retrain::execute(run, usize::from(count), args, as_json)
        }
        (None, _, None) => runs::execute(&args.runs, args.plot.as_ref(), as_json),
        (None, _, Some(_)) => bail!(
            "--retrain expects one run folder, found {}; hint: name the one whose supernet is judged",
            args.runs.len()
        ),
        (Some(_), ..) => bail!(
            "expected either run folders or strategies, found both; hint: --space belongs to strategies"
        ),
    }
}

fn strategies(
    args: &CompareSearch,
    beside: &SideBudgets,
    plot: Option<&Path>,
    as_json: bool,
) -> Result<()> {
    let start = Instant::now();
    let budget: Budget = args.budget.parse()?;
    let read = [Some(args.table.as_path()), source_file(&args.accuracy), space_file(&args.space)];
    check_apart([plot].into_iter().chain(read).flatten())?;
    beside.refuse(plot)?;
    let table = LatencyTable::load(&args.table)?;
    let space = runtime::space(&args.space)?;
    table.check_space(&space)?;
    let latency = TableLatency::at_percentile(&space, &table, args.percentile)?;
    let full = table.predict_percentile(&space.network(&space.largest()), args.percentile)?;
    let (mut accuracy, known) = source(&args.accuracy, &space)?;
    let here = LatencyBudget::of_table(&table, args.percentile, budget, full.median_s)?;
    let budget_s = here.seconds;
    let bound = beside.clone().bind(&space, &unlabelled(&space), quantizes(&table))?;
    let search =
        SearchOptions { evaluations: args.evaluations as usize, ..SearchOptions::default() };
    let mut options = CompareOptions {
        search,
        first_seed: args.seed,
        seeds: args.seeds as usize,
        ..CompareOptions::default()
    };
    if !args.strategies.is_empty() {
        options.strategies.clone_from(&args.strategies);
    }
    let comparison = Comparison {
        space: &space,
        accuracy: accuracy.as_mut(),
        constraints: Constraints { latency: &latency, budget_s, others: &bound.constraints },
        known: known.as_deref(),
    };
    let mut progress = Progress::new();
    let result = comparison.run(&options, &mut progress.of_search())?;
    progress.finish();
    if let Some(path) = plot {
        plots::comparison(path, &result)?;
    }
    if as_json {
        return output::json(&Shown {
            result: &result,
            percentile: args.percentile,
            budgets: bound.budgets(here),
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    print(&result, args.percentile, &bound.constraints)
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    result: &'a ComparisonResult,
    /// What the latencies and the budget are.
    percentile: f64,
    /// All that had to hold.
    budgets: Vec<BudgetResult>,
    /// How long all of it took.
    seconds: f64,
}

/// What scores, and every accuracy beforehand where they are the truth.
type Source = (Box<dyn Accuracy>, Option<Vec<(Genotype, f64)>>);

fn source(text: &str, space: &Space) -> Result<Source> {
    match text.split_once(':') {
        Some(("csv", _)) => {
            let accuracy = CsvAccuracy::load(text, space)?;
            let known = accuracy.pairs();
            Ok((Box::new(accuracy), Some(known)))
        }
        Some(("predictor", path)) => Ok((Box::new(Predictor::load(path.as_ref(), space)?), None)),
        _ => bail!("--accuracy `{text}`: unknown source; hint: csv:FILE or predictor:FILE"),
    }
}

fn print(result: &ComparisonResult, percentile: f64, others: &SideConstraints) -> Result<()> {
    let rows: Vec<Vec<String>> =
        result.strategies.iter().map(|outcome| row(outcome, result.note)).collect();
    output::table(&COLUMNS, &rows)?;
    output::text(&format!(
        "{}, seeds {} to {}, budget {}{}{others}; ranges are {} % bootstrap intervals over seeds",
        result.space,
        result.first_seed,
        result.first_seed + (result.seeds as u64 - 1),
        format::seconds(result.budget_s),
        format::at(percentile),
        100.0 * result.level
    ))?;
    let best = format::percent(Some(result.best_accuracy));
    output::text(&match &result.truth {
        Some(truth) => format!(
            "optimum {} at {best}, {}, of {} networks within the budget; regret is exact",
            truth.optimum.genotype,
            format::seconds(truth.optimum.latency_s),
            truth.networks
        ),
        None => {
            format!("best of all searches {best}; the optimum is not known, so there is no regret")
        }
    })?;
    output::text(&format!(
        "hypervolume from accuracy {} and latency {}, as a share of that of {}",
        format::percent(Some(result.reference.accuracy)),
        format::seconds(result.reference.latency_s),
        if result.truth.is_some() { "the exact front" } else { "all searches together" }
    ))?;
    result.note.map_or(Ok(()), output::text)
}

/// The evaluations that each search was allowed, and the mean of those made where that is less.
fn evaluations(outcome: &Outcome) -> String {
    let made: usize = outcome.runs.iter().map(|run| run.evaluations).sum();
    let made = made as f64 / outcome.runs.len() as f64;
    if made < outcome.evaluations as f64 {
        format!("{made:.0} of {}", outcome.evaluations)
    } else {
        outcome.evaluations.to_string()
    }
}

fn row(outcome: &Outcome, note: Option<&str>) -> Vec<String> {
    let missing = || "-".to_owned();
    let points = |estimate: &Estimate| format::estimate(estimate, 100.0, 3);
    let improvement = |estimate: &Estimate| {
        format!("{:+.3} %{}", estimate.value, format::range(estimate, 1.0, 3))
    };
    let near = match outcome.evaluations_to_near {
        Some(evaluations) => format!("{evaluations} ({:.0} %)", 100.0 * outcome.share_near),
        None => format!("- ({:.0} %)", 100.0 * outcome.share_near),
    };
    let verdict = match (outcome.verdict, note) {
        (Some(verdict), _) => verdict.to_string(),
        (None, Some(_)) => missing(),
        (None, None) => "baseline".to_owned(),
    };
    vec![
        outcome.name.clone(),
        evaluations(outcome),
        format!(
            "{:.2} %{}",
            100.0 * outcome.accuracy.value,
            format::range(&outcome.accuracy, 100.0, 2)
        ),
        outcome.regret.as_ref().map_or_else(missing, points),
        near,
        outcome.hypervolume.map_or_else(missing, |share| format!("{share:.4}")),
        format::percent(Some(outcome.latency_gap)),
        outcome.relative_improvement.as_ref().map_or_else(missing, improvement),
        verdict,
    ]
}
