//! Image data sets: reading, splitting and preprocessing.

use serde::{Deserialize, Serialize};

/// Where the images are and how they are stored: the `[data]` table of a run's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataSpec {
    /// Four IDX files (`train-images-idx3-ubyte`, ...), plain or gzipped.
    Idx {
        /// Their folder.
        path: std::path::PathBuf,
    },
}
