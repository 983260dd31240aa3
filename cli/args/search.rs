//! `netfit search`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::TrainDevice;
use crate::budgets::SideBudgets;

/// How candidates are proposed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyName {
    /// Once-for-All's evolution.
    #[default]
    Evolution,
    /// Uniform draws without replacement.
    Random,
    /// Regularised evolution: the best of a sample has a child, the oldest dies.
    AgingEvolution,
    /// Active learning: a predictor learns from what was evaluated and says what is evaluated next.
    Active,
    /// MnasNet's recurrent controller.
    #[value(name = "mnasnet")]
    MnasNet,
    /// TuNAS's independent logits.
    #[value(name = "tunas")]
    Tunas,
    /// ProxylessNAS's REINFORCE variant.
    ProxylessR,
}

impl StrategyName {
    /// The name that the search knows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evolution => "evolution",
            Self::Random => "random",
            Self::AgingEvolution => "aging-evolution",
            Self::Active => "active",
            Self::MnasNet => "mnasnet",
            Self::Tunas => "tunas",
            Self::ProxylessR => "proxyless-r",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// A preset, a TOML file, or a latency table or run folder whose space it is; with `--accuracy supernet:RUN` or
    /// `train:CONFIG` that of the run.
    #[arg(long)]
    pub(crate) space: String,
    /// The latency table of that space.
    #[arg(long, value_name = "FILE")]
    pub(crate) table: PathBuf,
    /// Where accuracies come from: csv:FILE[,genotype=COLUMN,accuracy=COLUMN,unit=percent|fraction],
    /// predictor:FILE, supernet:RUN, or train:CONFIG: each network is trained from scratch for the `proxy_epochs` of a
    /// run's configuration, its `[scratch]` table.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) accuracy: String,
    /// Latency that must hold, for example 3ms, 250us or "60% of full".
    #[arg(long)]
    pub(crate) budget: String,
    /// The percentile of single calls on which the budget is put; 50 is the median. Others must be in the table:
    /// profile with --percentiles.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) percentile: f64,
    #[command(flatten)]
    pub(crate) beside: SideBudgets,
    /// How candidates are proposed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) strategy: StrategyName,
    /// What mnasnet, tunas and proxyless-r learn from, with the budget as target: mnasnet-soft, mnasnet-hard, absolute,
    /// constraint or proxyless. Default: the accuracy; whatever is over the budget is not evaluated anyway.
    #[arg(long)]
    pub(crate) reward: Option<String>,
    #[command(flatten)]
    pub(crate) training: TrainDevice,
    /// Distinct networks to evaluate.
    #[arg(long, default_value_t = 1000)]
    pub(crate) evaluations: usize,
    /// Seed of the search.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Threads on which a predictor scores; the result does not depend on them. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Journal to write, and to go on from.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Picture of what was evaluated and its Pareto front (SVG).
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}
