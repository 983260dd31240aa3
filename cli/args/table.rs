//! `netfit table`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Table {
    #[command(subcommand)]
    pub(crate) command: TableCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TableCommand {
    /// Device, calibration, errors and slowest blocks of a table.
    Show(TableShow),
    /// What differs between two tables, of any devices and spaces.
    Diff(TableDiffer),
    /// Two measurements of one device and space as one table; percentiles are not kept.
    Merge(TableMerge),
    /// Latencies of blocks that the table does not hold, from those that it holds, and what they are worth.
    Predict(TablePredict),
}

#[derive(Debug, Args)]
pub(crate) struct TablePredict {
    /// The latency table.
    pub(crate) table: PathBuf,
    /// Lines of blocks, for example "mbconv k5 m144 s2 se36 hswish 24x56x56 -> 40x28x28"; none: only the errors.
    #[arg(value_name = "BLOCK")]
    pub(crate) blocks: Vec<String>,
    /// Predict blocks beyond the range of the table's blocks, too; the errors say nothing about these.
    #[arg(long)]
    pub(crate) allow_extrapolation: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TableShow {
    /// The latency table.
    pub(crate) table: PathBuf,
    /// Write the times of all blocks, a row for each source and block (CSV).
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// How many of the slowest blocks to list.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) blocks: usize,
}

#[derive(Debug, Args)]
pub(crate) struct TableDiffer {
    /// The first latency table.
    pub(crate) first: PathBuf,
    /// The second one; changes are relative to the first.
    pub(crate) second: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TableMerge {
    /// The first latency table; the merged one refers to its reference time.
    pub(crate) first: PathBuf,
    /// The second one.
    pub(crate) second: PathBuf,
    /// The latency table to write (JSON).
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The tables' space; only for tables of earlier versions, which do not hold it.
    #[arg(long)]
    pub(crate) space: Option<String>,
}
