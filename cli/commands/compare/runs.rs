//! Finished runs beside each other: what each method found, at the latency that was measured.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use netfit_latency_tables::{Estimate, Fingerprint};
use netfit_search::{CompareOptions, Verdict};
use serde::Serialize;

use crate::{
    budgets::BudgetResult,
    config::Config,
    format, output, plots,
    run::{Candidate, Folder, RunResult},
};

/// Budgets that differ by more than this share are different ones.
const SAME: f64 = 0.005;
const COLUMNS: [&str; 9] = [
    "method",
    "runs",
    "measured",
    "|LAT - T| / T",
    "test accuracy",
    "random, equal latency",
    "random search",
    "over random search",
    "verdict",
];

/// Several runs under one budget on one device and one test set.
#[derive(Serialize)]
pub(crate) struct RunsResult {
    /// The latency that all had to keep to.
    pub(crate) budget_s: f64,
    /// Of single calls; 50 is the median.
    pub(crate) percentile: f64,
    /// All that had to hold.
    budgets: Vec<BudgetResult>,
    /// In words, what follows the latency.
    #[serde(skip)]
    beside: String,
    pub(crate) test_images: usize,
    pub(crate) methods: Vec<MethodResult>,
    /// What forbids a conclusion.
    note: Option<&'static str>,
}

/// The runs of one method. Accuracies are those of exported files on the test set, fractions of 1.
#[derive(Serialize)]
pub(crate) struct MethodResult {
    pub(crate) method: String,
    accuracy: Estimate,
    latency_s: f64,
    /// Mean of `|LAT - T| / T` with the measured latency.
    latency_gap: f64,
    random_equal_latency: f64,
    random_search: f64,
    /// Runs whose network was measured over the budget: their accuracies are none within it.
    over_budget: usize,
    /// 100 (accuracy - that of random search at equal cost) / that of random search.
    relative_improvement: Estimate,
    verdict: Option<Verdict>,
    pub(crate) runs: Vec<Finished>,
}

/// One run.
#[derive(Serialize)]
pub(crate) struct Finished {
    folder: PathBuf,
    seed: u64,
    space: String,
    within_budget: bool,
    pub(crate) chosen: Candidate,
    pub(crate) random_best: Candidate,
    pub(crate) random_equal_latency: Candidate,
    pub(crate) full: Candidate,
    /// Wall-clock seconds of all steps.
    seconds: f64,
}

pub(super) fn execute(folders: &[PathBuf], plot: Option<&PathBuf>, as_json: bool) -> Result<()> {
    let mut runs = Vec::new();
    for path in folders {
        plot.map_or(Ok(()), |plot| Folder::at(path).refuse(plot))?;
        runs.push(load(path)?);
    }
    let result = beside(&runs)?;
    if let Some(path) = plot {
        plots::runs(path, &result)?;
    }
    if as_json { output::json(&result) } else { print(&result) }
}

/// A finished run with what it was asked for.
struct Loaded {
    folder: PathBuf,
    config: Config,
    result: RunResult,
}

impl Loaded {
    fn budget(&self) -> Result<(f64, f64)> {
        let budget = self.result.latency_budget();
        let budget = budget.with_context(|| format!("`{}`", self.folder.display()))?;
        Ok((budget.seconds, budget.percentile))
    }

    /// What it was asked for, without what runs of one method may differ in.
    fn asked(&self) -> Config {
        Config {
            seed: 0,
            // In seconds they are those of all.
            budget: String::new(),
            also: Vec::new(),
            data: self.config.data.clone().with_path(""),
            space: format!("{} ({})", self.result.space, self.result.space_id),
            ..self.config.clone()
        }
    }
}

/// What follows a latency, or nothing.
fn words(result: &RunResult) -> String {
    let word = |budget: &BudgetResult| format!(", {budget}");
    result.side_budgets().map(word).collect()
}

/// Whether two runs had to keep to the same beside the latency, in whatever order it was asked for.
fn same_beside(a: &RunResult, b: &RunResult) -> bool {
    let same = |a: &BudgetResult, b: &BudgetResult| match (a, b) {
        (BudgetResult::Latency(a), BudgetResult::Latency(b)) => {
            let seconds = (a.seconds / b.seconds - 1.0).abs() <= SAME;
            a.device == b.device && (a.percentile - b.percentile).abs() < f64::EPSILON && seconds
        }
        _ => a == b,
    };
    let all_in = |a: &RunResult, b: &RunResult| {
        a.side_budgets().all(|one| b.side_budgets().any(|other| same(one, other)))
    };
    all_in(a, b) && all_in(b, a)
}

fn load(path: &Path) -> Result<Loaded> {
    let (folder, config) = Folder::existing(path)?;
    let result = RunResult::of(&folder)?;
    Ok(Loaded { folder: path.to_path_buf(), config, result })
}

/// Refuses runs that cannot be compared, by what differs first.
fn check(first: &Loaded, other: &Loaded) -> Result<()> {
    let (ours, theirs) = (first.folder.display(), other.folder.display());
    let device = |run: &Loaded| run.result.devices.first().cloned();
    // What networks compute in is a choice, like how they are found.
    if let (Some(a), Some(b)) = (device(first), device(other))
        && let Some(difference) = a.differs(&Fingerprint { precision: a.precision.clone(), ..b })
    {
        bail!(
            "`{ours}` and `{theirs}` ran on different devices: {} is {} and {}; hint: latencies of one device only can be compared",
            difference.field,
            difference.ours,
            difference.theirs
        );
    }
    let ((a, at), (b, other_at)) = (first.budget()?, other.budget()?);
    if (a / b - 1.0).abs() > SAME || (at - other_at).abs() > f64::EPSILON {
        bail!(
            "`{ours}` had {}{} and `{theirs}` {}{}, expected one budget; hint: netfit run CONFIG --budget {}us",
            format::seconds(a),
            format::at(at),
            format::seconds(b),
            format::at(other_at),
            // All digits: a budget that is rounded is another one.
            a * 1e6
        );
    }
    if !same_beside(&first.result, &other.result) {
        bail!(
            "`{ours}` had to keep to the latency{}, `{theirs}` to the latency{}; hint: see `max_parameters`, `max_bytes` \
             and `also` in their netfit.toml",
            words(&first.result),
            words(&other.result)
        );
    }
    let data = |run: &Loaded| run.config.data.clone().with_path("");
    if data(first) != data(other) || first.result.test_images != other.result.test_images {
        bail!("`{ours}` and `{theirs}` have different data; hint: see [data] in their netfit.toml");
    }
    if let (Some(a), Some(b)) = (&first.result.test_hash, &other.result.test_hash)
        && a != b
    {
        bail!(
            "`{ours}` and `{theirs}` were tested on different images; hint: compare runs on one data set \
             (earlier versions drew the test images of a folder by the seed)"
        );
    }
    Ok(())
}

fn beside(runs: &[Loaded]) -> Result<RunsResult> {
    let Some(first) = runs.first() else {
        bail!("expected a run folder, found none; hint: `netfit run` makes one")
    };
    let mut known: Vec<(Config, String, Vec<Finished>)> = Vec::new();
    for run in runs {
        check(first, run)?;
        let (asked, finished) = (run.asked(), Finished::of(run));
        let Some((_, method, others)) = known.iter_mut().find(|(other, ..)| other.same_run(&asked))
        else {
            let method = name(&asked, &known);
            known.push((asked, method, vec![finished]));
            continue;
        };
        if let Some(twin) = others.iter().find(|other| other.seed == finished.seed) {
            bail!(
                "`{}` and `{}` are both of method {method} with seed {}; hint: give each run a `seed` of its own",
                twin.folder.display(),
                finished.folder.display(),
                finished.seed
            );
        }
        others.push(finished);
    }
    let (budget_s, percentile) = first.budget()?;
    let enough = CompareOptions::default().enough;
    let few = known.iter().any(|(.., runs)| runs.len() < enough);
    let over = runs.iter().any(|run| !run.result.within_budget);
    let methods =
        known.into_iter().map(|(_, method, runs)| MethodResult::of(method, runs, budget_s));
    Ok(RunsResult {
        budget_s,
        percentile,
        budgets: first.result.budgets.clone(),
        beside: words(&first.result),
        test_images: first.result.test_images,
        methods: methods.collect::<Result<_>>()?,
        note: if over {
            Some("some networks were measured over the budget: no conclusion on their methods")
        } else {
            few.then_some("too few seeds: no conclusion")
        },
    })
}

/// The name of runs of these settings: their method, and the first setting in which they differ from the first ones of
/// that method.
fn name(asked: &Config, known: &[(Config, String, Vec<Finished>)]) -> String {
    let method = asked.method.to_string();
    let first = known.iter().find(|(other, ..)| other.method == asked.method);
    let Some(difference) = first.and_then(|(first, ..)| first.difference(asked)) else {
        return method;
    };
    let name = format!("{method}: {difference}");
    let alike = known.iter().filter(|(_, other, _)| other.starts_with(&name)).count();
    if alike == 0 { name } else { format!("{name} ({})", alike + 1) }
}

impl Finished {
    fn of(run: &Loaded) -> Self {
        let result = run.result.clone();
        Self {
            folder: run.folder.clone(),
            seed: result.seed,
            space: result.space,
            within_budget: result.within_budget,
            chosen: result.chosen,
            random_best: result.random_best,
            random_equal_latency: result.random_equal_latency,
            full: result.full,
            seconds: result.seconds.values().sum(),
        }
    }
}

impl MethodResult {
    fn of(method: String, runs: Vec<Finished>, budget_s: f64) -> Result<Self> {
        let CompareOptions { level, enough, .. } = CompareOptions::default();
        let each = |what: &str, of: fn(&Finished) -> Option<f64>| -> Result<Vec<f64>> {
            let mut values = Vec::new();
            for run in &runs {
                let Some(value) = of(run) else {
                    bail!("`{}` has no {what}; hint: it was not measured", run.folder.display());
                };
                values.push(value);
            }
            Ok(values)
        };
        let accuracies = each("test accuracy", |run| run.chosen.accuracy_test)?;
        let latencies = each("measured latency", |run| run.chosen.latency_measured_s)?;
        let best = each("random search", |run| run.random_best.accuracy_test)?;
        let equal = each("random network", |run| run.random_equal_latency.accuracy_test)?;
        let over = accuracies.iter().zip(&best).map(|(ours, random)| 100.0 * (ours / random - 1.0));
        let relative_improvement = Estimate::mean(&over.collect::<Vec<_>>(), level);
        let over_budget = runs.iter().filter(|run| !run.within_budget).count();
        let enough = runs.len() >= enough && over_budget == 0;
        let conclusive = relative_improvement.interval.filter(|_| enough);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let gaps: Vec<f64> =
            latencies.iter().map(|latency| (latency / budget_s - 1.0).abs()).collect();
        Ok(Self {
            method,
            accuracy: Estimate::mean(&accuracies, level),
            latency_s: mean(&latencies),
            latency_gap: mean(&gaps),
            over_budget,
            random_equal_latency: mean(&equal),
            random_search: mean(&best),
            relative_improvement,
            verdict: conclusive.map(Verdict::of),
            runs,
        })
    }
}

fn print(result: &RunsResult) -> Result<()> {
    let rows: Vec<Vec<String>> = result.methods.iter().map(row).collect();
    output::table(&COLUMNS, &rows)?;
    output::text(&format!(
        "budget {}{}{}; accuracies of the exported files on {} test images: of two such, differences below about {:.2} points mean nothing",
        format::seconds(result.budget_s),
        format::at(result.percentile),
        result.beside,
        result.test_images,
        100.0 * chance(result)
    ))?;
    for method in &result.methods {
        for run in &method.runs {
            output::text(&format!(
                "{}  {}, space {}, seed {}, {}",
                method.method,
                run.folder.display(),
                run.space,
                run.seed,
                format::duration(run.seconds)
            ))?;
        }
    }
    result.note.map_or(Ok(()), output::text)
}

/// Half the 95 % interval of the difference between two accuracies that the choice of the test images alone gives; for
/// networks that err on the same images it is smaller.
fn chance(result: &RunsResult) -> f64 {
    let accuracies = result.methods.iter().map(|method| method.accuracy.value);
    let error = accuracies.map(|accuracy| 1.0 - accuracy).fold(0.0, f64::max);
    1.96 * (2.0 * error * (1.0 - error) / result.test_images as f64).sqrt()
}

fn row(method: &MethodResult) -> Vec<String> {
    let over = &method.relative_improvement;
    let verdict = method.verdict.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    vec![
        method.method.clone(),
        match method.over_budget {
            0 => method.runs.len().to_string(),
            over => format!("{} ({over} over budget)", method.runs.len()),
        },
        format::seconds(method.latency_s),
        format::percent(Some(method.latency_gap)),
        format!(
            "{:.2} %{}",
            100.0 * method.accuracy.value,
            format::range(&method.accuracy, 100.0, 2)
        ),
        format::percent(Some(method.random_equal_latency)),
        format::percent(Some(method.random_search)),
        format!("{:+.2} %{}", over.value, format::range(over, 1.0, 2)),
        verdict,
    ]
}
