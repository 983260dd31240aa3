//! `netfit predictor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use netfit_predictors::Method;

#[derive(Debug, Args)]
pub(crate) struct PredictorArgs {
    #[command(subcommand)]
    pub(crate) command: PredictorCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PredictorCommand {
    /// Fit an accuracy predictor and write it; search takes it as --accuracy predictor:FILE.
    Fit(PredictorFit),
    /// How well predictors rank networks that they have not seen, beside multiply-adds, parameters and latency.
    ///
    /// With --json: `{space, networks, repeats, seed, top, level, seconds, sizes: [{size, rankers: [{name, kendall_tau,
    /// spearman, rmse, top_overlap, regret, fit_seconds}]}]}`; each value is `{value, interval}`, accuracies and shares are
    /// fractions of 1, and what a cost does not have is null.
    Evaluate(PredictorEvaluate),
}

/// The accuracies that a predictor learns from.
#[derive(Debug, Args)]
pub(crate) struct Known {
    /// A preset, a TOML file, or a latency table or run folder whose space it is; left out with --data run:FOLDER.
    #[arg(long)]
    pub(crate) space: Option<String>,
    /// Known accuracies: csv:FILE[,genotype=COLUMN,accuracy=COLUMN,unit=percent|fraction], journal:FILE[,source=SOURCE]
    /// (a search's journal) or run:FOLDER[,source=SOURCE].
    #[arg(long, value_name = "DATA")]
    pub(crate) data: String,
}

#[derive(Debug, Args)]
pub(crate) struct PredictorFit {
    #[command(flatten)]
    pub(crate) known: Known,
    /// How it is fitted: ensemble, ranked-mlp, gaussian-process, second-order-ridge, kernels, mlp, ridge or random-forest.
    #[arg(long, default_value_t)]
    pub(crate) predictor: Method,
    /// Seed of the fit.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The predictor to write (safetensors).
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PredictorEvaluate {
    #[command(flatten)]
    pub(crate) known: Known,
    /// What is evaluated, for example ensemble,mlp,ridge.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "ensemble")]
    pub(crate) predictor: Vec<Method>,
    /// Training networks; each predictor is judged on all others.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "50,100,200")]
    pub(crate) sizes: Vec<usize>,
    /// Random splits of each size.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeats: u32,
    /// Seed of the splits and fits.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many of the best networks count for the overlap.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: u32,
    /// The latency table of the space: latency is then judged, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    /// Splits at once; the result does not depend on them. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Picture of Kendall's tau over training networks (SVG).
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}
