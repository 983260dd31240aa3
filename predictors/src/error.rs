//! What can be wrong with predictors and latency models.

use std::path::PathBuf;

/// An error of this crate; each message names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A genotype or space that is wrong in itself.
    #[error(transparent)]
    Space(#[from] netfit_spaces::Error),
    /// A latency table that cannot serve.
    #[error(transparent)]
    Table(#[from] netfit_latency_tables::Error),
    /// What an accuracy source outside this crate reports.
    #[error(transparent)]
    Source(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// An accuracy option that does not parse.
    #[error(
        "accuracy `{text}`: {reason}; hint: write `csv:FILE[,genotype=COLUMN,accuracy=COLUMN,unit=fraction|percent]`"
    )]
    Option {
        /// The option as it was found.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
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
    /// A file of accuracies with a fault.
    #[error("accuracies `{path}`, line {line}: {reason}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Expected and found, with a hint.
        reason: String,
    },
    /// A genotype without a known accuracy.
    #[error(
        "no accuracy for genotype `{genotype}` in `{path}` ({rows} rows); hint: give a file that holds the whole space"
    )]
    Unknown {
        /// The genotype that was asked for.
        genotype: String,
        /// The file.
        path: PathBuf,
        /// Its rows.
        rows: usize,
    },
    /// A method that is not one.
    #[error("unknown predictor `{name}`; hint: predictors are {known}")]
    Method {
        /// The name as it was found.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Training data or options that no predictor can be fitted on.
    #[error("cannot fit the predictor: {reason}")]
    Training {
        /// Expected and found.
        reason: String,
    },
    /// A table from whose blocks no others can be predicted.
    #[error(
        "cannot predict blocks from the latency table of `{space}`: expected at least 4 blocks of more than one output shape, found {found}; hint: profile a larger space"
    )]
    Blocks {
        /// The table's space.
        space: String,
        /// How many blocks it has.
        found: usize,
    },
    /// A block outside the range of a table's blocks.
    #[error(
        "block `{block}` is beyond the latency table's blocks: {reason}; hint: profile a space that has it, or go on with --allow-extrapolation"
    )]
    Extrapolation {
        /// The block.
        block: String,
        /// Expected and found.
        reason: String,
    },
    /// A block of a family of which a table has none.
    #[error("block `{block}` is like none in the latency table; hint: profile a space that has it")]
    Unlike {
        /// The block.
        block: String,
    },
    /// Threads that cannot be started.
    #[error("cannot start {threads} threads: {source}; hint: ask for fewer")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why they cannot be started.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A predictor file that is not one, or is damaged.
    #[error("predictor `{path}`: {reason}; hint: fit it again")]
    Predictor {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        reason: String,
    },
    /// A predictor of another space.
    #[error(
        "predictor `{path}` is of space `{found_name}` ({found}), expected `{expected_name}` ({expected}); hint: fit one for this space"
    )]
    OtherSpace {
        /// The file.
        path: PathBuf,
        /// Id of the predictor's space.
        found: String,
        /// Its name.
        found_name: String,
        /// Id of the space in use.
        expected: String,
        /// Its name.
        expected_name: String,
    },
    /// A latency that does not add up over blocks, or is no latency at all.
    #[error("latency model of space `{space}`: {reason}")]
    Latency {
        /// The space's name.
        space: String,
        /// Expected and found.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
