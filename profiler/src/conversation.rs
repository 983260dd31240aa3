//! What a measuring process is asked and what it answers: one JSON object a line, an answer for each request.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{BufRead, Write},
    path::PathBuf,
};

use netfit_export::Weights;
use netfit_latency_tables::Fingerprint;
use netfit_spaces::{Network, Random};
use serde::{Deserialize, Serialize};

use crate::{BlockTimes, Burst, CudaOptions, Provider, Ran};

/// What a measuring process is asked. The first request is `Open` or `OpenCuda`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Loads ONNX Runtime with one pool of threads.
    Open {
        /// Its shared library.
        library: PathBuf,
        /// Threads of the pool.
        threads: usize,
        /// What it runs models on.
        provider: Provider,
        /// The device's folder of models, and for what the provider builds; it is removed where the device is killed.
        cache: PathBuf,
        /// What the process before has told in [`Answer::Timed`].
        canary_s: Option<f64>,
    },
    /// Opens a GPU in libtorch.
    OpenCuda {
        /// Which, and how it computes.
        options: CudaOptions,
    },
    /// Loads ONNX files and fills their inputs.
    Load {
        /// All of them, or none where one fails.
        files: Vec<ModelFile>,
    },
    /// Builds a network with [`random_weights`].
    LoadNetwork {
        /// [`Network::text`].
        network: String,
        /// Whether its blocks are timed one by one, too.
        traced: bool,
    },
    /// Runs bursts.
    Time {
        /// One after the other.
        bursts: Vec<Burst>,
    },
    /// Ends a model's record and drops the model.
    Trace {
        /// Its number.
        model: usize,
    },
}

/// An ONNX file as a measuring process loads it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ModelFile {
    /// Where it is.
    pub path: PathBuf,
    /// Sizes of its dynamic dimensions by name.
    pub dimensions: BTreeMap<String, usize>,
    /// Where the runtime's record goes, as the beginning of a file's name.
    pub record: Option<PathBuf>,
    /// Where the optimised model goes.
    pub optimized: Option<PathBuf>,
}

/// What a measuring process answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To `Open` and `OpenCuda`.
    Opened {
        /// What is measured on.
        fingerprint: Fingerprint,
    },
    /// To `Load` and `LoadNetwork`.
    Loaded {
        /// The models' numbers.
        models: Vec<usize>,
    },
    /// To `Time`.
    Timed {
        /// One for each burst.
        ran: Vec<Ran>,
        /// How long an undisturbed canary takes, where there is one.
        canary_s: Option<f64>,
    },
    /// To `Trace`, by ONNX Runtime.
    Traced {
        /// The record's file.
        record: PathBuf,
        /// Which calls in it were timed.
        timed: Vec<bool>,
    },
    /// To `Trace`, by libtorch.
    Split {
        /// Where the time went.
        times: BlockTimes,
    },
    /// To a request that failed.
    Failed {
        /// Why.
        message: String,
    },
}

/// Answers requests until `input` ends. A request that fails is answered, too; it ends nothing.
///
/// # Errors
/// A pipe that breaks.
pub fn converse<E: Display>(
    mut answer: impl FnMut(Request) -> Result<Answer, E>,
    input: impl BufRead,
    mut output: impl Write,
) -> std::io::Result<()> {
    for line in input.lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(request) => answer(request).map_err(|error| error.to_string()),
            Err(error) => Err(format!("unknown request: {error}")),
        };
        let answer = answer.unwrap_or_else(|message| Answer::Failed { message });
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

/// The weights of every network that is profiled: times do not depend on them, as long as they are ordinary numbers.
pub fn random_weights(network: &Network) -> Weights {
    Weights::random(network, &mut Random::new(0, "weights of profiled networks"))
}
