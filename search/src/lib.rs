//! Search strategies, budgets, the Pareto front and the journal.
//!
//! A [`Strategy`] proposes genotypes and is told what became of them. [`Search`] is the one loop around all
//! strategies: it keeps to the [`Constraints`], scores each distinct feasible genotype once, writes the [`Journal`] and finds the
//! best network and the Pareto front. [`TorchProcess`] is the client of the training process.
//!
//! ```
//! use netfit_predictors::{Accuracy, BlockSums, Latency, LatencyModel, Result, Threads};
//! use netfit_search::{Constraints, Search, SearchOptions, strategy};
//! use netfit_spaces::{Genotype, Space};
//!
//! /// One second for each 1e12 multiply-adds.
//! struct Slow(BlockSums);
//!
//! impl Slow {
//!     fn of_sum(sum: f64) -> Latency {
//!         let median_s = sum / 1e12;
//!         Latency { median_s, low_s: median_s, high_s: median_s, relative: 1.0 }
//!     }
//! }
//!
//! impl LatencyModel for Slow {
//!     fn latency(&self, genotype: &Genotype) -> Latency {
//!         Self::of_sum(self.0.sum(genotype))
//!     }
//!     fn fastest(&self) -> (Genotype, Latency) {
//!         let (genotype, sum) = self.0.smallest();
//!         (genotype, Self::of_sum(sum))
//!     }
//! }
//!
//! /// The more choices at their last value, the better.
//! struct Wide;
//!
//! impl Accuracy for Wide {
//!     fn source(&self) -> String {
//!         "example".to_owned()
//!     }
//!     fn accuracies(&mut self, genotypes: &[Genotype]) -> Result<Vec<f64>> {
//!         let sum = |g: &Genotype| g.values().iter().map(|&value| f64::from(value)).sum::<f64>();
//!         Ok(genotypes.iter().map(|genotype| sum(genotype) / 16.0).collect())
//!     }
//! }
//!
//! let space = Space::preset("nas-bench-macro")?;
//! let latency = Slow(BlockSums::new(&space, |block| Ok(block.multiply_adds().0 as f64))?);
//! let mut evolution = strategy("evolution", &space, 0)?;
//! let search = Search {
//!     strategy: evolution.as_mut(),
//!     accuracy: &mut Wide,
//!     constraints: Constraints::new(&latency, 1e-4),
//!     journal: None,
//!     threads: Threads::default(),
//!     space: &space,
//! };
//! let options = SearchOptions { evaluations: 300, ..SearchOptions::default() };
//! let result = search.run(&options, &mut |_| {})?;
//! assert_eq!(result.evaluations, 300);
//! assert!(result.best.latency_s <= 1e-4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod budget;
mod compare;
mod constraints;
mod error;
pub mod job;
mod journal;
mod pareto;
mod process;
mod progress;
mod reward;
mod run;
mod select;
mod sources;
mod strategies;
mod torch;

pub use budget::{Budget, Duration};
pub use compare::{
    CompareOptions, CompareRun, Comparison, ComparisonResult, Outcome, Reference, Truth, Verdict,
};
pub use constraints::{Constraints, LatencyConstraint, SideConstraints, SizeConstraint};
pub use error::{Error, Result};
pub use journal::{Journal, Record};
pub use pareto::{hypervolume, pareto};
pub use progress::Progress;
pub use reward::{REWARDS, Reward};
pub use run::{Ended, Evaluated, Search, SearchOptions, SearchResult};
pub use select::{equal_latency, feasible};
pub use sources::{ScratchAccuracy, SupernetAccuracy};
pub use strategies::{
    Active, ActiveOptions, Adam, AdamOptions, AgingEvolution, AgingEvolutionOptions, Baseline,
    Evolution, EvolutionOptions, Filter, MnasNet, MnasNetOptions, PolicyUpdate, ProxylessR,
    ProxylessROptions, RandomSearch, STRATEGIES, Strategy, StrategyOptions, Tunas, TunasOptions,
    draw, softmax, strategy, strategy_with,
};
pub use torch::TorchProcess;
