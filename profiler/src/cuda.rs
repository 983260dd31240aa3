//! An NVIDIA GPU, driven by libtorch in a process of its own.

use std::path::Path;

use netfit_latency_tables::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::{
    BlockTimes, Burst, Device, Error, Model, Precision, Ran, Result,
    connection::{Connection, Launch, Server},
    conversation::{Answer, Request},
};

/// How the provider of a table that was measured by libtorch on a GPU begins.
pub const CUDA: &str = "CUDA";

/// Which GPU, and how it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CudaOptions {
    /// Its number, as `CUDA_VISIBLE_DEVICES` leaves it.
    pub gpu: usize,
    /// Images a call; at least 1.
    pub batch: usize,
    /// The numbers that it computes with.
    pub precision: Precision,
    /// Whether its second-level cache is flushed before each timed call, so that weights and inputs come from memory.
    pub flush: bool,
}

impl Default for CudaOptions {
    /// The first GPU, one image, fp32, a warm cache.
    fn default() -> Self {
        Self { gpu: 0, batch: 1, precision: Precision::default(), flush: false }
    }
}

impl CudaOptions {
    /// What libtorch can compute with here, its usual one first.
    pub const PRECISIONS: &'static [Precision] =
        &[Precision::Fp32, Precision::Tf32, Precision::Fp16, Precision::Bf16];

    /// The provider in a table's fingerprint.
    pub fn provider(&self) -> String {
        format!("{CUDA}{}", if self.flush { " with a cold cache" } else { "" })
    }
}

/// An NVIDIA GPU. Every restart starts a new process with libtorch in it; inputs and outputs stay on the GPU.
#[derive(Debug)]
pub struct CudaDevice {
    launch: Launch,
    options: CudaOptions,
    connection: Connection,
    fingerprint: Fingerprint,
    loaded: usize,
}

impl CudaDevice {
    /// Starts `program` with `arguments`, which must answer [`Request`]s on its standard input and output.
    ///
    /// # Errors
    /// A batch of 0, a program that is missing or dies, a GPU that is not there.
    pub fn start(program: &Path, arguments: &[&str], options: CudaOptions) -> Result<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let program = program.to_owned();
        let tf32 = options.precision == Precision::Tf32;
        Self::launched(Launch::Process { program, arguments, cleans_up: false, tf32 }, options)
    }

    /// The same with the measuring process as a thread of this one: for tests, which have no program to start.
    ///
    /// # Errors
    /// As of [`CudaDevice::start`].
    #[doc(hidden)]
    pub fn in_thread(server: Server, options: CudaOptions) -> Result<Self> {
        Self::launched(Launch::Thread(server), options)
    }

    fn launched(launch: Launch, options: CudaOptions) -> Result<Self> {
        if options.batch == 0 {
            let (expected, found) = ("at least 1".to_owned(), "0".to_owned());
            return Err(Error::Setting { what: "batch", expected, found });
        }
        let (connection, fingerprint) = open(&launch, options)?;
        Ok(Self { launch, options, connection, fingerprint, loaded: 0 })
    }
}

fn open(launch: &Launch, options: CudaOptions) -> Result<(Connection, Fingerprint)> {
    let mut connection = Connection::new(launch)?;
    match connection.ask(&Request::OpenCuda { options })? {
        Answer::Opened { fingerprint } => Ok((connection, fingerprint)),
        other => Err(connection.unexpected(&other)),
    }
}

impl Device for CudaDevice {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn restart(&mut self) -> Result<()> {
        if self.loaded > 0 {
            self.connection.end();
            (self.connection, _) = open(&self.launch, self.options)?;
            self.loaded = 0;
        }
        Ok(())
    }

    fn load(&mut self, model: Model<'_>) -> Result<usize> {
        let (network, traced) = match model {
            Model::Network(network) => (network, false),
            Model::Traced(network) => (network, true),
            Model::File { path, .. } => {
                return Err(Error::Model {
                    path: path.to_owned(),
                    reason: "libtorch runs networks of a space, not ONNX files; hint: measure it on `cuda-ort:N` or `tensorrt:N`".to_owned(),
                });
            }
        };
        match self.connection.ask(&Request::LoadNetwork { network: network.text(), traced })? {
            Answer::Loaded { models } if models.len() == 1 => {
                self.loaded += 1;
                Ok(models[0])
            }
            other => Err(self.connection.unexpected(&other)),
        }
    }

    fn time(&mut self, bursts: &[Burst]) -> Result<Vec<Ran>> {
        match self.connection.ask(&Request::Time { bursts: bursts.to_vec() })? {
            Answer::Timed { ran, .. } if ran.len() == bursts.len() => Ok(ran),
            other => Err(self.connection.unexpected(&other)),
        }
    }

    fn trace(&mut self, model: usize) -> Result<BlockTimes> {
        match self.connection.ask(&Request::Trace { model })? {
            Answer::Split { times } => Ok(times),
            other => Err(self.connection.unexpected(&other)),
        }
    }
}
