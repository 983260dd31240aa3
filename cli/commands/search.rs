//! `netfit search`: the most accurate network under a latency budget.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use netfit_latency_tables::LatencyTable;
use netfit_predictors::{Accuracy, CsvAccuracy, Predictor, TableLatency, Threads};
use netfit_search::{
    Budget, Constraints, Ended, Journal, Reward, ScratchAccuracy, Search as Loop, SearchOptions,
    SearchResult, StrategyOptions, SupernetAccuracy, TorchProcess, strategy_with,
};
use netfit_spaces::{Space, short_hash};
use serde::Serialize;

use crate::{
    args::Search,
    budgets::{Bound, BudgetResult, Elsewhere, LatencyBudget, quantizes, unlabelled},
    config::Config,
    format, output, plots,
    progress::Progress,
    run,
    runtime::{self, check_apart, check_writable, source_file, space_file, threads},
};

pub(crate) fn execute(args: &Search, as_json: bool) -> Result<()> {
    let budget: Budget = args.budget.parse()?;
    let reward = args.reward.as_deref().map(str::parse::<Reward>).transpose()?;
    args.plot.iter().try_for_each(|path| check_writable(path))?;
    let files = [Some(args.table.as_path()), args.journal.as_deref(), args.plot.as_deref()];
    let read = [source_file(&args.accuracy), space_file(&args.space)];
    check_apart(files.into_iter().chain(read).flatten())?;
    if let (Some(("supernet", run)), Some(plot)) = (args.accuracy.split_once(':'), &args.plot) {
        run::Folder::at(run.as_ref()).refuse(plot)?;
    }
    let table = LatencyTable::load(&args.table)?;
    let mut source = Source::open(args)?;
    let space = match &source {
        Source::Supernet(setting, _) | Source::Train(setting, _) => of_run(setting, &args.space)?,
        _ => runtime::space(&args.space)?,
    };
    table.check_space(&space)?;
    let latency = TableLatency::at_percentile(&space, &table, args.percentile)?;
    let full = table.predict_percentile(&space.network(&space.largest()), args.percentile)?;
    let budget_s = budget.resolve(full.median_s)?;
    let goal = StrategyOptions { target_s: Some(budget_s), reward };
    let mut strategy = strategy_with(args.strategy.name(), &space, args.seed, &goal)?;
    let bound = source.bind(args, &table, &space)?;
    let mut journal = args.journal.as_ref().map(|path| Journal::open(path, &space)).transpose()?;
    let mut options = SearchOptions { evaluations: args.evaluations, ..SearchOptions::default() };
    if matches!(source, Source::Train(..)) {
        // Each network is minutes of work: the journal has it before the next one begins.
        options.batch = 1;
    }
    let mut progress = Progress::new();
    let mut inner = Progress::new();
    let mut inner = inner.of_search();
    let threads = Threads::new(threads(args.threads))?;
    let mut accuracy = source.accuracy(&space, &threads, &mut inner)?;
    let search = Loop {
        space: &space,
        strategy: strategy.as_mut(),
        accuracy: accuracy.as_mut(),
        constraints: Constraints { latency: &latency, budget_s, others: &bound.constraints },
        journal: journal.as_mut(),
        threads: threads.clone(),
    };
    let result = search.run(&options, &mut progress.of_search())?;
    progress.finish();
    if let Some(path) = &args.plot {
        plot(path, &result)?;
    }
    if as_json {
        let here = LatencyBudget::of_table(&table, args.percentile, budget, full.median_s)?;
        return output::json(&Shown {
            result: &result,
            percentile: args.percentile,
            budgets: bound.budgets(here),
            elsewhere: OnOtherDevices::of(&result, &bound),
        });
    }
    print(&result, args.percentile, &bound)
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    result: &'a SearchResult,
    /// What the latencies and the budget are.
    percentile: f64,
    /// All that had to hold.
    budgets: Vec<BudgetResult>,
    /// Latencies on other devices, where these have a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<OnOtherDevices>,
}

/// Latencies on other devices, in the order of their budgets.
#[derive(Serialize)]
struct OnOtherDevices {
    best: Vec<Elsewhere>,
    /// Of each network of the front.
    pareto: Vec<Vec<Elsewhere>>,
}

impl OnOtherDevices {
    fn of(result: &SearchResult, bound: &Bound) -> Option<Self> {
        let best = bound.elsewhere(&result.best.genotype);
        let pareto = result.pareto.iter().map(|network| bound.elsewhere(&network.genotype));
        (!best.is_empty()).then(|| Self { best, pareto: pareto.collect() })
    }
}

/// The space of a run, which `named` must name.
fn of_run(setting: &run::Setting, named: &str) -> Result<Space> {
    let space = &setting.space;
    let task = space.spec();
    if runtime::space(named)?.for_task(task.input.parse()?, task.classes)?.id() != space.id() {
        let run = setting.folder.path().display();
        bail!("--space `{named}` is not that of `{run}`; hint: it is `{}`", setting.config.space);
    }
    Ok(space.clone())
}

/// Where accuracies come from.
enum Source {
    Csv(String),
    Predictor(PathBuf),
    Supernet(Box<run::Setting>, TorchProcess),
    Train(Box<run::Setting>, TorchProcess),
}

impl Source {
    fn open(args: &Search) -> Result<Self> {
        let trains_nothing = || args.training.expect_none(&format!("--accuracy {}", args.accuracy));
        match args.accuracy.split_once(':') {
            Some(("csv", _)) => trains_nothing().map(|()| Self::Csv(args.accuracy.clone())),
            Some(("predictor", path)) => trains_nothing().map(|()| Self::Predictor(path.into())),
            Some(("supernet", path)) => {
                let setting = run::Setting::existing(path.as_ref())?.training_on(&args.training);
                let torch = setting.torch()?;
                Ok(Self::Supernet(Box::new(setting), torch))
            }
            Some(("train", path)) => {
                let path = Path::new(path);
                let folder = run::Folder::place(path, None);
                let mut config = Config::load(path)?;
                args.training.apply(&mut config);
                let setting = run::Setting::beside(config, folder)?;
                let torch = setting.torch()?;
                Ok(Self::Train(Box::new(setting), torch))
            }
            _ => bail!(
                "--accuracy `{}`: unknown source; hint: csv:FILE, predictor:FILE, supernet:RUN or train:CONFIG",
                args.accuracy
            ),
        }
    }

    /// What must hold beside the latency: what was asked for, or else what a run was asked for.
    fn bind(&self, args: &Search, table: &LatencyTable, space: &Space) -> Result<Bound> {
        let (asked, info) = match self {
            Self::Csv(_) | Self::Predictor(_) => (args.beside.clone(), unlabelled(space)),
            Self::Supernet(setting, _) | Self::Train(setting, _) => (
                args.beside.clone().or(setting.side_budgets()),
                setting.model_info(&space.largest()),
            ),
        };
        for output in [args.journal.as_deref(), args.plot.as_deref()] {
            asked.refuse(output)?;
        }
        asked.bind(space, &info, quantizes(table))
    }

    fn accuracy<'a>(
        &'a mut self,
        space: &Space,
        threads: &Threads,
        progress: &'a mut dyn FnMut(netfit_search::Progress),
    ) -> Result<Box<dyn Accuracy + 'a>> {
        let identity = self.identity()?;
        let inner: Box<dyn Accuracy + 'a> = match self {
            Self::Csv(option) => Box::new(CsvAccuracy::load(option, space)?),
            Self::Predictor(path) => Box::new(Predictor::load(path, space)?.with_threads(threads)),
            Self::Supernet(_, process) => Box::new(SupernetAccuracy { process, progress }),
            Self::Train(setting, process) => {
                let scratch = setting.config.scratch.proxy();
                let protocol = setting.protocol(&scratch);
                Box::new(ScratchAccuracy { process, scratch, protocol, progress })
            }
        };
        Ok(Box::new(Identified { inner, identity }))
    }

    /// What tells sources of one kind apart in a journal: a hash of what they were read from; none where their name does.
    fn identity(&self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let mut files = match self {
            Self::Csv(option) => {
                let option = option.trim_start_matches("csv:");
                let (file, columns) = option.split_once(',').unwrap_or((option, ""));
                bytes.extend(columns.bytes());
                vec![PathBuf::from(file)]
            }
            Self::Predictor(path) => vec![path.clone()],
            Self::Supernet(setting, _) => {
                // The state beside them also tells where it trained.
                let mut files = files_in(&setting.folder.path().join("checkpoints"))?;
                files.retain(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
                files
            }
            Self::Train(..) => return Ok(None),
        };
        files.sort();
        for file in files {
            let read = fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()));
            bytes.extend(read?);
        }
        Ok(Some(short_hash(bytes)))
    }
}

/// The files of a checkpoint; folders beside them are of trainings from scratch.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let found: std::io::Result<Vec<PathBuf>> = read();
    let shown = folder.display();
    match found {
        Ok(mut files) => {
            files.retain(|path| path.is_file());
            Ok(files)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("there is no trained supernet in `{shown}`; hint: `netfit train` makes one")
        }
        Err(error) => {
            bail!("cannot read `{shown}`: {error}; hint: the run's supernet is in it")
        }
    }
}

/// A source whose name in a journal tells it from others of its kind.
struct Identified<'a> {
    inner: Box<dyn Accuracy + 'a>,
    identity: Option<String>,
}

impl Accuracy for Identified<'_> {
    fn source(&self) -> String {
        match &self.identity {
            None => self.inner.source(),
            Some(identity) => format!("{} {identity}", self.inner.source()),
        }
    }

    fn accuracies(
        &mut self,
        genotypes: &[netfit_spaces::Genotype],
    ) -> netfit_predictors::Result<Vec<f64>> {
        self.inner.accuracies(genotypes)
    }
}

fn plot(path: &std::path::Path, result: &SearchResult) -> Result<()> {
    let point = |network: &netfit_search::Evaluated| (network.latency_s, network.accuracy);
    let evaluated =
        plots::Series { name: "evaluated", points: result.evaluated.iter().map(point).collect() };
    let front: Vec<_> = result.pareto.iter().map(point).collect();
    plots::pareto(path, &[evaluated], &front, Some(point(&result.best)), result.budget_s)
}

fn print(result: &SearchResult, percentile: f64, bound: &Bound) -> Result<()> {
    let at = format::at(percentile);
    let rows: Vec<Vec<String>> = result
        .pareto
        .iter()
        .map(|network| {
            vec![
                network.genotype.to_string(),
                format::percent(Some(network.accuracy)),
                format::seconds(network.latency_s),
                format!(
                    "{} to {}",
                    format::seconds(network.latency_interval_s[0]),
                    format::seconds(network.latency_interval_s[1])
                ),
            ]
        })
        .collect();
    output::table(&["Pareto front", "accuracy", &format!("latency{at}"), "95 % interval"], &rows)?;
    output::text(&format!(
        "best within {}{at}{}: {} at {}, {} ({} networks in {}, {:.0} a second)",
        format::seconds(result.budget_s),
        bound.constraints,
        result.best.genotype,
        format::percent(Some(result.best.accuracy)),
        format::seconds(result.best.latency_s),
        result.evaluations,
        format::seconds(result.seconds),
        result.networks_per_second
    ))?;
    for Elsewhere { device, percentile, budget_s, latency_s, .. } in
        bound.elsewhere(&result.best.genotype)
    {
        output::text(&format!(
            "on {device}{}: {} predicted, within {}",
            format::at(percentile),
            format::seconds(latency_s),
            format::seconds(budget_s)
        ))?;
    }
    match result.ended {
        Ended::Evaluations => Ok(()),
        Ended::Exhausted => {
            output::text("it ended early: the strategy has proposed all that it can")
        }
        Ended::Stalled => output::text(
            "it ended early: whatever the strategy still proposes is known or over a budget",
        ),
    }
}
