//! Accuracy predictors and latency models of networks.
//!
//! [`Accuracy`] scores genotypes and [`LatencyModel`] times them, both in batches. A [`Predictor`] is fitted by any
//! [`Method`], an ensemble by default, and judged by [`evaluate()`]; [`CsvAccuracy`] is a file of known accuracies,
//! [`TableLatency`] a latency table as an index by choice.
//!
//! ```
//! use netfit_predictors::{Method, Predictor, PredictorOptions};
//! use netfit_spaces::{Random, Space};
//!
//! let space = Space::preset("nas-bench-macro")?;
//! let mut random = Random::new(0, "example");
//! let known: Vec<_> = (0..40)
//!     .map(|_| space.sample(&mut random))
//!     .map(|genotype| {
//!         let accuracy = 0.5 + 0.01 * f64::from(genotype.values()[0]);
//!         (genotype, accuracy)
//!     })
//!     .collect();
//! let options = PredictorOptions::default();
//! let predictor = Predictor::fit(Method::GaussianProcess, &space, &known, &options)?;
//! let predicted = predictor.predict(&[space.smallest(), space.largest()])?;
//! assert!(predicted[0] < predicted[1]);
//! # Ok::<(), netfit_predictors::Error>(())
//! ```

mod accuracy;
mod block_cost;
mod block_latency;
mod cholesky;
mod dense;
mod error;
mod evaluate;
mod evidence;
mod file;
mod forest;
mod inference;
mod kernel;
mod kernel_regression;
mod known;
mod latency;
mod method;
mod mlp;
mod predictor;
mod product;
mod ridge;
mod scale;
mod sparse;
mod sums;
mod threads;

pub use accuracy::Accuracy;
pub use block_latency::{BlockErrors, BlockLatency, GroupError};
pub use error::{Error, Result};
pub use evaluate::{
    Cost, EvaluateOptions, Evaluation, Scores, SizeScores, cross_validate, evaluate,
};
pub use forest::ForestOptions;
pub use kernel_regression::KernelOptions;
pub use known::CsvAccuracy;
pub use latency::{LatencyModel, TableLatency};
pub use method::{METHODS, Method, PredictorOptions};
pub use mlp::{Mlp, MlpOptions};
pub use netfit_latency_tables::Latency;
pub use predictor::{Prediction, Predictor};
pub use ridge::RidgeOptions;
pub use sums::BlockSums;
pub use threads::Threads;
