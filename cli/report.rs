//! A finished run as one page that needs nothing else: what was asked for, what was found, and how far to trust it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use minijinja::{Environment, UndefinedBehavior, value::Serde};
use netfit_latency_tables::LatencyTable;
use netfit_spaces::Network;
use serde::Serialize;

use crate::{
    format,
    run::{Candidate, Folder, Method, RunResult},
    runtime::write_file,
    table,
};

const TEMPLATE: &str = include_str!("report.html");
/// By its ending, what is put into the template is escaped.
const NAME: &str = "report.html";

/// What the template shows. Numbers are as people read them.
#[derive(Serialize)]
struct Page {
    name: String,
    method: &'static str,
    space: String,
    seed: u64,
    version: &'static str,
    within: bool,
    verdict: String,
    facts: [Fact; 4],
    networks: Vec<Compared>,
    reading: String,
    blocks: Vec<Part>,
    table: Vec<(&'static str, String)>,
    hygiene: String,
    errors_header: [&'static str; 7],
    errors: Vec<Vec<String>>,
    coverage: String,
    search: Vec<(&'static str, String)>,
    attempts: Vec<[String; 4]>,
    steps: Vec<Step>,
    pareto: Figure,
    latency: Figure,
    profile: Figure,
    config: String,
}

/// A number that matters, with what it is a number of.
#[derive(Serialize)]
struct Fact {
    label: &'static str,
    value: String,
    note: String,
}

/// One of the four networks of a run.
#[derive(Serialize)]
struct Compared {
    name: &'static str,
    genotype: String,
    parameters: String,
    bytes: String,
    multiply_adds: String,
    predicted: String,
    interval: String,
    measured: String,
    deviation: String,
    held_out: String,
    test: String,
    /// The test accuracy of the same in 32-bit numbers, where the file has others.
    test_fp32: String,
}

/// A block of the chosen network; `width` is a share of the slowest, in per cent.
#[derive(Serialize)]
struct Part {
    line: String,
    parameters: String,
    multiply_adds: String,
    time: String,
    width: f64,
}

#[derive(Serialize)]
struct Step {
    name: String,
    time: String,
    width: f64,
}

/// A picture of the run folder; none where it is not there.
#[derive(Serialize)]
struct Figure {
    svg: Option<String>,
    caption: &'static str,
}

/// Writes the page of a finished run.
pub(crate) fn write(folder: &Folder, result: &RunResult, path: &Path) -> Result<()> {
    let html = render(&Page::of(folder, result)?)?;
    write_file(path, html.as_bytes()).map_err(|error| {
        anyhow!("cannot write `{}`: {error}; hint: name another with --out", path.display())
    })
}

fn render(page: &Page) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template(NAME, TEMPLATE)?;
    Ok(environment.get_template(NAME)?.render(Serde(page))?)
}

impl Page {
    fn of(folder: &Folder, result: &RunResult) -> Result<Self> {
        let table = LatencyTable::load(&folder.table())?;
        let network = delivered(folder)?;
        let config = fs::read_to_string(folder.config())
            .with_context(|| format!("cannot read `{}`", folder.config().display()))?;
        let figure = |name: &str, caption| Figure {
            svg: fs::read_to_string(folder.plot(name)).ok(),
            caption,
        };
        Ok(Self {
            name: folder.name(),
            method: method(result.method),
            space: result.space.clone(),
            seed: result.seed,
            version: env!("CARGO_PKG_VERSION"),
            within: result.within_budget,
            verdict: result.verdict()?,
            facts: facts(folder, result, &table)?,
            networks: networks(result),
            reading: reading(result),
            blocks: blocks(&network, &table, result.chosen.latency_predicted_s)?,
            table: table::facts(&table),
            hygiene: table::machine(&result.hygiene),
            errors_header: table::ERRORS,
            errors: table::error_rows(&table),
            coverage: table.validation.as_ref().map_or_else(String::new, |validation| {
                format!("Validation: {}.", table::coverage(&table, validation))
            }),
            search: search(result),
            attempts: attempts(result),
            steps: steps(result),
            pareto: figure(
                "pareto",
                "Everything that was evaluated within the budget: held-out accuracy over predicted latency.",
            ),
            latency: figure(
                "latency",
                "Predicted against measured latency of whole networks that the calibration has not seen.",
            ),
            profile: figure(
                "blocks",
                "Where the time goes: every block that the space has, at its place.",
            ),
            config,
        })
    }
}

/// The network of the model, as its metadata tell.
fn delivered(folder: &Folder) -> Result<Network> {
    let path = folder.model();
    let metadata = netfit_export::read_metadata(&path)?;
    let text = metadata.get("network").ok_or_else(|| {
        anyhow!(
            "`{}`: expected metadata of netfit, found no `network`; hint: it is not the file that the run wrote",
            path.display()
        )
    })?;
    Ok(text.parse()?)
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Ofa => "Once-for-All",
        Method::MnasNet => "MnasNet",
        Method::Proxyless => "ProxylessNAS",
    }
}

fn facts(folder: &Folder, result: &RunResult, table: &LatencyTable) -> Result<[Fact; 4]> {
    let RunResult { chosen, full, .. } = result;
    let percentile = result.latency_budget()?.percentile;
    let device = &table.fingerprint;
    // Older results do not tell.
    let file = || fs::metadata(folder.model()).map(|file| file.len()).ok();
    let bytes = chosen.model_bytes.or_else(file);
    let speedup = chosen.latency_measured_s.zip(full.latency_measured_s).map_or_else(
        || "-".to_owned(),
        |(chosen_s, full_s)| format!("{:.2} x as fast", full_s / chosen_s),
    );
    let points = chosen.accuracy_test.zip(full.accuracy_test).map_or_else(
        || "-".to_owned(),
        |(chosen, full)| format!("{:+.2} points", (chosen - full) * 100.0),
    );
    Ok([
        Fact {
            label: "Measured latency",
            value: optional(chosen.latency_measured_s),
            note: format!(
                "{} of one call: batch {}, {} thread(s), {}",
                format::percentile(percentile),
                device.batch,
                device.threads,
                device.precision
            ),
        },
        Fact {
            label: "Test accuracy",
            value: format::percent(chosen.accuracy_test),
            note: format!(
                "of {} images in ONNX Runtime; standard error {}",
                result.test_images,
                points_of(standard_error(chosen.accuracy_test, result.test_images))
            ),
        },
        Fact {
            label: "Size",
            value: chosen.parameters.to_string(),
            note: format!(
                "parameters; {} multiply-adds, a file of {}",
                chosen.multiply_adds,
                bytes.map_or_else(|| "-".to_owned(), megabytes)
            ),
        },
        Fact {
            label: "Against the full network",
            value: speedup,
            note: format!("test accuracy {points}"),
        },
    ])
}

fn networks(result: &RunResult) -> Vec<Compared> {
    let compared = |(name, candidate): (&'static str, &Candidate)| {
        let [low_s, high_s] = candidate.latency_interval_s;
        Compared {
            name,
            genotype: candidate.genotype.to_string(),
            parameters: candidate.parameters.to_string(),
            bytes: candidate.model_bytes.map_or_else(String::new, megabytes),
            multiply_adds: candidate.multiply_adds.to_string(),
            predicted: format::seconds(candidate.latency_predicted_s),
            interval: format!("{} to {}", format::seconds(low_s), format::seconds(high_s)),
            measured: optional(candidate.latency_measured_s),
            deviation: deviation(candidate),
            held_out: format::percent(candidate.accuracy_held_out()),
            test: format::percent(candidate.accuracy_test),
            test_fp32: candidate.accuracy_test_fp32.map_or_else(String::new, |accuracy| {
                format!("fp32 {}", format::percent(Some(accuracy)))
            }),
        }
    };
    result.candidates().into_iter().map(compared).collect()
}

/// The median's absolute deviation, as a share of the measured latency.
fn deviation(candidate: &Candidate) -> String {
    let share = candidate.latency_mad_s.zip(candidate.latency_measured_s);
    format!("MAD {}", format::percent(share.map(|(mad_s, seconds)| mad_s / seconds)))
}

/// What the accuracies of the four are worth.
fn reading(result: &RunResult) -> String {
    let weights = match &result.protocols {
        None => "The four are parts of one supernet, and none was trained further.".to_owned(),
        Some(protocols) => {
            format!("The four were trained from scratch under one protocol, {}.", protocols.full)
        }
    };
    let error = standard_error(result.chosen.accuracy_test, result.test_images);
    let chance = error.map_or_else(String::new, |error| {
        format!(
            " Test accuracies that differ by less than about {} may be alike.",
            points_of(Some(2.0 * 2f64.sqrt() * error))
        )
    });
    let numbers = match result.chosen.accuracy_test_fp32 {
        None => "",
        Some(_) => " The search judged them in 32 bits.",
    };
    format!(
        "{weights}{numbers} Held-out images are training images that the search judged by, so the chosen network's accuracy there is \
         likely to be too high; the test images were used once, on the exported files.{chance}"
    )
}

/// The blocks with their share of the predicted latency.
fn blocks(network: &Network, table: &LatencyTable, predicted_s: f64) -> Result<Vec<Part>> {
    let mut seconds = Vec::new();
    for block in network.blocks() {
        let line = block.to_string();
        seconds.push(table.entry(&line).ok_or_else(|| table.missing(&line))?);
    }
    let sum = table.constant_s() + seconds.iter().sum::<f64>();
    let slowest = seconds.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let part = |(block, seconds): (&netfit_spaces::Block, &f64)| Part {
        line: block.to_string(),
        parameters: block.parameters().to_string(),
        multiply_adds: block.multiply_adds().to_string(),
        time: format!("{:.1} us", seconds / sum * predicted_s * 1e6),
        width: (100.0 * seconds / slowest).clamp(0.0, 100.0),
    };
    let mut parts: Vec<Part> = network.blocks().iter().zip(&seconds).map(part).collect();
    parts.push(Part {
        line: "constant".to_owned(),
        parameters: String::new(),
        multiply_adds: String::new(),
        time: format!("{:.1} us", table.constant_s() / sum * predicted_s * 1e6),
        width: (100.0 * table.constant_s() / slowest).clamp(0.0, 100.0),
    });
    Ok(parts)
}

fn search(result: &RunResult) -> Vec<(&'static str, String)> {
    let mut search = Vec::new();
    if result.supernet_evaluations > 0 {
        search.push((
            "evaluated",
            format!("{} subnets of the supernet", result.supernet_evaluations),
        ));
    }
    if let Some(predictor) = &result.predictor {
        search.push((
            "predictor",
            format!(
                "Kendall tau {:.3}, RMSE {} ({} networks, {} folds)",
                predictor.kendall_tau,
                points_of(Some(predictor.rmse)),
                predictor.networks,
                predictor.folds
            ),
        ));
    }
    if let Some(proxy) = result.protocols.as_ref().and_then(|protocols| protocols.proxy.clone()) {
        search.push(("proxy task", format!("protocol {proxy}")));
    }
    search.push((
        "export",
        format!(
            "logits of ONNX Runtime and libtorch differ by {:.1e} at most{}",
            result.logits_max_difference,
            if result.chosen.accuracy_test_fp32.is_some() {
                ", before they are quantised"
            } else {
                ""
            }
        ),
    ));
    search
}

fn attempts(result: &RunResult) -> Vec<[String; 4]> {
    let attempt = |attempt: &crate::run::Attempt| {
        [
            format::seconds(attempt.aim_s),
            attempt.genotype.to_string(),
            format::seconds(attempt.latency_predicted_s),
            optional(attempt.latency_measured_s),
        ]
    };
    result.attempts.iter().map(attempt).collect()
}

/// The steps of the run, longest first.
fn steps(result: &RunResult) -> Vec<Step> {
    let mut steps: Vec<(&String, f64)> =
        result.seconds.iter().map(|(name, seconds)| (name, *seconds)).collect();
    steps.sort_by(|a, b| b.1.total_cmp(&a.1));
    let longest = steps.first().map_or(1.0, |step| step.1.max(f64::MIN_POSITIVE));
    let step = |(name, seconds): (&String, f64)| Step {
        name: name.clone(),
        time: format::duration(seconds),
        width: 100.0 * seconds / longest,
    };
    steps.into_iter().map(step).collect()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

fn optional(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), format::seconds)
}

/// That of a share of so many images.
fn standard_error(accuracy: Option<f64>, images: usize) -> Option<f64> {
    accuracy.map(|p| (p * (1.0 - p) / images.max(1) as f64).sqrt())
}

/// A difference of fractions of 1.
fn points_of(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".to_owned(), |f| format!("{:.2} points", f * 100.0))
}
