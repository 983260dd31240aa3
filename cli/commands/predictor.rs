//! `netfit predictor`: fits accuracy predictors, and says what they are worth.

use std::{collections::BTreeMap, path::Path, time::Instant};

use anyhow::{Result, anyhow, bail};
use netfit_latency_tables::{Estimate, LatencyTable};
use netfit_predictors::{
    Cost, CsvAccuracy, EvaluateOptions, LatencyModel as _, Predictor, PredictorOptions, Scores,
    SizeScores, TableLatency, evaluate,
};
use netfit_search::{Journal, Record};
use netfit_spaces::{Genotype, Space};
use serde::Serialize;

use crate::{
    args::{Known, PredictorCommand, PredictorEvaluate, PredictorFit},
    format, output, plots,
    progress::Progress,
    run::{Folder, Setting},
    runtime::{
        self, check_apart, check_writable, make_folder_of, source_file, space_file, threads,
    },
};

const COLUMNS: [&str; 7] = [
    "ranker",
    "networks",
    "Kendall tau",
    "Spearman",
    "RMSE, points",
    "top overlap",
    "regret, points",
];

pub(crate) fn execute(command: &PredictorCommand, as_json: bool) -> Result<()> {
    match command {
        PredictorCommand::Fit(args) => fit(args, as_json),
        PredictorCommand::Evaluate(args) => judge(args, as_json),
    }
}

#[derive(Serialize)]
struct Fitted<'a> {
    predictor: &'a str,
    space: &'a str,
    networks: usize,
    seconds: f64,
}

fn fit(args: &PredictorFit, as_json: bool) -> Result<()> {
    check_writable(&args.out)?;
    args.known.spare(&args.out)?;
    let (space, known) = args.known.load()?;
    let start = Instant::now();
    let options = PredictorOptions::seeded(args.seed);
    let predictor = Predictor::fit(args.predictor, &space, &known, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    make_folder_of(&args.out)?;
    predictor.save(&args.out)?;
    if as_json {
        let (predictor, networks) = (args.predictor.name(), predictor.networks());
        return output::json(&Fitted { predictor, space: space.name(), networks, seconds });
    }
    output::text(&format!(
        "{}: {} fitted on {} networks of {} in {}",
        args.out.display(),
        args.predictor,
        predictor.networks(),
        space.name(),
        format::duration(seconds)
    ))
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Evaluated<'a> {
    space: &'a str,
    networks: usize,
    repeats: usize,
    seed: u64,
    top: usize,
    level: f64,
    seconds: f64,
    sizes: &'a [SizeScores],
}

fn judge(args: &PredictorEvaluate, as_json: bool) -> Result<()> {
    let start = Instant::now();
    args.plot.iter().try_for_each(|path| check_writable(path))?;
    check_apart(args.plot.iter().chain(&args.table))?;
    args.plot.iter().try_for_each(|path| args.known.spare(path))?;
    let (space, known) = args.known.load()?;
    let options = EvaluateOptions {
        methods: args.predictor.clone(),
        sizes: args.sizes.clone(),
        repeats: args.repeats as usize,
        seed: args.seed,
        top: args.top as usize,
        threads: threads(args.threads),
        ..EvaluateOptions::default()
    };
    let costs = costs(&space, &known, args.table.as_deref())?;
    let mut progress = Progress::new();
    let mut step = |done: usize, total: usize| {
        progress.update("evaluating", done as u64, total as u64, "");
    };
    let sizes = evaluate(&space, &known, &costs, &options, &mut step)?;
    progress.finish();
    if let Some(path) = &args.plot {
        plots::learning(path, space.name(), &sizes)?;
    }
    let EvaluateOptions { repeats, seed, top, level, .. } = options;
    if as_json {
        let seconds = start.elapsed().as_secs_f64();
        let (space, networks) = (space.name(), known.len());
        let sizes = &sizes[..];
        return output::json(&Evaluated {
            space,
            networks,
            repeats,
            seed,
            top,
            level,
            seconds,
            sizes,
        });
    }
    let rows: Vec<Vec<String>> = sizes
        .iter()
        .flat_map(|size| size.rankers.iter().map(|scores| row(size.size, scores)))
        .collect();
    output::table(&COLUMNS, &rows)?;
    output::text(&format!(
        "{}: mean of {repeats} splits of {} networks, judged on those not trained on; ranges are {} % bootstrap intervals over splits; overlap of the best {top}",
        space.name(),
        known.len(),
        100.0 * level
    ))
}

/// What ranks networks for nothing.
fn costs(space: &Space, known: &[(Genotype, f64)], table: Option<&Path>) -> Result<Vec<Cost>> {
    let (mut multiply_adds, mut parameters) = (Vec::new(), Vec::new());
    for (genotype, _) in known {
        let network = space.network(genotype);
        multiply_adds.push(network.multiply_adds().0 as f64);
        parameters.push(network.parameters().0 as f64);
    }
    let cost = |name: &str, values| Cost { name: name.to_owned(), values };
    let mut costs = vec![cost("multiply-adds", multiply_adds), cost("parameters", parameters)];
    if let Some(path) = table {
        let table = LatencyTable::load(path)?;
        table.check_space(space)?;
        let latency = TableLatency::new(space, &table)?;
        let medians = known.iter().map(|(genotype, _)| latency.latency(genotype).median_s);
        costs.push(cost("latency", medians.collect()));
    }
    Ok(costs)
}

fn row(size: usize, scores: &Scores) -> Vec<String> {
    let points = |estimate: &Estimate| format::estimate(estimate, 100.0, 3);
    vec![
        scores.name.clone(),
        size.to_string(),
        format::estimate(&scores.kendall_tau, 1.0, 3),
        format::estimate(&scores.spearman, 1.0, 3),
        scores.rmse.as_ref().map_or_else(|| "-".to_owned(), points),
        format::estimate(&scores.top_overlap, 1.0, 3),
        points(&scores.regret),
    ]
}

impl Known {
    /// Refuses to write to a file that the accuracies or their space are read from.
    fn spare(&self, path: &Path) -> Result<()> {
        if let Some(("run", text)) = self.data.split_once(':') {
            Folder::at(with_source(text)?.0.as_ref()).refuse(path)?;
        }
        let space = self.space.as_deref().and_then(space_file);
        check_apart([Some(path), source_file(&self.data)].into_iter().flatten())?;
        check_apart([Some(path), space].into_iter().flatten())
    }

    /// The space and the known accuracies of its networks.
    fn load(&self) -> Result<(Space, Vec<(Genotype, f64)>)> {
        let space = || {
            let name = self.space.as_deref();
            runtime::space(name.ok_or_else(|| {
                anyhow!(
                    "--data `{}` without --space; hint: name the space of its networks",
                    self.data
                )
            })?)
        };
        match self.data.split_once(':') {
            Some(("csv", _)) => {
                let space = space()?;
                let known = CsvAccuracy::load(&self.data, &space)?.pairs();
                Ok((space, known))
            }
            Some(("journal", text)) => {
                let space = space()?;
                let (path, source) = with_source(text)?;
                let known = journalled(Path::new(path), source, &space)?;
                Ok((space, known))
            }
            Some(("run", text)) => {
                let (path, source) = with_source(text)?;
                let setting = Setting::existing(path.as_ref())?;
                if self.space.is_some() {
                    bail!(
                        "--space with --data run:FOLDER; hint: leave it out, the run has its own"
                    );
                }
                let known = journalled(&setting.folder.journal(), source, &setting.space)?;
                Ok((setting.space, known))
            }
            _ => bail!(
                "--data `{}`: unknown kind; hint: csv:FILE, journal:FILE or run:FOLDER",
                self.data
            ),
        }
    }
}

/// `FILE[,source=SOURCE]`.
fn with_source(text: &str) -> Result<(&str, Option<&str>)> {
    match text.split_once(',') {
        None => Ok((text, None)),
        Some((path, option)) => match option.strip_prefix("source=") {
            Some(source) => Ok((path, Some(source))),
            None => bail!("unknown option `{option}`; hint: write `,source=SOURCE`"),
        },
    }
}

/// The accuracies of one source in a journal.
fn journalled(path: &Path, source: Option<&str>, space: &Space) -> Result<Vec<(Genotype, f64)>> {
    let shown = path.display();
    if !path.exists() {
        bail!("no journal `{shown}`; hint: `netfit search --journal` and `netfit run` write one");
    }
    let mut sources: BTreeMap<String, BTreeMap<Genotype, f64>> = BTreeMap::new();
    for Record { source, network } in Journal::read(path, space)? {
        sources.entry(source).or_default().insert(network.genotype, network.accuracy);
    }
    let names = sources.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let known = match source {
        Some(source) => sources.remove(source).ok_or_else(|| {
            anyhow!("journal `{shown}` has no accuracies of source `{source}`, found {names}; hint: name one of these")
        })?,
        None if sources.len() > 1 => bail!(
            "journal `{shown}` has accuracies of {names}, expected one source; hint: add `,source=SOURCE`"
        ),
        None => sources.into_values().next().unwrap_or_default(),
    };
    Ok(known.into_iter().collect())
}
