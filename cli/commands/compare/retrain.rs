//! How well a supernet ranks: its accuracies of subnets against those of the same networks trained from scratch.

use std::path::Path;

use anyhow::{Result, bail};
use netfit_latency_tables::{Estimate, LatencyTable};
use netfit_predictors::{Accuracy as _, TableLatency};
use netfit_search::{
    CompareOptions, Constraints, Evaluated, Journal, ScratchAccuracy, SupernetAccuracy, feasible,
    job::Scratch,
};
use netfit_spaces::{Genotype, Random};
use serde::Serialize;

use crate::{
    args::Compare,
    format, output,
    progress::Progress,
    run::{Limit, Setting, describe},
};

/// Two rankings of the same networks.
#[derive(Serialize)]
struct Agreement {
    /// Kendall's tau-b of supernet accuracy against stand-alone accuracy.
    kendall_tau: Estimate,
    /// The identity of the protocol under which they were trained from scratch.
    protocol: String,
    scratch: Scratch,
    networks: Vec<Both>,
}

#[derive(Serialize)]
struct Both {
    genotype: Genotype,
    latency_s: f64,
    accuracy_supernet: f64,
    accuracy_scratch: f64,
}

/// Trains `count` of the subnets that a run's random search evaluated from scratch; what was trained before is in the
/// run's journal and is not trained again.
pub(super) fn execute(run: &Path, count: usize, args: &Compare, as_json: bool) -> Result<()> {
    let setting = Setting::existing(run)?.training_on(&args.training);
    let scratch: Scratch = args.scratch.clone().into();
    let mut journal = Journal::open(&setting.folder.journal(), &setting.space)?;
    let table = LatencyTable::load(&setting.folder.table())?;
    let latency = setting.latency(&table)?;
    let networks = sample(&setting, &latency, &journal, count)?;
    let protocol = setting.protocol(&scratch);
    let mut torch = setting.torch()?;
    let mut progress = Progress::new();
    let mut both = Vec::new();
    for (done, (genotype, accuracy_supernet)) in networks.into_iter().enumerate() {
        let label = format!("network {} of {count}", done + 1);
        let mut inner = |step: netfit_search::Progress| {
            progress.update(&label, step.done, step.total, &step.note);
        };
        let mut source = ScratchAccuracy {
            process: &mut torch,
            scratch: scratch.clone(),
            protocol: protocol.clone(),
            progress: &mut inner,
        };
        let evaluated = score(&genotype, &mut source, &latency, &mut journal)?;
        let (accuracy_scratch, latency_s) = (evaluated.accuracy, evaluated.latency_s);
        both.push(Both { genotype, latency_s, accuracy_supernet, accuracy_scratch });
    }
    progress.finish();
    let pairs: Vec<(f64, f64)> =
        both.iter().map(|both| (both.accuracy_supernet, both.accuracy_scratch)).collect();
    let kendall_tau = Estimate::rank_correlation(&pairs, CompareOptions::default().level);
    let result = Agreement { kendall_tau, protocol, scratch, networks: both };
    if as_json { output::json(&result) } else { print(&result) }
}

/// The network's accuracy from scratch: the journal's, or else it is trained now and kept there.
fn score(
    genotype: &Genotype,
    source: &mut ScratchAccuracy<'_>,
    latency: &TableLatency,
    journal: &mut Journal,
) -> Result<Evaluated> {
    let known = journal.known(&source.source(), genotype);
    let asked = std::slice::from_ref(genotype);
    let accuracy = known.map_or_else(|| Ok(source.accuracies(asked)?[0]), anyhow::Ok)?;
    let evaluated = describe(latency, [(genotype.clone(), accuracy)]).remove(0);
    if known.is_none() {
        journal.append(&source.source(), std::slice::from_ref(&evaluated))?;
    }
    Ok(evaluated)
}

/// Random ones of those that the supernet has evaluated: a search's finalists are alike, and ranking them is another
/// question.
fn sample(
    setting: &Setting,
    latency: &TableLatency,
    journal: &Journal,
    count: usize,
) -> Result<Vec<(Genotype, f64)>> {
    let config = &setting.config;
    let drawn = match Limit::load(setting)? {
        None => Vec::new(),
        Some(limit) => {
            let (budget_s, others) = (limit.seconds, &setting.bound()?.constraints);
            let constraints = Constraints { latency, budget_s, others };
            feasible(&setting.space, constraints, config.search.samples, config.seed)?
        }
    };
    let accuracy = |genotype: &Genotype| journal.known(SupernetAccuracy::SOURCE, genotype);
    let mut known: Vec<(Genotype, f64)> = drawn
        .into_iter()
        .filter_map(|genotype| accuracy(&genotype).map(|accuracy| (genotype, accuracy)))
        .collect();
    if known.len() < count {
        bail!(
            "`{}`: its supernet has evaluated {} random subnets, expected at least {count}; hint: `netfit run` with method \"ofa\" evaluates [search] `samples` of them",
            setting.folder.path().display(),
            known.len()
        );
    }
    Random::new(setting.config.seed, "retrained subnets").shuffle(&mut known);
    known.truncate(count);
    Ok(known)
}

fn print(result: &Agreement) -> Result<()> {
    let rows: Vec<Vec<String>> = result
        .networks
        .iter()
        .map(|both| {
            vec![
                both.genotype.to_string(),
                format::seconds(both.latency_s),
                format::percent(Some(both.accuracy_supernet)),
                format::percent(Some(both.accuracy_scratch)),
            ]
        })
        .collect();
    output::table(&["network", "latency", "in the supernet", "from scratch"], &rows)?;
    output::text(&format!(
        "Kendall tau {:.2}{} on held-out images, {} networks of {} epochs each (protocol {}); the range is a 95 % bootstrap interval",
        result.kendall_tau.value,
        format::range(&result.kendall_tau, 1.0, 2),
        result.networks.len(),
        result.scratch.epochs,
        result.protocol
    ))
}
