//! One of ONNX Runtime's providers, in a process of its own.

mod exported;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use netfit_latency_tables::Fingerprint;
use netfit_spaces::Network;

use crate::{
    BlockTimes, Burst, Device, Error, Model, Precision, Provider, Ran, Result,
    connection::{Connection, Launch},
    conversation::{Answer, ModelFile, Request},
    cores::cores,
    memory,
    model_folder::ModelFolder,
    runtime, trace,
};
use exported::Exported;

/// Models that are loaded on all cores before progress is told.
const TOGETHER: usize = 16;

/// What ONNX Runtime is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrtOptions {
    /// What it runs models on.
    pub provider: Provider,
    /// Threads of its pool; from 1 to the cores of this machine.
    pub threads: usize,
    /// Images a call; at least 1.
    pub batch: usize,
}

impl Default for OrtOptions {
    /// One thread of the processor, one image.
    fn default() -> Self {
        Self { provider: Provider::default(), threads: 1, batch: 1 }
    }
}

/// One of ONNX Runtime's providers. Every restart starts a process with one pool of threads and nothing else in it. Inputs
/// and outputs lie in the host's memory, as an application has them: a GPU's times include their way.
#[derive(Debug)]
pub struct OrtDevice {
    launch: Launch,
    library: PathBuf,
    options: OrtOptions,
    connection: Connection,
    fingerprint: Fingerprint,
    folder: ModelFolder,
    exported: Exported,
    loaded: Vec<Option<Traced>>,
    /// How long an undisturbed canary takes, as processes have told so far.
    canary_s: Option<f64>,
}

/// What is needed to read a traced model's record.
#[derive(Debug)]
struct Traced {
    blocks: usize,
    optimized: PathBuf,
}

impl OrtDevice {
    /// Starts `program` with `arguments`, which must run [`crate::worker::serve`] on its standard input and output.
    ///
    /// # Errors
    /// 0 threads or images, more threads than cores, a missing library, provider or program, or a process that dies.
    pub fn start(program: &Path, arguments: &[&str], options: OrtOptions) -> Result<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let program = program.to_owned();
        let tf32 = options.provider.precision() == Precision::Tf32;
        Self::launched(Launch::Process { program, arguments, cleans_up: true, tf32 }, options)
    }

    /// The same with the measuring process as a thread of this one: for tests, which have no program to start.
    #[cfg(test)]
    pub(crate) fn in_thread(options: OrtOptions) -> Result<Self> {
        let server = |input: &mut dyn std::io::BufRead, output: &mut dyn std::io::Write| {
            crate::worker::serve_in_thread(input, output)
        };
        Self::launched(Launch::Thread(server), options)
    }

    fn launched(launch: Launch, options: OrtOptions) -> Result<Self> {
        for (what, number) in [("threads", options.threads), ("batch", options.batch)] {
            if number == 0 {
                let found = "0".to_owned();
                return Err(Error::Setting { what, expected: "at least 1".into(), found });
            }
        }
        let (cores, found) = (cores(), options.threads);
        if found > cores {
            return Err(Error::Threads { cores, found });
        }
        let library = runtime::library()?;
        let folder = ModelFolder::new()?;
        let (connection, fingerprint) = open(&launch, &library, options, folder.path(), None)?;
        Ok(Self {
            launch,
            library,
            options,
            connection,
            fingerprint,
            folder,
            exported: Exported::default(),
            loaded: Vec::new(),
            canary_s: None,
        })
    }

    /// The files that `models` are loaded from, those of networks written with random weights for this device's batch.
    fn files(&mut self, models: &[Model<'_>]) -> Result<Vec<ModelFile>> {
        let networks: Vec<&Network> = models.iter().filter_map(Model::network).collect();
        let batch = self.options.batch;
        let written = self.exported.files(&networks, self.options, self.folder.path())?;
        let mut written = written.into_iter();
        let mut files = Vec::with_capacity(models.len());
        for (number, model) in models.iter().enumerate() {
            let place = |name: &str| {
                matches!(model, Model::Traced(_)).then(|| {
                    self.folder.path().join(format!("{name}-{}", self.loaded.len() + number))
                })
            };
            let (path, mut dimensions) = match model {
                Model::File { path, dimensions } => {
                    (Some(path.to_path_buf()), (*dimensions).clone())
                }
                Model::Network(_) | Model::Traced(_) => (written.next(), BTreeMap::new()),
            };
            dimensions.entry("batch".into()).or_insert(batch);
            let (record, optimized) = (place("record"), place("optimized"));
            files.extend(path.map(|path| ModelFile { path, dimensions, record, optimized }));
        }
        Ok(files)
    }

    fn load_together(&mut self, models: &[Model<'_>]) -> Result<Vec<usize>> {
        if !self.traces() && models.iter().any(|model| matches!(model, Model::Traced(_))) {
            return Err(Error::Refused(format!(
                "ONNX Runtime's record tells nothing of the time on {}",
                self.options.provider.name()
            )));
        }
        let files = self.files(models)?;
        let optimized: Vec<Option<PathBuf>> =
            files.iter().map(|file| file.optimized.clone()).collect();
        let numbers = match self.connection.ask(&Request::Load { files })? {
            Answer::Loaded { models: numbers } if numbers.len() == models.len() => numbers,
            other => return Err(self.connection.unexpected(&other)),
        };
        for (model, optimized) in models.iter().zip(optimized) {
            let blocks = model.network().map_or(0, |network| network.blocks().len());
            self.loaded.push(optimized.map(|optimized| Traced { blocks, optimized }));
        }
        Ok(numbers)
    }
}

fn open(
    launch: &Launch,
    library: &Path,
    options: OrtOptions,
    folder: &Path,
    canary_s: Option<f64>,
) -> Result<(Connection, Fingerprint)> {
    let OrtOptions { provider, threads, batch } = options;
    let (library, cache) = (library.to_owned(), folder.to_owned());
    let mut connection = Connection::new(launch)?;
    match connection.ask(&Request::Open { library, threads, provider, cache, canary_s })? {
        Answer::Opened { fingerprint } => Ok((connection, Fingerprint { batch, ..fingerprint })),
        other => Err(connection.unexpected(&other)),
    }
}

impl Device for OrtDevice {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    /// The runtime's record has the host's times: on a GPU that is how long launching a kernel took.
    fn traces(&self) -> bool {
        self.options.provider.gpu().is_none()
    }

    /// Each session keeps what its calls needed.
    fn bytes(&self, network: &Network) -> u64 {
        memory::of_session(network, self.options.batch)
    }

    fn restart(&mut self) -> Result<()> {
        if !self.loaded.is_empty() {
            let (library, folder) = (&self.library, self.folder.path());
            self.connection.end();
            (self.connection, _) =
                open(&self.launch, library, self.options, folder, self.canary_s)?;
            self.loaded.clear();
        }
        Ok(())
    }

    fn load(&mut self, model: Model<'_>) -> Result<usize> {
        Ok(self.load_together(&[model])?[0])
    }

    /// Several at a time on processors. To build an engine for a GPU takes long, and all of it.
    fn load_all(
        &mut self,
        models: &[Model<'_>],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<usize>> {
        let together = if self.options.provider.gpu().is_none() { TOGETHER } else { 1 };
        let mut numbers = Vec::with_capacity(models.len());
        for models in models.chunks(together) {
            progress(numbers.len());
            numbers.extend(self.load_together(models)?);
        }
        Ok(numbers)
    }

    fn time(&mut self, bursts: &[Burst]) -> Result<Vec<Ran>> {
        match self.connection.ask(&Request::Time { bursts: bursts.to_vec() })? {
            Answer::Timed { ran, canary_s } if ran.len() == bursts.len() => {
                self.canary_s = canary_s;
                Ok(ran)
            }
            other => Err(self.connection.unexpected(&other)),
        }
    }

    fn trace(&mut self, model: usize) -> Result<BlockTimes> {
        let traced = self.loaded.get_mut(model).and_then(Option::take);
        let (record, timed) = match self.connection.ask(&Request::Trace { model })? {
            Answer::Traced { record, timed } => (record, timed),
            other => return Err(self.connection.unexpected(&other)),
        };
        let traced =
            traced.ok_or_else(|| Error::Refused(format!("model {model} is not traced")))?;
        let path = &traced.optimized;
        let optimized = std::fs::read(path).map_err(Error::io("read", path))?;
        let nodes = netfit_export::nodes(&optimized)?;
        let split = trace::read(&record, &nodes, traced.blocks, &timed)?;
        // Both are large; the folder goes with the device, so that a failure here loses nothing.
        let _ = (std::fs::remove_file(&record), std::fs::remove_file(path));
        Ok(split)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stderr)]
mod tests {
    use super::*;

    /// Behind the first block ONNX Runtime computes with whole numbers but for what it has no such operation for.
    #[test]
    fn what_is_quantised_is_fused() {
        let provider = Provider::Cpu { precision: Precision::Int8 };
        let options = OrtOptions { provider, ..OrtOptions::default() };
        let Ok(mut device) = OrtDevice::in_thread(options) else {
            eprintln!("skipped: no ONNX Runtime");
            return;
        };
        let text = "conv k3 s2 relu 3x16x16 -> 16x8x8\n\
                    mbconv k3 m32 s1 se8 hswish res 16x8x8 -> 16x8x8\n\
                    mbconv k5 m32 s2 relu6 16x8x8 -> 24x4x4\n\
                    pool 24x4x4 -> 24x1x1\nlinear 24x1x1 -> 10x1x1";
        let network: Network = text.parse().unwrap();
        device.load(Model::Traced(&network)).unwrap();
        let optimized = device.loaded[0].as_ref().unwrap().optimized.clone();
        let nodes = netfit_export::nodes(&std::fs::read(optimized).unwrap()).unwrap();
        let count = |op: &str| nodes.iter().filter(|node| node.op == op).count();
        assert_eq!(["QLinearConv", "QGemm", "Conv", "Gemm"].map(count), [8, 1, 1, 0]);
        assert_eq!(["QLinearAdd", "Add", "QLinearMul", "Mul"].map(count), [1, 0, 3, 0]);
        assert_eq!(
            ["QLinearGlobalAveragePool", "HardSigmoid", "Relu", "Clip"].map(count),
            [2, 3, 0, 0]
        );
    }
}
