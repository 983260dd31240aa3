//! What measures.

use std::{collections::BTreeMap, path::Path, time::Instant};

use netfit_latency_tables::Fingerprint;
use netfit_spaces::Network;
use serde::{Deserialize, Serialize};

use crate::{Result, memory};

/// Something that runs models and tells how long they take.
///
/// A device holds models by number, from 0 in the order in which they were loaded.
pub trait Device {
    /// What its times are true for.
    fn fingerprint(&self) -> Fingerprint;

    /// Whether it can tell where the time of a [`Model::Traced`] went.
    fn traces(&self) -> bool {
        true
    }

    /// Bytes that a loaded network takes until the device is restarted, about.
    fn bytes(&self, network: &Network) -> u64 {
        memory::of_weights(network.parameters().0)
    }

    /// Forgets all models. A real device starts a new process, since whole processes differ in speed.
    ///
    /// # Errors
    /// The process cannot be started.
    fn restart(&mut self) -> Result<()>;

    /// Loads a model and gives its number.
    ///
    /// # Errors
    /// A model that the device cannot run.
    fn load(&mut self, model: Model<'_>) -> Result<usize>;

    /// Loads models and gives their numbers; `progress` is told now and then how many there are. By default one after the
    /// other.
    ///
    /// # Errors
    /// A model that the device cannot run; those before it may have been loaded.
    fn load_all(
        &mut self,
        models: &[Model<'_>],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<usize>> {
        let mut load = |(done, &model): (usize, &Model<'_>)| {
            progress(done);
            self.load(model)
        };
        models.iter().enumerate().map(&mut load).collect()
    }

    /// Runs bursts one after the other, and nothing between them.
    ///
    /// # Errors
    /// A call that fails.
    fn time(&mut self, bursts: &[Burst]) -> Result<Vec<Ran>>;

    /// What the runtime has recorded of the timed calls of a [`Model::Traced`]. Afterwards the model is gone.
    ///
    /// # Errors
    /// A model that was not traced, or a record that cannot be read.
    fn trace(&mut self, model: usize) -> Result<BlockTimes>;
}

/// What a device can run.
#[derive(Clone, Copy, Debug)]
pub enum Model<'a> {
    /// A network with random weights.
    Network(&'a Network),
    /// The same, and the runtime records every node.
    Traced(&'a Network),
    /// An ONNX file with random inputs.
    File {
        /// The file.
        path: &'a Path,
        /// Sizes of dynamic dimensions by name; `batch` is the device's batch where it is not given.
        dimensions: &'a BTreeMap<String, usize>,
    },
}

impl<'a> Model<'a> {
    /// The network, unless it is a file.
    pub(crate) fn network(&self) -> Option<&'a Network> {
        match self {
            Self::Network(network) | Self::Traced(network) => Some(network),
            Self::File { .. } => None,
        }
    }
}

/// Calls of one model in a row: some that are not timed, then timed ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Burst {
    /// The model's number.
    pub model: usize,
    /// Calls before the timed ones: so many, or as many as `warm_up_s` has room for.
    pub warm_up: usize,
    /// See `warm_up`; the first of these calls is made in any case, if there are any.
    pub warm_up_s: f64,
    /// Timed calls at least; a burst of none only warms up.
    pub calls: usize,
    /// Time to fill with timed calls.
    pub seconds: f64,
    /// Time that it may take longer to have calls during which nothing shared the core. With a warm-up, others are
    /// replaced by further calls; without one, calls wait for such a moment.
    pub patience_s: f64,
}

impl Burst {
    /// Makes the calls before the timed ones, and tells how many. What takes milliseconds has fetched all that it needs
    /// after one; the shorter a call, the more of them it takes until others' numbers have left the caches.
    ///
    /// # Errors
    /// A call that fails.
    pub fn warmed_up<E>(
        &self,
        mut call: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<usize, E> {
        let start = Instant::now();
        for made in 0..self.warm_up {
            let with_another_s = start.elapsed().as_secs_f64() * (1.0 + 1.0 / made as f64);
            if made > 0 && with_another_s > self.warm_up_s {
                return Ok(made);
            }
            call()?;
        }
        Ok(self.warm_up)
    }
}

/// What a burst took, and what else the machine did meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// Seconds of each timed call.
    pub calls: Vec<f64>,
    /// How many of these calls shared their core with something else.
    pub shared: usize,
    /// Timed calls that shared it and were replaced.
    pub replaced: usize,
    /// Wall-clock seconds since the burst before it ended, or the process began.
    pub elapsed_s: f64,
    /// Processor seconds that others took in `elapsed_s`; it is told in steps of some 10 ms and only sums over many
    /// bursts mean something. None where the system does not tell.
    pub others_s: Option<f64>,
    /// The processor's frequency right after the burst, where the system tells it.
    pub hertz: Option<f64>,
    /// Whether a GPU was slowed down by its heat or its power supply right after the burst.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub throttled: bool,
    /// Whether most calls took as long as the host needs to launch their kernels, so that a faster GPU would gain nothing;
    /// none for processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_bound: Option<bool>,
}

/// Where the time of a network's calls went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockTimes {
    /// For each block of the network the seconds of each timed call.
    pub blocks: Vec<Vec<f64>>,
    /// For each block the kernels of a call.
    pub kernels: Vec<f64>,
    /// What is left of each call: dispatch, input, output.
    pub overhead: Vec<f64>,
}

/// How far long work has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: String,
    /// Steps done, of `total`.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
}

impl Progress {
    pub(crate) fn new(stage: impl Into<String>, done: usize, total: usize) -> Self {
        Self { stage: stage.into(), done: done as u64, total: total as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_warms_up_as_long_as_there_is_room_and_once_at_least() {
        let made = |warm_up, warm_up_s| {
            let burst =
                Burst { model: 0, warm_up, warm_up_s, calls: 1, seconds: 0.0, patience_s: 0.0 };
            let mut calls = 0;
            let told = burst.warmed_up(|| {
                calls += 1;
                Ok::<(), ()>(())
            });
            assert_eq!(told, Ok(calls));
            calls
        };
        assert_eq!([made(0, 3600.0), made(5, 3600.0), made(5, 0.0)], [0, 5, 1]);
        let burst =
            Burst { model: 0, warm_up: 3, warm_up_s: 1.0, calls: 1, seconds: 0.0, patience_s: 0.0 };
        assert_eq!(burst.warmed_up(|| Err("lost")), Err("lost"));
    }
}
