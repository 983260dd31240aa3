//! The process in which models are timed: it answers requests, one JSON object a line, and does nothing else.

use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use netfit_latency_tables::Fingerprint;
use ort::{
    environment::Environment,
    session::{Session, SessionInputValue},
};
use serde::{Deserialize, Serialize};

use crate::{Burst, Error, Ran, Result, probe::Probe, runtime, session};

/// What the measuring process is asked. The first request is `Open`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Loads ONNX Runtime with one pool of threads.
    Open { library: PathBuf, threads: usize },
    /// Loads a model and fills its inputs; with `record` the runtime writes its record to a file that starts so, and
    /// the optimised model to `optimized`.
    Load {
        path: PathBuf,
        dimensions: BTreeMap<String, usize>,
        record: Option<PathBuf>,
        optimized: Option<PathBuf>,
    },
    /// Runs bursts.
    Time { bursts: Vec<Burst> },
    /// Ends a model's record and drops the model.
    Trace { model: usize },
}

/// What the measuring process answers, one for each request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// To `Open`.
    Opened { fingerprint: Fingerprint },
    /// To `Load`.
    Loaded { model: usize },
    /// To `Time`: one for each burst.
    Timed { ran: Vec<Ran> },
    /// To `Trace`: the record's file, and which calls in it were timed.
    Traced { record: PathBuf, timed: Vec<bool> },
    /// To a request that failed.
    Failed { message: String },
}

struct Held {
    session: Session,
    inputs: Vec<SessionInputValue<'static>>,
    /// Which of its calls were timed; kept for records only.
    timed: Option<Vec<bool>>,
}

struct Worker {
    environment: Option<Environment>,
    models: Vec<Option<Held>>,
    probe: Probe,
}

/// Answers requests until `input` ends.
///
/// # Errors
/// A pipe that breaks. Failed requests are answered, they end nothing.
pub fn serve(input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
    let mut worker = Worker { environment: None, models: Vec::new(), probe: Probe::start() };
    for line in input.lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(request) => worker.answer(request),
            Err(error) => Err(Error::Refused(format!("unknown request: {error}"))),
        };
        let answer = answer.unwrap_or_else(|error| Answer::Failed { message: error.to_string() });
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

impl Worker {
    fn answer(&mut self, request: Request) -> Result<Answer> {
        match request {
            Request::Open { library, threads } => {
                self.environment = Some(runtime::environment(&library, threads)?);
                Ok(Answer::Opened { fingerprint: fingerprint(&library, threads) })
            }
            Request::Load { path, dimensions, record, optimized } => {
                self.models.push(Some(self.load(&path, &dimensions, record, optimized)?));
                Ok(Answer::Loaded { model: self.models.len() - 1 })
            }
            Request::Time { bursts } => {
                let ran = bursts.iter().map(|burst| {
                    let calls = self.held(burst.model)?.burst(*burst)?;
                    let (elapsed_s, others_s, hertz) = self.probe.lap();
                    Ok(Ran { calls, elapsed_s, others_s, hertz })
                });
                Ok(Answer::Timed { ran: ran.collect::<Result<_>>()? })
            }
            Request::Trace { model } => {
                let held = self.held(model)?;
                let timed = held.timed.take().ok_or_else(|| unknown(model))?;
                let record = held.session.end_profiling()?.into();
                self.models[model] = None;
                Ok(Answer::Traced { record, timed })
            }
        }
    }

    fn load(
        &self,
        path: &Path,
        dimensions: &BTreeMap<String, usize>,
        record: Option<PathBuf>,
        optimized: Option<PathBuf>,
    ) -> Result<Held> {
        let environment = self
            .environment
            .as_ref()
            .ok_or_else(|| Error::Refused("expected the request `open` first".into()))?;
        let mut builder = runtime::builder(environment)?;
        let timed = record.is_some().then(Vec::new);
        if let Some(record) = record {
            builder = builder.with_profiling(record)?;
        }
        if let Some(optimized) = optimized {
            builder = builder.with_optimized_model_path(optimized)?;
        }
        let session = session::load(&mut builder, path)?;
        let inputs = runtime::inputs(path, &session, dimensions, 0)?;
        Ok(Held { session, inputs, timed })
    }

    fn held(&mut self, model: usize) -> Result<&mut Held> {
        self.models.get_mut(model).and_then(Option::as_mut).ok_or_else(|| unknown(model))
    }
}

fn unknown(model: usize) -> Error {
    Error::Setting {
        what: "number of a model",
        expected: "one that is loaded (and traced, for a trace)".into(),
        found: model.to_string(),
    }
}

impl Held {
    fn burst(&mut self, burst: Burst) -> Result<Vec<f64>> {
        let (mut warm_up, start) = (0, Instant::now());
        while warm_up < burst.warm_up
            && (warm_up == 0 || start.elapsed().as_secs_f64() < burst.warm_up_s)
        {
            self.call()?;
            warm_up += 1;
        }
        let mut times = Vec::with_capacity(burst.calls);
        let start = Instant::now();
        while times.len() < burst.calls || start.elapsed().as_secs_f64() < burst.seconds {
            times.push(self.call()?);
        }
        if let Some(timed) = &mut self.timed {
            timed.resize(timed.len() + warm_up, false);
            timed.resize(timed.len() + times.len(), true);
        }
        Ok(times)
    }

    /// Seconds of one call, from its inputs in memory to its outputs in memory.
    fn call(&mut self) -> Result<f64> {
        let start = Instant::now();
        let outputs = self.session.run(&self.inputs[..])?;
        let seconds = start.elapsed().as_secs_f64();
        drop(outputs);
        Ok(seconds)
    }
}

fn fingerprint(library: &Path, threads: usize) -> Fingerprint {
    Fingerprint {
        processor: processor(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        runtime: "onnxruntime".into(),
        runtime_version: runtime::version(library),
        provider: "CPUExecutionProvider".into(),
        threads,
        precision: "float32".into(),
        // The parent knows it: files are exported for one batch.
        batch: 1,
    }
}

/// The processor's name as Linux tells it; elsewhere its architecture.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
        })
    };
    field("model name")
        .or_else(|| Some(format!("{} {}", std::env::consts::ARCH, field("CPU part")?)))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
