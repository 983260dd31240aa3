//! A device without a clock.

use std::ops::Range;

use netfit_latency_tables::Fingerprint;
use netfit_spaces::{Block, Network, Op, Random};

use crate::{BlockTimes, Burst, Device, Error, Model, Ran, Result};

/// A device whose times follow from multiply-adds, with seeded noise and planted disturbances: everything about
/// measuring can be tested on it, and nothing depends on the machine.
#[derive(Clone, Debug)]
pub struct FakeDevice {
    /// A call takes this and `slope` times the sum of [`FakeDevice::block_s`].
    pub intercept_s: f64,
    /// See `intercept_s`.
    pub slope: f64,
    /// What a trace adds to the time of each kernel; a block has one for each of its layers.
    pub kernel_s: f64,
    /// Relative standard deviation of a call.
    pub noise: f64,
    /// Relative standard deviation of a process.
    pub process_noise: f64,
    /// Processes (counted over the device's life) in which the machine is in another state: all takes longer, by which
    /// factor.
    pub states: Vec<(Range<usize>, f64)>,
    /// Bursts (counted over the device's life) that take longer, and by which factor.
    pub disturbances: Vec<(Range<usize>, f64)>,
    /// Bursts beside which other processes use so many cores.
    pub loads: Vec<(Range<usize>, f64)>,
    /// Bursts whose calls share their core.
    pub shared: Vec<Range<usize>>,
    /// Bursts in which its frequency is another, and by which factor.
    pub frequencies: Vec<(Range<usize>, f64)>,
    /// Bursts in which it is throttled.
    pub throttled: Vec<Range<usize>>,
    /// Calls shorter than this are bound by their launch; `None` is a processor.
    pub launch_s: Option<f64>,
    /// Bytes that a loaded network takes.
    pub bytes: u64,
    /// Whether it can tell where the time of a traced network went.
    pub traces: bool,
    random: Random,
    process: f64,
    processes: usize,
    bursts: usize,
    warmed_up: usize,
    most_loaded: usize,
    models: Vec<Held>,
}

#[derive(Clone, Debug)]
struct Held {
    seconds: f64,
    traced: Option<Network>,
    calls: usize,
}

impl FakeDevice {
    /// A device without noise or disturbances: 20 us a call and 1.5 times the blocks' sum.
    pub fn new(seed: u64) -> Self {
        Self {
            intercept_s: 2e-5,
            slope: 1.5,
            kernel_s: 0.0,
            noise: 0.0,
            process_noise: 0.0,
            states: Vec::new(),
            disturbances: Vec::new(),
            loads: Vec::new(),
            shared: Vec::new(),
            frequencies: Vec::new(),
            throttled: Vec::new(),
            launch_s: None,
            bytes: 1,
            traces: true,
            random: Random::new(seed, "fake device"),
            process: 1.0,
            processes: 0,
            bursts: 0,
            warmed_up: 0,
            most_loaded: 0,
            models: Vec::new(),
        }
    }

    /// Seconds of a block in a trace: 1 us and 1 ns for 10 multiply-adds; a larger kernel costs more than its share.
    pub fn block_s(block: &Block) -> f64 {
        let rate = match block.op() {
            Op::Separable { kernel, .. } | Op::MbConv { kernel, .. } => 1.0 + *kernel as f64 / 10.0,
            _ => 1.0,
        };
        1e-6 + block.multiply_adds().0 as f64 * 1e-10 * rate
    }

    /// Seconds of an undisturbed call in a process of ordinary speed.
    pub fn network_s(&self, network: &Network) -> f64 {
        self.intercept_s + self.slope * network.blocks().iter().map(Self::block_s).sum::<f64>()
    }

    /// The most networks that were loaded at the same time.
    pub fn most_loaded(&self) -> usize {
        self.most_loaded
    }

    /// Calls that were made before timed ones.
    pub fn warmed_up(&self) -> usize {
        self.warmed_up
    }

    fn noisy(&mut self, seconds: f64) -> f64 {
        seconds * self.process * (self.noise * self.random.normal()).exp()
    }

    fn held(&mut self, model: usize) -> Result<&mut Held> {
        let count = self.models.len();
        self.models.get_mut(model).ok_or_else(|| Error::Setting {
            what: "number of a model",
            expected: format!("less than {count}"),
            found: model.to_string(),
        })
    }
}

/// What is planted there.
fn planted(all: &[(Range<usize>, f64)], index: usize) -> impl Iterator<Item = f64> {
    all.iter().filter(move |(range, _)| range.contains(&index)).map(|(_, value)| *value)
}

impl Device for FakeDevice {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            processor: "fake".into(),
            cores: 1,
            runtime: "fake".into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            provider: "fake".into(),
            threads: 1,
            precision: "float32".into(),
            batch: 1,
        }
    }

    fn traces(&self) -> bool {
        self.traces
    }

    fn bytes(&self, _: &Network) -> u64 {
        self.bytes
    }

    fn restart(&mut self) -> Result<()> {
        self.models.clear();
        let slow: f64 = planted(&self.states, self.processes).product();
        self.process = slow * (self.process_noise * self.random.normal()).exp();
        self.processes += 1;
        Ok(())
    }

    /// A file takes 1 ns a byte.
    fn load(&mut self, model: Model<'_>) -> Result<usize> {
        let (seconds, traced) = match model {
            Model::Network(network) => (self.network_s(network), None),
            Model::Traced(_) if !self.traces => {
                return Err(Error::Refused("this device cannot trace".into()));
            }
            Model::Traced(network) => (self.network_s(network), Some(network.clone())),
            Model::File { path, .. } => {
                let bytes = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
                (bytes as f64 * 1e-9, None)
            }
        };
        self.models.push(Held { seconds, traced, calls: 0 });
        self.most_loaded = self.most_loaded.max(self.models.len());
        Ok(self.models.len() - 1)
    }

    fn time(&mut self, bursts: &[Burst]) -> Result<Vec<Ran>> {
        let mut ran = Vec::new();
        for burst in bursts {
            let index = self.bursts;
            self.bursts += 1;
            self.warmed_up += burst.warm_up;
            let slow: f64 = planted(&self.disturbances, index).product();
            let load: f64 = planted(&self.loads, index).sum();
            let held = self.held(burst.model)?;
            held.calls += burst.calls;
            let seconds = held.seconds * slow;
            let calls: Vec<f64> = (0..burst.calls).map(|_| self.noisy(seconds)).collect();
            // As if each burst were filled: load is told over time.
            let elapsed_s = calls.iter().sum::<f64>().max(burst.warm_up_s + burst.seconds);
            let within =
                |ranges: &[Range<usize>]| ranges.iter().any(|range| range.contains(&index));
            let (sharing, throttled) = (within(&self.shared), within(&self.throttled));
            let shared = if sharing { calls.len() } else { 0 };
            let others_s = Some(load * elapsed_s);
            let hertz = Some(planted(&self.frequencies, index).fold(1e9, |hertz, by| hertz * by));
            let launch_bound = self.launch_s.map(|launch_s| seconds < launch_s);
            ran.push(Ran {
                calls,
                shared,
                replaced: 0,
                elapsed_s,
                others_s,
                hertz,
                throttled,
                launch_bound,
            });
        }
        Ok(ran)
    }

    fn trace(&mut self, model: usize) -> Result<BlockTimes> {
        let held = self.held(model)?;
        let calls = held.calls;
        let network = held.traced.take().ok_or_else(|| Error::Setting {
            what: "model to trace",
            expected: "a traced one".into(),
            found: model.to_string(),
        })?;
        let kernels: Vec<f64> =
            network.blocks().iter().map(|block| block.layers().len() as f64).collect();
        let recorded: Vec<f64> = network
            .blocks()
            .iter()
            .zip(&kernels)
            .map(|(block, kernels)| Self::block_s(block) + self.kernel_s * kernels)
            .collect();
        let mut calls_of = |seconds: f64| (0..calls).map(|_| self.noisy(seconds)).collect();
        let blocks = recorded.into_iter().map(&mut calls_of).collect();
        Ok(BlockTimes { blocks, kernels, overhead: calls_of(2e-6) })
    }
}
