//! The process in which a GPU is timed.

use std::{
    io::{BufRead, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use netfit_profiler::{
    BlockTimes, Burst, CudaOptions, Probe, Ran, Reading,
    conversation::{Answer, Request, converse, random_weights},
};
use netfit_spaces::Network;
use netfit_supernet::{Refusal, Standalone};
use tch::Tensor;

use crate::{Error, Result, gpu::Gpu};

/// A call is bound by its launch where the host needs more than this share of its time to launch its kernels.
const LAUNCH: f64 = 0.9;

/// Answers requests until `input` ends.
///
/// # Errors
/// A pipe that breaks. Failed requests are answered, they end nothing.
pub fn serve(input: &mut dyn BufRead, output: &mut dyn Write) -> std::io::Result<()> {
    answer_with(Gpu::open, input, output)
}

fn answer_with(
    open: fn(CudaOptions) -> Result<Gpu>,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> std::io::Result<()> {
    let mut worker = None::<Worker>;
    let mut answer = |request| match request {
        Request::OpenCuda { options } => {
            let gpu = open(options)?;
            let fingerprint = gpu.fingerprint.clone();
            worker = Some(Worker { gpu, models: Vec::new(), probe: Probe::start() });
            Ok(Answer::Opened { fingerprint })
        }
        other => match worker.as_mut() {
            Some(worker) => worker.answer(other),
            None => Err(Error::Refused("expected the request `open-cuda` first".into())),
        },
    };
    converse(|request| in_its_words(|| answer(request)), input, output)
}

/// Where libtorch refuses an operation its Rust interface panics; that is an error like any other.
fn in_its_words<T>(carry_out: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(carry_out)).unwrap_or_else(|panic| {
        let Refusal { words, out_of_memory } = Refusal::of(panic.as_ref());
        let hint = if out_of_memory { "; hint: a smaller batch needs less" } else { "" };
        Err(Error::Torch { words, hint })
    })
}

struct Worker {
    gpu: Gpu,
    models: Vec<Option<Held>>,
    probe: Probe,
}

/// A network on the GPU, with its input.
struct Held {
    module: Standalone,
    images: Tensor,
    /// The times of its blocks in each timed call; kept for traced models only.
    traced: Option<Vec<Vec<f64>>>,
}

/// A timed call.
#[derive(Clone, Copy)]
struct Call {
    seconds: f64,
    /// Until the host had launched everything.
    launch_s: f64,
}

impl Worker {
    fn answer(&mut self, request: Request) -> Result<Answer> {
        match request {
            Request::LoadNetwork { network, traced } => {
                let held = self.load(&network, traced)?;
                self.models.push(Some(held));
                Ok(Answer::Loaded { models: vec![self.models.len() - 1] })
            }
            Request::Time { bursts } => {
                let ran = bursts.iter().map(|burst| self.burst(burst)).collect::<Result<_>>()?;
                Ok(Answer::Timed { ran, canary_s: None })
            }
            Request::Trace { model } => {
                let held = held(&mut self.models, model)?;
                let calls = held.traced.take().ok_or_else(|| unknown(model))?;
                let times = split(held.module.network(), &calls);
                self.models[model] = None;
                Ok(Answer::Split { times })
            }
            Request::OpenCuda { .. } | Request::Open { .. } | Request::Load { .. } => {
                Err(Error::Refused("this process measures networks on a GPU only".into()))
            }
        }
    }

    fn load(&mut self, network: &str, traced: bool) -> Result<Held> {
        let network: Network = network.parse()?;
        let weights = random_weights(&network);
        let module = Standalone::new(&network, &weights, self.gpu.device)?.folded();
        let shape = network.input();
        Ok(Held {
            module: module.of_kind(self.gpu.kind),
            images: self.gpu.images([shape.channels, shape.height, shape.width]),
            traced: traced.then(Vec::new),
        })
    }

    fn burst(&mut self, burst: &Burst) -> Result<Ran> {
        if !self.probe.is_asked() {
            return Err(Error::Refused("the process that asked has ended".into()));
        }
        let held = held(&mut self.models, burst.model)?;
        burst.warmed_up(|| held.call(&mut self.gpu).map(drop))?;
        let (mut calls, start) = (Vec::with_capacity(burst.calls), Instant::now());
        while calls.len() < burst.calls || start.elapsed().as_secs_f64() < burst.seconds {
            self.gpu.flush()?;
            let call = held.call(&mut self.gpu)?;
            if let Some(traced) = &mut held.traced {
                let blocks = held.module.network().blocks().len();
                let seconds = (0..blocks).map(|block| self.gpu.clock.seconds(block, block + 1));
                traced.push(seconds.collect::<Result<_>>()?);
            }
            calls.push(call);
        }
        let bound = calls.iter().filter(|call| call.launch_s > LAUNCH * call.seconds).count();
        let (elapsed_s, others_s, _) = self.probe.lap();
        let Reading { hertz, throttled } = self.gpu.reading();
        Ok(Ran {
            calls: calls.iter().map(|call| call.seconds).collect(),
            shared: 0,
            replaced: 0,
            elapsed_s,
            others_s,
            hertz,
            throttled,
            launch_bound: Some(2 * bound > calls.len()),
        })
    }
}

impl Held {
    /// One call, from an idle device to an idle device. Moment 0 is its start, the last one its end; a traced model has
    /// one after each block between them.
    fn call(&self, gpu: &mut Gpu) -> Result<Call> {
        let (start, mut last, mut failed) = (Instant::now(), 0, None);
        gpu.clock.mark(0)?;
        let mark_blocks = self.traced.is_some();
        let clock = &mut gpu.clock;
        let mut mark = || {
            last += 1;
            failed = failed.take().or(clock.mark(last).err());
        };
        let logits = if mark_blocks {
            self.module.logits_by_block(&self.images, &mut mark)
        } else {
            let logits = self.module.logits(&self.images);
            mark();
            logits
        };
        let launch_s = start.elapsed().as_secs_f64();
        if let Some(error) = failed {
            return Err(error);
        }
        gpu.clock.wait()?;
        drop(logits);
        Ok(Call { seconds: gpu.clock.seconds(0, last)?, launch_s })
    }
}

/// By block in place of by call. Blocks follow each other without a gap, so nothing is left of a call; its share that
/// belongs to no block shows when whole networks are calibrated.
fn split(network: &Network, calls: &[Vec<f64>]) -> BlockTimes {
    let blocks = network.blocks();
    let of_block = |block: usize| calls.iter().map(|call| call[block]).collect();
    BlockTimes {
        blocks: (0..blocks.len()).map(of_block).collect(),
        kernels: blocks.iter().map(|block| block.layers().len() as f64).collect(),
        overhead: vec![0.0; calls.len()],
    }
}

fn held(models: &mut [Option<Held>], model: usize) -> Result<&mut Held> {
    models.get_mut(model).and_then(Option::as_mut).ok_or_else(|| unknown(model))
}

fn unknown(model: usize) -> Error {
    Error::Refused(format!(
        "number of a model: expected one that is loaded (and traced, for a trace), found {model}"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod on_a_gpu;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_profiler::{
        CudaDevice, Device as _, Model, Precision, ProfileOptions, Protocol, profile,
    };
    use netfit_spaces::Space;

    use super::*;

    /// The process with the CPU in the GPU's place: all but the events and the stream is the same.
    fn on_cpu(input: &mut dyn BufRead, output: &mut dyn Write) -> std::io::Result<()> {
        answer_with(Gpu::none, input, output)
    }

    fn device(precision: Precision) -> CudaDevice {
        tch::set_num_threads(1);
        let options = CudaOptions { batch: 2, precision, ..CudaOptions::default() };
        CudaDevice::in_thread(on_cpu, options).unwrap()
    }

    fn burst(model: usize, calls: usize) -> Burst {
        let (warm_up, warm_up_s, seconds, patience_s) = (1, 0.0, 0.0, 0.0);
        Burst { model, warm_up, warm_up_s, calls, seconds, patience_s }
    }

    fn network() -> Network {
        "conv k3 s2 hswish 1x16x16 -> 16x8x8\n\
         mbconv k5 m64 s1 se8 hswish res 16x8x8 -> 16x8x8\npool 16x8x8 -> 16x1x1\nlinear 16x1x1 -> 10x1x1"
            .parse()
            .unwrap()
    }

    #[test]
    fn blocks_share_out_the_time_of_their_network() {
        let (mut device, network) = (device(Precision::Fp32), network());
        let (plain, traced) = (Model::Network(&network), Model::Traced(&network));
        assert_eq!((device.load(plain).unwrap(), device.load(traced).unwrap()), (0, 1));
        let ran = device.time(&[burst(0, 3), burst(1, 4), burst(1, 2)]).unwrap();
        assert_eq!(ran.iter().map(|ran| ran.calls.len()).collect::<Vec<_>>(), [3, 4, 2]);
        assert!(ran.iter().flat_map(|ran| &ran.calls).all(|seconds| *seconds > 0.0));
        // A CPU is done when it returns: launching is all that there is.
        assert!(ran.iter().all(|ran| ran.launch_bound == Some(true)));
        let times = device.trace(1).unwrap();
        assert_eq!(times.blocks.len(), 4);
        let whole: Vec<f64> = ran[1..].iter().flat_map(|ran| ran.calls.clone()).collect();
        for (call, whole) in whole.iter().enumerate() {
            let sum: f64 = times.blocks.iter().map(|block| block[call]).sum();
            assert!((sum - whole).abs() < 1e-12, "{sum} of {whole}");
        }
        assert!(device.trace(1).is_err() && device.trace(0).is_err());
    }

    #[test]
    fn what_libtorch_refuses_is_told_in_its_words_and_the_device_goes_on() {
        // A petabyte of images.
        let options = CudaOptions { batch: 1 << 40, ..CudaOptions::default() };
        let mut device = CudaDevice::in_thread(on_cpu, options).unwrap();
        let message = device.load(Model::Network(&network())).unwrap_err().to_string();
        assert!(message.starts_with("libtorch: ") && !message.contains("frame"), "{message}");
        assert!(message.contains("hint: a smaller batch"), "{message}");
        assert_eq!(device.time(&[]).unwrap(), []);
    }

    #[test]
    fn requests_out_of_order_are_answered() {
        let mut device = device(Precision::Fp32);
        let message = device.time(&[burst(3, 1)]).unwrap_err().to_string();
        assert!(message.contains("found 3"), "{message}");
        let mut output = Vec::new();
        let input = "{\"request\":\"time\",\"bursts\":[]}\nnonsense\n";
        on_cpu(&mut input.as_bytes(), &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        assert!(output.contains("`open-cuda` first") && output.contains("unknown request"));
    }

    #[test]
    fn numbers_of_16_bits_run_through_a_whole_network() {
        for precision in [Precision::Fp16, Precision::Bf16] {
            let (mut device, network) = (device(precision), network());
            let fingerprint = device.fingerprint();
            assert_eq!(
                (fingerprint.precision.as_str(), fingerprint.batch),
                (precision.long_name(), 2)
            );
            assert_eq!(device.load(Model::Network(&network)).unwrap(), 0);
            assert_eq!(device.time(&[burst(0, 2)]).unwrap()[0].calls.len(), 2);
        }
    }

    /// A table of a small space, end to end.
    #[test]
    fn a_space_is_profiled() {
        let space = Space::preset("ofa-28").unwrap();
        let (rounds, most_rounds, burst_s) = (3, 3, 0.0);
        let protocol = Protocol {
            rounds,
            most_rounds,
            warm_up: 1,
            burst_s,
            wait_s: 0.0,
            ..Protocol::default()
        };
        let options = ProfileOptions { protocol, accept_noise: true, ..ProfileOptions::default() };
        let table = profile(&space, &mut device(Precision::Fp32), &options, &mut |_| {}).unwrap();
        assert_eq!(table.entries().count(), space.distinct_blocks().len());
        assert_eq!(table.fingerprint.provider, "CUDA");
    }

    /// Without a GPU the reason is told, and nothing runs on the CPU in its place.
    #[test]
    fn a_gpu_that_is_missing_is_an_error() {
        let options = CudaOptions { gpu: 99, batch: 1, ..CudaOptions::default() };
        let message = CudaDevice::in_thread(serve, options).unwrap_err().to_string();
        assert!(message.contains("`cuda:99`") && message.contains("hint"), "{message}");
    }
}
