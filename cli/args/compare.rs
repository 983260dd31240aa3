//! `netfit compare`.

use std::path::PathBuf;

use clap::Args;
use netfit_search::job::Scratch;

use super::TrainDevice;
use crate::budgets::SideBudgets;

/// What `netfit compare --help` says of its JSON.
const COMPARE_JSON: &str = "\
With --json, accuracies, regrets and shares are fractions of 1; an estimate is
{value, interval: [low, high]}, the interval null for a single seed.
  space, source, budget_s, percentile, budgets (all of them), evaluations,
  first_seed, seeds, level, resamples, near, seconds
  note           why there is no verdict (too few seeds, random search that gave up early), or null
  best_accuracy  the optimum where the truth is known, else the best that any search found
  reference      {accuracy, latency_s}: corner of hypervolumes, lowest accuracy and the budget
  truth          {networks, optimum, pareto, lowest_accuracy} within the budget, or null
  strategies     one object each, random search at 1x and 2x first:
    name, evaluations
    accuracy     estimate: mean over seeds of the best accuracy within the budget
    regret       estimate: mean of optimum - best; null where the truth is not known
    hypervolume  mean share of the exact front's, or of that of all searches together
    latency_gap  mean |LAT - T| / T of the best; LAT its predicted latency, T the budget
    evaluations_to_near   median evaluations to come within `near` of best_accuracy, or null
    share_near            share of the seeds that did
    share_learnt          share of the seeds whose last 50 networks beat their first 50 on average
    relative_improvement  estimate, per cent: 100 (accuracy - random) / random, paired by seed
    difference   estimate: mean paired difference from random search at 1x
    verdict      \"better than random\", \"worse than random\", \"no difference shown\" or null
    runs         {seed, genotype, accuracy, latency_s, latency_interval_s, evaluations, proposals,
                 ended, learnt}
Of run folders: budget_s, percentile, budgets (all of them), test_images, note, and methods, one
  object each: {method,
  accuracy, latency_s, latency_gap, over_budget, random_equal_latency, random_search,
  relative_improvement, verdict, runs}; accuracies and latencies are those of the exported files,
  and runs of a method that differ in more than their seeds are methods of their own.
  runs           {folder, seed, space, within_budget, chosen, random_best, random_equal_latency,
                 full, seconds}
With --retrain: kendall_tau (an estimate), protocol, scratch, and networks {genotype, latency_s,
  accuracy_supernet, accuracy_scratch}.";

#[derive(Debug, Args)]
#[command(after_long_help = COMPARE_JSON)]
pub(crate) struct Compare {
    /// Folders of finished runs.
    pub(crate) runs: Vec<PathBuf>,
    /// Train so many random subnets of a run from scratch, and tell how the supernet ranks them.
    #[arg(long, value_name = "NETWORKS", value_parser = clap::value_parser!(u16).range(3..))]
    pub(crate) retrain: Option<u16>,
    #[command(flatten)]
    pub(crate) scratch: RetrainProtocol,
    #[command(flatten)]
    pub(crate) training: TrainDevice,
    /// Picture (SVG): of regret, or of the best accuracy where the truth is not known, over evaluations; of runs,
    /// accuracy over latency.
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    // Beside the strategies, not among them: clap does not see an optional group that holds another one.
    #[command(flatten)]
    pub(crate) beside: SideBudgets,
    #[command(flatten)]
    pub(crate) search: Option<CompareSearch>,
}

/// How networks are trained from scratch.
#[derive(Clone, Debug, Args)]
pub(crate) struct RetrainProtocol {
    /// Epochs of each network that is trained from scratch.
    #[arg(long, default_value_t = 2.0, requires = "retrain", value_parser = positive)]
    pub(crate) epochs: f64,
    /// Peak learning rate of these trainings.
    #[arg(long, default_value_t = 0.1, requires = "retrain", value_parser = positive)]
    pub(crate) learning_rate: f64,
}

/// A finite number above 0.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

impl From<RetrainProtocol> for Scratch {
    fn from(protocol: RetrainProtocol) -> Self {
        Self { epochs: protocol.epochs, learning_rate: protocol.learning_rate }
    }
}

/// Strategies and what they search.
#[derive(Debug, Args)]
pub(crate) struct CompareSearch {
    /// A preset, a TOML file, or a latency table or run folder whose space it is.
    #[arg(long, required = false, required_unless_present = "runs")]
    pub(crate) space: String,
    /// The latency table of that space.
    #[arg(long, value_name = "FILE", required = false, required_unless_present = "runs")]
    pub(crate) table: PathBuf,
    /// Where accuracies come from: csv:FILE[,genotype=COLUMN,accuracy=COLUMN,unit=percent|fraction] or predictor:FILE.
    #[arg(long, value_name = "SOURCE", required = false, required_unless_present = "runs")]
    pub(crate) accuracy: String,
    /// Latency that must hold, for example 3ms, 250us or "60% of full".
    #[arg(long, required = false, required_unless_present = "runs")]
    pub(crate) budget: String,
    /// The percentile of single calls on which the budget is put; 50 is the median. Others must be in the table:
    /// profile with --percentiles.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) percentile: f64,
    /// What is compared, for example evolution,tunas,mnasnet:mnasnet-soft; after a colon stands the reward to learn from.
    /// Default: every strategy.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) strategies: Vec<String>,
    /// Distinct networks that each search evaluates.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) evaluations: u32,
    /// Searches of each strategy, one for each seed; fewer than 5 allow no conclusion.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) seeds: u32,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}
