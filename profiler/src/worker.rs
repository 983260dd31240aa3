//! The process in which one of ONNX Runtime's providers is timed: it answers requests and does nothing else.

use std::{
    io::{BufRead, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use netfit_latency_tables::Fingerprint;
use ort::{
    environment::Environment,
    session::{Session, SessionInputValue},
};

use crate::{
    Burst, Driver, Error, GpuClock, Provider, Ran, Reading, Result,
    canary::Canary,
    conversation::{Answer, ModelFile, Request, converse},
    cores::{cores, on_threads},
    model_folder,
    probe::Probe,
    runtime, session,
};

struct Held {
    session: Session,
    inputs: Vec<SessionInputValue<'static>>,
    /// Which of its calls were timed; kept for records only.
    timed: Option<Vec<bool>>,
}

/// ONNX Runtime, opened.
struct Opened {
    environment: Environment,
    provider: Provider,
    cache: PathBuf,
    /// The GPU's, if it is one.
    clock: Option<GpuClock>,
}

struct Worker {
    opened: Option<Opened>,
    models: Vec<Option<Held>>,
    probe: Probe,
    canary: Canary,
}

/// Answers requests until `input` ends. An [`OrtDevice`](crate::OrtDevice) ends this process by killing it: where `input` ends
/// instead, the device itself was killed, and its folder is removed.
///
/// # Errors
/// A pipe that breaks. Failed requests are answered, they end nothing.
pub fn serve(input: impl BufRead, output: impl Write) -> std::io::Result<()> {
    let mut worker = Worker::new();
    let ended = converse(|request| worker.answer(request), input, output);
    if let Some(opened) = worker.opened {
        model_folder::remove(&opened.cache);
    }
    ended
}

/// The same as a thread of the device's own process, which goes on to use its folder.
#[cfg(test)]
pub(crate) fn serve_in_thread(input: impl BufRead, output: impl Write) -> std::io::Result<()> {
    let mut worker = Worker::new();
    converse(|request| worker.answer(request), input, output)
}

impl Worker {
    fn new() -> Self {
        let (probe, canary) = (Probe::start(), Canary::new(None));
        Self { opened: None, models: Vec::new(), probe, canary }
    }

    fn answer(&mut self, request: Request) -> Result<Answer> {
        match request {
            Request::Open { library, threads, provider, cache, canary_s } => {
                self.canary = Canary::new(canary_s);
                let (opened, fingerprint) = Opened::new(&library, threads, provider, cache)?;
                self.opened = Some(opened);
                Ok(Answer::Opened { fingerprint })
            }
            Request::Load { files } => {
                let first = self.models.len();
                self.models.extend(self.load(&files)?.into_iter().map(Some));
                Ok(Answer::Loaded { models: (first..self.models.len()).collect() })
            }
            Request::Time { bursts } => {
                self.canary.settle();
                let ran = bursts.iter().map(|burst| {
                    check_asked(&self.probe)?;
                    let held = held(&mut self.models, burst.model)?;
                    let (calls, shared, replaced) = held.burst(*burst, &mut self.canary)?;
                    let (elapsed_s, others_s, hertz) = self.probe.lap();
                    let clock = self.opened.as_mut().and_then(|opened| opened.clock.as_mut());
                    let Reading { hertz, throttled } = match clock {
                        Some(clock) => clock.read(),
                        None => Reading { hertz, throttled: false },
                    };
                    Ok(Ran {
                        calls,
                        shared,
                        replaced,
                        elapsed_s,
                        others_s,
                        hertz,
                        throttled,
                        launch_bound: None,
                    })
                });
                let ran = ran.collect::<Result<_>>()?;
                Ok(Answer::Timed { ran, canary_s: self.canary.floor_s() })
            }
            Request::Trace { model } => {
                let held = held(&mut self.models, model)?;
                let timed = held.timed.take().ok_or_else(|| unknown(model))?;
                let record = held.session.end_profiling()?.into();
                self.models[model] = None;
                Ok(Answer::Traced { record, timed })
            }
            Request::OpenCuda { .. } | Request::LoadNetwork { .. } => {
                Err(Error::Refused("this process measures ONNX Runtime only".into()))
            }
        }
    }

    /// On all cores, since nothing is timed meanwhile. On a GPU each model runs twice: in its first call a session plans
    /// its memory (`TensorRT` may build its engine there), in the second it takes it.
    fn load(&self, files: &[ModelFile]) -> Result<Vec<Held>> {
        let opened = self
            .opened
            .as_ref()
            .ok_or_else(|| Error::Refused("expected the request `open` first".into()))?;
        let load = |file: &ModelFile| check_asked(&self.probe).and_then(|()| opened.load(file));
        let mut loaded: Vec<Held> =
            on_threads(cores(), files, load).into_iter().collect::<Result<_>>()?;
        if opened.provider.gpu().is_some() {
            for model in &mut loaded {
                check_asked(&self.probe)?;
                model.call()?;
                model.call()?;
            }
        }
        Ok(loaded)
    }
}

/// Nobody waits for what is loaded or measured once the process that asked was killed.
fn check_asked(probe: &Probe) -> Result<()> {
    if probe.is_asked() {
        return Ok(());
    }
    Err(Error::Refused("the process that asked has ended".into()))
}

fn held(models: &mut [Option<Held>], model: usize) -> Result<&mut Held> {
    models.get_mut(model).and_then(Option::as_mut).ok_or_else(|| unknown(model))
}

fn unknown(model: usize) -> Error {
    Error::Setting {
        what: "number of a model",
        expected: "one that is loaded (and traced, for a trace)".into(),
        found: model.to_string(),
    }
}

/// A timed call.
#[derive(Clone, Copy)]
struct Call {
    seconds: f64,
    shared: bool,
}

impl Held {
    /// Seconds of the timed calls, how many of them shared their core, and how many others were replaced.
    fn burst(&mut self, burst: Burst, canary: &mut Canary) -> Result<(Vec<f64>, usize, usize)> {
        let warm_up = burst.warmed_up(|| self.call().map(drop))?;
        let calls = if burst.calls > 0 { self.calls(burst, canary)? } else { Vec::new() };
        // Those that shared their core count where there are too few others: the last of them.
        let alone = calls.iter().filter(|call| !call.shared).count();
        let shared = burst.calls.saturating_sub(alone);
        let mut replaced = calls.len() - alone - shared;
        let mut timed = vec![false; warm_up];
        let mut seconds = Vec::with_capacity(alone + shared);
        for call in &calls {
            let counts = !call.shared || replaced == 0;
            replaced -= usize::from(!counts);
            timed.push(counts);
            if counts {
                seconds.push(call.seconds);
            }
        }
        if let Some(all) = &mut self.timed {
            all.extend(timed);
        }
        let replaced = calls.len() - seconds.len();
        Ok((seconds, shared, replaced))
    }

    /// Timed calls until there are enough that have their core to themselves, or patience ends.
    fn calls(&mut self, burst: Burst, canary: &mut Canary) -> Result<Vec<Call>> {
        let cold = burst.warm_up == 0;
        let mut calls: Vec<Call> = Vec::with_capacity(burst.calls);
        let (mut alone, mut alone_s) = (0, 0.0);
        let start = Instant::now();
        let mut shared = canary.shared();
        loop {
            while cold && shared && start.elapsed().as_secs_f64() < burst.patience_s {
                shared = canary.shared();
            }
            let seconds = self.call()?;
            let before = std::mem::replace(&mut shared, canary.shared());
            let call = Call { seconds, shared: before || shared };
            calls.push(call);
            if !call.shared {
                (alone, alone_s) = (alone + 1, alone_s + seconds);
            }
            let enough =
                |count: usize, seconds: f64| count >= burst.calls && seconds >= burst.seconds;
            let elapsed_s = start.elapsed().as_secs_f64();
            let patient = !cold && elapsed_s < burst.seconds + burst.patience_s;
            if enough(alone, alone_s) || (!patient && enough(calls.len(), elapsed_s)) {
                return Ok(calls);
            }
        }
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

impl Opened {
    /// Loads ONNX Runtime and tries its provider.
    fn new(
        library: &Path,
        threads: usize,
        provider: Provider,
        cache: PathBuf,
    ) -> Result<(Self, Fingerprint)> {
        let environment = runtime::environment(library, threads)?;
        drop(runtime::builder(&environment, provider, &cache)?);
        let mut fingerprint = Fingerprint {
            processor: processor(),
            cores: cores(),
            runtime: "onnxruntime".into(),
            runtime_version: runtime::version(library),
            provider: provider.name().into(),
            threads,
            precision: provider.precision().long_name().into(),
            // The parent knows it: files are exported for one batch.
            batch: 1,
        };
        let mut clock = None;
        if provider.gpu().is_some() {
            let driver = Driver::open()?;
            let version = driver.version().map(|version| format!(", driver {version}"));
            fingerprint.runtime_version += &version.unwrap_or_default();
            if let Some(chip) = provider.chip(&driver)? {
                (fingerprint.processor, fingerprint.cores) = (chip.name, chip.cores);
                clock = Some(GpuClock::new(driver, chip.uuid));
            }
        }
        Ok((Self { environment, provider, cache, clock }, fingerprint))
    }

    fn load(&self, file: &ModelFile) -> Result<Held> {
        let ModelFile { path, dimensions, record, optimized } = file;
        let mut builder = runtime::builder(&self.environment, self.provider, &self.cache)?;
        if let Some(record) = record {
            builder = builder.with_profiling(record)?;
        }
        if let Some(optimized) = optimized {
            builder = builder.with_optimized_model_path(optimized)?;
        }
        let session = session::load(&mut builder, path)?;
        let inputs = runtime::inputs(path, &session, dimensions, 0)?;
        Ok(Held { session, inputs, timed: record.is_some().then(Vec::new) })
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
