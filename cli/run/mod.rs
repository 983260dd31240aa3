//! `netfit run`: device + data + budget -> an ONNX file that was measured within the budget.

mod deliver;
mod export;
mod folder;
mod inference;
mod latency;
mod methods;
mod quantize;
mod result;
mod setting;

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use anyhow::{Result, anyhow, bail};
use netfit_latency_tables::{Hygiene, LatencyTable};
use netfit_search::Budget;

pub(crate) use self::result::{Attempt, Candidate, RunResult};
pub(crate) use self::{
    export::export,
    folder::Folder,
    latency::Limit,
    methods::{Method, describe},
    setting::Setting,
};
use self::{
    methods::{Choice, Work, search_architecture},
    result::{FORMAT, judged},
};
use crate::{
    args::Run, budgets::LatencyBudget, config::Config, format, output, plots, progress::Progress,
    report,
};

/// Where the measured latency or a size is over its budget.
const OVER_BUDGET: u8 = 2;
/// Networks that are chosen and measured at most, until one keeps to the budget.
const ATTEMPTS: usize = 5;

pub(crate) fn execute(args: &Run, as_json: bool) -> Result<ExitCode> {
    let mut config = Config::load(&args.config)?;
    if let Some(budget) = &args.budget {
        budget.parse::<Budget>()?;
        config.budget.clone_from(budget);
    }
    args.training.apply(&mut config);
    let setting = Setting::begin(config, Folder::place(&args.config, args.out.as_ref()))?;
    let mut progress = Progress::new();
    let complete = setting.folder.result().exists() && setting.folder.model().exists();
    let result = if complete {
        progress.line(&format!(
            "`{}` is complete; remove it to run again",
            setting.folder.path().display()
        ));
        RunResult::load(&setting.folder.result())?
    } else {
        run(&setting, args.accept_noise, &mut progress)?
    };
    if as_json {
        output::json(&result)?;
    } else {
        result.print(&setting.folder)?;
    }
    Ok(if result.within_budget { ExitCode::SUCCESS } else { OVER_BUDGET.into() })
}

fn run(setting: &Setting, accept_noise: bool, progress: &mut Progress) -> Result<RunResult> {
    let mut clock = Clock::start();
    let table = latency::table(setting, accept_noise, progress)?;
    let mut limit = latency::limit(setting, &table, accept_noise, progress)?;
    clock.lap("profile");

    let Delivered { mut choice, difference, hygiene } =
        choose_within(setting, &table, &mut limit, accept_noise, progress, &mut clock)?;
    deliver::test(setting, &mut choice, progress)?;
    clock.lap("test");

    plot(setting, &choice, limit.seconds)?;
    let supernet_evaluations = choice.supernet_evaluations as u64;
    let Choice { chosen, random_best, random_equal_latency, full, predictor, protocols, .. } =
        choice;
    let bound = setting.bound()?;
    let budgets = bound.budgets(budget(setting, &limit));
    let result = RunResult {
        format: FORMAT,
        space: setting.config.space.clone(),
        space_id: setting.space.id().to_owned(),
        seed: setting.config.seed,
        within_budget: judged(&budgets, &chosen).iter().all(|judged| judged.holds),
        budgets,
        devices: [&table]
            .into_iter()
            .chain(bound.tables())
            .map(|table| table.fingerprint.clone())
            .collect(),
        model: "model.onnx".to_owned(),
        method: setting.config.method,
        supernet_evaluations,
        logits_max_difference: difference,
        test_images: setting.images.test.len(),
        test_hash: Some(setting.images.test.hash()),
        attempts: limit.attempts,
        hygiene,
        seconds: clock.laps,
        validation: table.validation,
        chosen,
        random_best,
        random_equal_latency,
        full,
        predictor,
        protocols,
    };
    result.save(&setting.folder.result())?;
    report::write(&setting.folder, &result, &setting.folder.report())?;
    Ok(result)
}

/// What was chosen, exported and measured.
struct Delivered {
    choice: Choice,
    /// The largest between two runtimes' logits.
    difference: f64,
    hygiene: Hygiene,
}

/// Chooses, exports and measures until the budget holds, or nothing faster can be chosen.
fn choose_within(
    setting: &Setting,
    table: &LatencyTable,
    limit: &mut Limit,
    accept_noise: bool,
    progress: &mut Progress,
    clock: &mut Clock,
) -> Result<Delivered> {
    let (method, mut torch) = (setting.config.method, setting.torch()?);
    let mut last = None;
    loop {
        let mut work = Work { setting, table, limit, torch, progress, clock };
        let choice = method.choose(&mut work)?;
        torch = work.torch;
        let Some(mut choice) = choice else {
            if let Some(delivered) = last {
                return Ok(delivered);
            }
            // A run that goes on: what it chose before it was cut off is chosen again.
            *limit = limit.relaxed().ok_or_else(|| anyhow!("no network was chosen"))?;
            continue;
        };
        let (difference, hygiene) =
            deliver::deliver(setting, table, &mut torch, &mut choice, accept_noise, progress)?;
        clock.lap("deliver");
        limit.attempts.push(Attempt::of(&choice.chosen, limit.aim_s()));
        let over = choice.chosen.latency_measured_s.filter(|measured| *measured > limit.seconds);
        let delivered = Delivered { choice, difference, hygiene };
        let again = method.chooses_again() && limit.attempts.len() < ATTEMPTS;
        let Some(measured_s) = over.filter(|_| again) else { return Ok(delivered) };
        let Some(next) = latency::tighten(setting, table, limit, measured_s)? else {
            return Ok(delivered);
        };
        last = Some(delivered);
        progress.line(&format!(
            "measured {}, over the budget of {}: choosing below {}",
            format::seconds(measured_s),
            format::seconds(limit.seconds),
            format::seconds(next.aim_s())
        ));
        *limit = next;
    }
}

/// `netfit train`: what the method trains before any network is chosen; with a latency table, where it needs one.
pub(crate) fn train(
    config: Config,
    folder: Folder,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<()> {
    if config.method == Method::MnasNet {
        bail!(
            "method `mnasnet` trains no supernet; hint: `netfit run` trains the networks that it proposes"
        );
    }
    let setting = &Setting::begin(config, folder)?;
    if setting.config.method == Method::Proxyless {
        let table = latency::table(setting, accept_noise, progress)?;
        let limit = latency::limit(setting, &table, accept_noise, progress)?;
        let (table, limit, torch) = (&table, &limit, setting.torch()?);
        let (progress, clock) = (&mut *progress, &mut Clock::start());
        search_architecture(&mut Work { setting, table, limit, torch, progress, clock })?;
    } else {
        setting.torch()?.train(&mut progress.of_search())?;
    }
    progress.finish();
    Ok(())
}

/// The latency that must hold here.
fn budget(setting: &Setting, limit: &Limit) -> LatencyBudget {
    LatencyBudget {
        device: setting.config.device.kind.clone(),
        percentile: setting.config.percentile,
        seconds: limit.seconds,
        requested: limit.requested.to_string(),
        full_s: limit.full_s,
        predicted: false,
    }
}

/// Everything that was evaluated within the budget, by latency and accuracy on held-out images.
fn plot(setting: &Setting, choice: &Choice, budget_s: f64) -> Result<()> {
    let point = |network: &netfit_search::Evaluated| (network.latency_s, network.accuracy);
    let points =
        |networks: &[netfit_search::Evaluated]| networks.iter().map(point).collect::<Vec<_>>();
    let series = [
        plots::Series { name: "random search", points: points(&choice.random) },
        plots::Series { name: "found by the search", points: points(&choice.searched) },
    ];
    let all = [&choice.random[..], &choice.searched[..]].concat();
    let front = points(&netfit_search::pareto(&all));
    let chosen = choice
        .chosen
        .accuracy_searched()
        .map(|accuracy| (choice.chosen.latency_predicted_s, accuracy));
    plots::pareto(&setting.folder.plot("pareto"), &series, &front, chosen, budget_s)
}

/// Wall-clock seconds of the steps.
pub(crate) struct Clock {
    last: Instant,
    laps: BTreeMap<String, f64>,
}

impl Clock {
    fn start() -> Self {
        Self { last: Instant::now(), laps: BTreeMap::new() }
    }

    /// Ends the step of this name; its times add up.
    pub(crate) fn lap(&mut self, step: &str) {
        *self.laps.entry(step.to_owned()).or_default() += self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
    }
}
