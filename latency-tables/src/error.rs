//! What can be wrong with latency tables.

use std::path::PathBuf;

/// An error of this crate; each message names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A table file that cannot be read.
    #[error("cannot read latency table `{path}`: {source}; hint: `netfit profile` writes one")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// A table file that cannot be written.
    #[error("cannot write latency table `{path}`: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it cannot be written.
        source: std::io::Error,
    },
    /// A file that is no table, or only a part of one.
    #[error(
        "`{path}` is not a whole latency table: {reason}; hint: remove it and repeat `netfit profile` or `netfit run`"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A table of a newer netfit.
    #[error(
        "latency table `{path}` has format {found}, this netfit reads up to {known}; hint: use a newer netfit, or profile again"
    )]
    Future {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u64,
        /// The newest version that is known.
        known: u64,
    },
    /// A table whose content does not match its checksum.
    #[error(
        "latency table `{path}` was changed after it was written: its checksum is {found}, its content's is {expected}; hint: remove it and repeat `netfit profile` or `netfit run`"
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The checksum in the file.
        found: String,
        /// The checksum of what the file holds.
        expected: String,
    },
    /// A block without an entry.
    #[error(
        "no latency for `{block}` in the table of `{space}` ({entries} entries); hint: profile the space that has this block"
    )]
    Missing {
        /// The block's line.
        block: String,
        /// The table's space.
        space: String,
        /// How many entries the table has.
        entries: usize,
    },
    /// A table of another device, runtime or setting.
    #[error(
        "the latency table is of another device: its {field} is `{table}`, here it is `{here}`; hint: profile this device, or go on with --force"
    )]
    Device {
        /// The field of the fingerprint that differs.
        field: &'static str,
        /// The table's value.
        table: String,
        /// The value here.
        here: String,
    },
    /// A table that does not hold its space, which is none of that name.
    #[error("the latency table's space `{table}`: {source}; or give it with --space")]
    OwnSpace {
        /// The space's name.
        table: String,
        /// Why there is none.
        source: netfit_spaces::Error,
    },
    /// A table of another space.
    #[error(
        "the latency table is of space `{table}` ({table_id}), expected `{space}` ({space_id}); hint: profile this space, or name the one that the table is of"
    )]
    Space {
        /// The table's space.
        table: String,
        /// Its id.
        table_id: String,
        /// The space at hand.
        space: String,
        /// Its id.
        space_id: String,
    },
    /// Too few networks for a calibration and its interval.
    #[error(
        "calibration needs at least {least} networks, found {found}; hint: calibrate on more networks"
    )]
    TooFew {
        /// How many are needed.
        least: usize,
        /// How many there are.
        found: usize,
    },
    /// Tables that cannot become one.
    #[error("the latency tables cannot be merged: {reason}; hint: {hint}")]
    Merge {
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A percentile that the table does not predict.
    #[error(
        "no percentile {asked} in the latency table, it has {}; hint: profile again with --percentiles 95,99",
        listed(known)
    )]
    Percentile {
        /// The percentile.
        asked: f64,
        /// Those that the table predicts; 50 is the median.
        known: Vec<f64>,
    },
    /// A percentile that is no tail.
    #[error(
        "percentile {found} of latency: expected more than 50 and less than 100; hint: 95 and 99 are usual"
    )]
    PercentileRange {
        /// The percentile.
        found: f64,
    },
    /// Measurements that no calibration explains.
    #[error(
        "calibration on {networks} networks failed: {reason}; hint: measure again on a quiet machine"
    )]
    Calibration {
        /// How many networks there are.
        networks: usize,
        /// What is wrong.
        reason: String,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// `50, 95 and 99`.
fn listed(percentiles: &[f64]) -> String {
    let texts: Vec<String> = percentiles.iter().map(f64::to_string).collect();
    match texts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => texts.concat(),
    }
}
