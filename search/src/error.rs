//! What can be wrong with a search.

use std::path::PathBuf;

use crate::budget::Duration;

/// An error of this crate; each message names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A genotype or space that is wrong in itself.
    #[error(transparent)]
    Space(#[from] netfit_spaces::Error),
    /// What a predictor or an accuracy source reports.
    #[error(transparent)]
    Predictor(#[from] netfit_predictors::Error),
    /// A journal that another search is writing.
    #[error(
        "journal `{path}` is in use by another process; hint: wait for its end, or name another"
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A budget that does not parse.
    #[error(
        "budget `{text}`: {reason}; hint: write a time like `3ms`, `250us` or `0.5s`, or `60% of full`"
    )]
    Budget {
        /// The budget as it was found.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A budget that no network meets.
    #[error(
        "no network of space `{space}` within {}: the fastest, `{genotype}`, is predicted at {} (interval up to {}); hint: allow at least {}",
        Duration(*.budget_s), Duration(*.fastest_s), Duration(*.fastest_high_s), Duration(*.fastest_high_s)
    )]
    Impossible {
        /// The space's name.
        space: String,
        /// The budget.
        budget_s: f64,
        /// The fastest genotype.
        genotype: String,
        /// Its predicted latency.
        fastest_s: f64,
        /// The upper end of its interval, which counts.
        fastest_high_s: f64,
    },
    /// A count that no network keeps to.
    #[error(
        "no network of space `{space}` with at most {most} {unit}: the smallest, `{genotype}`, needs {least}; hint: \
         allow at least as many"
    )]
    TooLarge {
        /// The space's name.
        space: String,
        /// What is counted, in the plural.
        unit: &'static str,
        /// The most that was allowed.
        most: u64,
        /// The smallest genotype.
        genotype: String,
        /// What it needs.
        least: u64,
    },
    /// No network that keeps to all constraints was found, though each can be kept to.
    #[error(
        "no network of space `{space}` was found within {}{others}, though some keep to each; hint: relax one of them",
        Duration(*.budget_s)
    )]
    Unmet {
        /// The space's name.
        space: String,
        /// The latency budget.
        budget_s: f64,
        /// The others, in words.
        others: String,
    },
    /// A strategy that does not exist.
    #[error("unknown strategy `{name}`; hint: strategies are {}", known.join(", "))]
    UnknownStrategy {
        /// The name that was asked for.
        name: String,
        /// The strategies that exist.
        known: Vec<&'static str>,
    },
    /// A reward that does not exist.
    #[error("unknown reward `{name}`; hint: rewards are {}", known.join(", "))]
    UnknownReward {
        /// The name that was asked for.
        name: String,
        /// The rewards that exist.
        known: Vec<&'static str>,
    },
    /// A configuration that contradicts itself.
    #[error("strategy `{strategy}`: {reason}")]
    Configuration {
        /// The strategy's name.
        strategy: &'static str,
        /// Expected and found.
        reason: String,
    },
    /// An accuracy source that breaks its contract.
    #[error("accuracy source `{origin}`: {reason}")]
    Accuracy {
        /// The source's name.
        origin: String,
        /// Expected and found.
        reason: String,
    },
    /// A search of no evaluations.
    #[error("expected at least one evaluation, found {0}; hint: 1,000 are usual")]
    Evaluations(usize),
    /// A comparison that cannot be made.
    #[error("comparison: {0}")]
    Comparison(String),
    /// No random network is left to compare with.
    #[error(
        "no random network that keeps to all limits but the {0} to compare with; hint: relax one of them"
    )]
    NoOther(usize),
    /// A file that cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write `{path}`: {source}; hint: check that the folder exists and has room")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it cannot be written.
        source: std::io::Error,
    },
    /// A journal that cannot be gone on with.
    #[error("journal `{path}`, line {line}: {reason}; hint: move it away to start anew")]
    Journal {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Expected and found.
        reason: String,
    },
    /// A training process that cannot be started.
    #[error(
        "cannot start `{program}`: {source}; hint: build it with `cargo build`, it lies beside `netfit`"
    )]
    Start {
        /// The program.
        program: PathBuf,
        /// Why it cannot be started.
        source: std::io::Error,
    },
    /// A request that cannot be written.
    #[error("`{request}` cannot be asked: {source}; hint: name files and folders in UTF-8")]
    Request {
        /// The request.
        request: &'static str,
        /// What has no words in JSON.
        source: serde_json::Error,
    },
    /// A training process that has ended without an answer.
    #[error("`{program}` {how} during `{request}`{tail}{hint}")]
    Died {
        /// The program.
        program: PathBuf,
        /// Exit status or signal, in words.
        how: String,
        /// The request that was under way.
        request: &'static str,
        /// What it last said on standard error, on one line.
        tail: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A training process that answers with something else than the protocol's lines.
    #[error(
        "`{program}` answered `{request}` with `{line}`: {reason}; hint: build both programs anew"
    )]
    Answer {
        /// The program.
        program: PathBuf,
        /// The request that was under way.
        request: &'static str,
        /// The beginning of the line.
        line: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A request that failed, in the training process's own words.
    #[error("{0}")]
    Failed(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
