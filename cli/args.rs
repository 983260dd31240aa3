//! The command line.

mod compare;
mod predictor;
mod search;
mod table;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use netfit_profiler::ProfileOptions;

pub(crate) use self::compare::{Compare, CompareSearch};
pub(crate) use self::predictor::{
    Known, PredictorArgs, PredictorCommand, PredictorEvaluate, PredictorFit,
};
pub(crate) use self::search::Search;
pub(crate) use self::table::{
    Table, TableCommand, TableDiffer, TableMerge, TablePredict, TableShow,
};
use crate::{config::Config, device::DeviceSpec};

/// Finds a neural network that meets a latency budget on your own device, and hands you the ONNX file that was
/// measured to meet it.
#[derive(Debug, Parser)]
#[command(name = "netfit", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print one JSON object on standard output instead of a table; progress stays on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Device + data + budget -> model.onnx, measured within the budget, and result.json.
    ///
    /// netfit.toml names the space, the data, the device and the budget. Whatever was interrupted goes on where it was.
    ///
    /// Once-for-All and MnasNet runs choose again where the network that they chose was measured over the budget, at most four
    /// times.
    /// Exit status: 0 where all budgets hold, 2 where one does not, 1 on any error.
    Run(Run),
    /// What can be profiled here.
    Devices,
    /// Size and blocks of a search space, or the costs of one of its networks.
    Space(SpaceArgs),
    /// Measure a latency table of a search space on a device.
    ///
    /// While it runs, its models lie in the folder for temporary files (TMPDIR): some megabytes for networks of small images,
    /// 2 to 8 gigabytes for `ofa-mbv3`. An interrupted profile removes them and keeps its measurements.
    Profile(Profile),
    /// Fresh random whole networks: predicted against measured latency.
    Validate(Validate),
    /// What a latency table holds, where two differ, and two as one.
    Table(Table),
    /// Measure any ONNX file.
    Measure(Measure),
    /// Train the supernet of a run, or go on from its last checkpoint.
    Train(Train),
    /// Search for the most accurate network under a latency budget.
    Search(Search),
    /// Finished runs, or strategies at equal cost, side by side with random search; how well a supernet ranks.
    ///
    /// Three comparisons.
    ///
    /// Finished runs under one budget on one device: `netfit compare runs/a runs/b`. Accuracy and latency are those of the
    /// exported files; runs of one method with other seeds are taken together.
    ///
    /// Strategies, with --space, --table, --accuracy and --budget: the same evaluations for all. Random search at 1x and at
    /// 2x the evaluations is always in. Where a CSV file knows every network within the budget, regret is exact.
    ///
    /// A supernet's ranking against that of networks trained from scratch: `netfit compare runs/a --retrain 12`.
    Compare(Compare),
    /// Fit accuracy predictors, and see how well they rank.
    Predictor(PredictorArgs),
    /// A finished run as one HTML page that needs nothing else: the verdict, the networks side by side, the pictures.
    ///
    /// `netfit run` writes it at its end; this writes it anew, or elsewhere.
    Report(Report),
    /// Cut a subnet out of a run's supernet and write it as an ONNX file, checked against its torch weights.
    Export(Export),
    /// The process in which everything is timed; `netfit` starts it itself.
    #[command(hide = true)]
    DeviceWorker,
}

/// Where libtorch computes; a run that was cut off may go on elsewhere.
#[derive(Debug, Args)]
pub(crate) struct TrainDevice {
    /// Where networks train, in place of the configuration's `[training] device`: cpu or cuda:0.
    #[arg(long, value_name = "DEVICE")]
    train_device: Option<String>,
}

impl TrainDevice {
    /// Refuses it where nothing trains.
    pub(crate) fn expect_none(&self, what: &str) -> Result<()> {
        match &self.train_device {
            None => Ok(()),
            Some(device) => {
                bail!("--train-device {device}: {what} trains nothing; hint: leave it away")
            }
        }
    }

    /// Puts it into a configuration.
    pub(crate) fn apply(&self, config: &mut Config) {
        if let Some(device) = &self.train_device {
            config.training.device.clone_from(device);
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration, for example examples/fashion-mnist.toml.
    pub(crate) config: PathBuf,
    /// The run folder; default: runs/<name of the configuration>.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Latency that must hold, in place of the configuration's: for example 3ms, 250us or "60% of full". A run folder
    /// keeps the budget that it was begun with.
    #[arg(long)]
    pub(crate) budget: Option<String>,
    #[command(flatten)]
    pub(crate) training: TrainDevice,
    /// Go on although the machine was disturbed while the latency table was measured; the table is marked.
    #[arg(long)]
    pub(crate) accept_noise: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SpaceArgs {
    /// A preset (ofa-mbv3, ofa-mbv3-multi, ofa-28, proxyless, proxyless-28, mnasnet, mnasnet-28, nas-bench-macro), a TOML
    /// file, or a latency table or run folder whose space it is.
    pub(crate) space: String,
    /// One network of the space: a digit for each choice, or smallest or largest.
    #[arg(long, value_name = "GENOTYPE")]
    pub(crate) network: Option<String>,
}

/// What a device does not say itself.
#[derive(Debug, Args)]
pub(crate) struct DeviceParameters {
    /// Threads that one inference may use, where the device does not say; default: 1.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Images a call, where the device does not say; a latency is that of the whole call; default: 1.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) batch: Option<u16>,
}

impl DeviceParameters {
    /// The device that `text` and these parameters name together.
    pub(crate) fn device(&self, text: &str) -> Result<DeviceSpec> {
        text.parse::<DeviceSpec>()?.complete(self.threads, self.batch)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Profile {
    /// A preset, a TOML file, or a latency table or run folder whose space it is.
    #[arg(long)]
    pub(crate) space: String,
    /// What it is measured on. ONNX Runtime on a processor: cpu, cpu:threads=2,batch=8,precision=int8 (or fp32); libtorch on
    /// a GPU: cuda:0, cuda:0,batch=8,precision=fp16 (or fp32, tf32, bf16), cuda:0,cache=cold; ONNX Runtime on a GPU:
    /// cuda-ort:0 (precision fp32, tf32), tensorrt:0 (precision tf32, fp16, bf16). Several: one table for each, one after
    /// the other.
    #[arg(long = "device", value_name = "DEVICE", default_value = "cpu")]
    pub(crate) devices: Vec<String>,
    #[command(flatten)]
    pub(crate) parameters: DeviceParameters,
    /// The latency table to write (JSON). Of several devices each has a file beside it that is named after the
    /// device: table.json becomes table.cpu-threads2-batch8.json; so do pictures.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Whole networks on which the table is calibrated.
    #[arg(long, default_value_t = ProfileOptions::default().calibration)]
    pub(crate) calibration: usize,
    /// Whole networks on which it is validated; they choose nothing.
    #[arg(long, default_value_t = ProfileOptions::default().validation)]
    pub(crate) validation: usize,
    /// Seed of the random networks and weights.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Percentiles of single calls that the table also predicts, for example 95,99; each above 50 and at most 99.9. At least
    /// 500 calls of each network are timed for them, for 99.9 5,000.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = percentile)]
    pub(crate) percentiles: Vec<f64>,
    /// Begin again, and drop what an interrupted profile left beside the table (table.json.journal); without this it
    /// is gone on with.
    #[arg(long)]
    pub(crate) restart: bool,
    /// Store the table although the machine was disturbed; it is marked.
    #[arg(long)]
    pub(crate) accept_noise: bool,
    /// Picture of predicted against measured latency (SVG); plot.svg brings plot.blocks.svg along: time per block
    /// over the space.
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// The latency table.
    pub(crate) table: PathBuf,
    /// How many random networks; those on which the table was calibrated are not drawn.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) networks: u16,
    /// Bursts of each network in each process; more of them make the truth more exact. Default: as many as a table's own
    /// networks have, 4 to 8.
    #[arg(long, value_parser = clap::value_parser!(u16).range(3..=1000))]
    pub(crate) rounds: Option<u16>,
    /// Processes in which each network is measured; the truth is their mean.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub(crate) processes: u16,
    /// Seed of the random networks.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The table's space; only for tables of earlier versions, which do not hold it.
    #[arg(long)]
    pub(crate) space: Option<String>,
    /// Judge the table although it was measured on another device.
    #[arg(long)]
    pub(crate) force: bool,
    /// Which of several GPUs, where the table is of one.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(crate) gpu: usize,
    /// Judge the table although the machine was disturbed; the result is marked.
    #[arg(long)]
    pub(crate) accept_noise: bool,
    /// Keep what was measured in this file: the same command goes on after it was cut off, and with more --processes it
    /// makes the truth more exact.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Picture of predicted against measured latency (SVG).
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Measure {
    /// The ONNX file.
    pub(crate) model: PathBuf,
    /// What it is measured on, in ONNX Runtime: cpu, cpu:threads=2,batch=8, cuda-ort:0, tensorrt:0,precision=fp16. On a
    /// processor the file says what it computes in.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) parameters: DeviceParameters,
    /// Size of a dynamic dimension that is not called `batch`.
    #[arg(long = "dimension", value_name = "NAME=SIZE")]
    pub(crate) dimensions: Vec<String>,
    /// Single calls that are timed, after a warm-up; fewer of a model that would take more than 6 s for them.
    #[arg(long, default_value_t = 1000)]
    pub(crate) samples: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// The configuration of a run.
    pub(crate) config: PathBuf,
    /// The run folder; default: runs/<name of the configuration>.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) training: TrainDevice,
    /// `proxyless`: go on although the machine was disturbed while the latency table was measured.
    #[arg(long)]
    pub(crate) accept_noise: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The folder of a finished run.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// The page to write; default: RUN/report.html.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The run folder whose supernet is cut.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) training: TrainDevice,
    /// The subnet: a digit for each choice of the space, or smallest or largest.
    #[arg(long)]
    pub(crate) genotype: String,
    /// The ONNX file to write; its weights go beside it into a file that ends in .safetensors.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The numbers that the ONNX file computes with; by default int8 where the run's device computes so, else fp32. int8 is
    /// quantised by what the network's tensors hold on training images.
    #[arg(long)]
    pub(crate) precision: Option<FileNumbers>,
}

/// Numbers of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileNumbers {
    Fp32,
    Int8,
}

fn percentile(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse() {
        Ok(percentile) if percentile > 50.0 && percentile < 100.0 => Ok(percentile),
        _ => Err("expected a number above 50 and below 100".to_owned()),
    }
}
