//! Seconds of single Once-for-All training steps: our side of `make bench-training` and `make gpu-check`.
//!
//! Reads `{"space", "genotype", "batch", "steps", "warm_up", "threads", "device", "precision"}` on standard input and
//! prints the seconds of every step as JSON: `full` (labels only) and `subnet` (distilled from the full network); and `losses`,
//! those of the full network's steps, the warm-up's included; and on a GPU the `peak_memory_bytes`.
#![allow(clippy::print_stdout)]

use std::{error::Error, io::stdin, time::Instant};

use netfit_search::job::Precision;
use netfit_spaces::{Block, Slot, Space};
use netfit_supernet::{
    Autocast, Mode, Sgd, Standalone, Supernet, allow_tf32, channels_last, keep_large_buffers,
    peak_memory,
};
use serde::Deserialize;
use tch::{Device, Kind, Reduction, Tensor};

#[derive(Deserialize)]
struct Job {
    space: String,
    genotype: String,
    batch: i64,
    steps: usize,
    warm_up: usize,
    threads: i32,
    #[serde(default = "cpu")]
    device: String,
    #[serde(default)]
    precision: Precision,
}

fn cpu() -> String {
    "cpu".to_owned()
}

fn main() -> Result<(), Box<dyn Error>> {
    keep_large_buffers();
    let job: Job = serde_json::from_reader(stdin())?;
    // Before libtorch is first asked about CUDA, as a seed does.
    let device = netfit_supernet::device(&job.device)?;
    tch::set_num_threads(job.threads);
    tch::manual_seed(0);
    let space = Space::load(&job.space)?;
    if device.is_cuda() {
        allow_tf32(job.precision == Precision::Tf32);
    }
    let autocast = Autocast::new(job.precision, device);
    let supernet = Supernet::new(&space, device, 0)?;
    let largest = space.largest();
    let shape = space.inputs()[0];
    let [channels, height, width] =
        [shape.channels, shape.height, shape.width].map(|side| side as i64);
    // Drawn on the CPU, so that they are the same everywhere.
    let images = Tensor::randn([job.batch, channels, height, width], (Kind::Float, Device::Cpu));
    let images = channels_last(&images, device);
    let statistics = supernet.calibrate(&largest, [images.shallow_clone()]);
    let weights = supernet.extract(&largest, &statistics);
    // As a training keeps it.
    let teacher = Standalone::new(&space.network(&largest), &weights, device)?.folded();
    let teacher = match job.precision {
        Precision::Bf16 => teacher.of_kind(Kind::BFloat16),
        Precision::Fp32 | Precision::Tf32 => teacher,
    };
    let classes = space.spec().classes as i64;
    let targets = Tensor::randint(classes, [job.batch], (Kind::Int64, Device::Cpu));
    let targets = targets.to_device(device);
    let mut sgd = Sgd::new(supernet.parameters(), 0.9, 3e-5);
    let mut samples = |blocks: &[(Slot, Block)], teacher: Option<&Standalone>| {
        let (mut seconds, mut losses) = (Vec::new(), Vec::new());
        for index in 0..job.warm_up + job.steps {
            let start = Instant::now();
            losses.push(step(&supernet, &mut sgd, autocast, blocks, (&images, &targets), teacher));
            if index >= job.warm_up {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        (seconds, losses)
    };
    let (full, losses) = samples(&space.blocks(&largest), None);
    let (subnet, _) = samples(&space.blocks(&space.parse(&job.genotype)?), Some(&teacher));
    let memory = peak_memory(device);
    println!(
        "{}",
        serde_json::json!({ "full": full, "subnet": subnet, "losses": losses, "peak_memory_bytes": memory })
    );
    Ok(())
}

fn step(
    supernet: &Supernet,
    sgd: &mut Sgd,
    autocast: Autocast,
    blocks: &[(Slot, Block)],
    (images, targets): (&Tensor, &Tensor),
    teacher: Option<&Standalone>,
) -> f64 {
    let parameters = supernet.parameters();
    let taking_part = supernet.taking_part(blocks);
    let none = None::<&Tensor>;
    let mut mode = Mode::Train { dropout: 0.0 };
    let logits = autocast.run(|| supernet.forward(images, blocks, &mut mode)).to_kind(Kind::Float);
    let mut loss = logits.cross_entropy_loss(targets, none, Reduction::Mean, -100, 0.1);
    if let Some(teacher) = teacher {
        let soft = autocast.run(|| teacher.logits(images)).softmax(-1, Kind::Float);
        loss += logits.cross_entropy_loss(&soft, none, Reduction::Mean, -100, 0.0);
    }
    parameters.clear_gradients();
    loss.backward();
    sgd.step(parameters, &taking_part, 0.01);
    // Waits for a GPU.
    loss.double_value(&[])
}
