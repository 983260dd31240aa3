//! What `make gpu-check` asks of this crate, as JSON.
//!
//! - `gpu_check clocks NETFIT_TORCH GPU`: mean seconds of a call of the largest network of `ofa-mbv3` by CUDA events
//!   and by the host's clock, for several batches and precisions.
//! - `gpu_check parity GPU`: the largest difference of logits between libtorch on the GPU and ONNX Runtime on the CPU.
#![allow(clippy::print_stdout)]

use std::{error::Error, path::Path};

use netfit_export::{ModelInfo, to_onnx};
use netfit_profiler::{
    Burst, CudaDevice, CudaOptions, Device as _, Model, Precision, Session,
    conversation::random_weights,
};
use netfit_spaces::Space;
use netfit_supernet::{Standalone, allow_tf32, channels_last, device};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CALLS: usize = 50;
/// Largest difference of logits in 32 bits, relative to the largest of them.
const PARITY: f32 = 1e-4;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let found = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["clocks", program, gpu] => clocks(Path::new(program), gpu.parse()?)?,
        ["parity", gpu] => parity(gpu.parse()?)?,
        _ => return Err("usage: gpu_check clocks NETFIT_TORCH GPU | gpu_check parity GPU".into()),
    };
    println!("{found}");
    Ok(())
}

fn clocks(program: &Path, gpu: usize) -> Result<Value> {
    let space = Space::preset("ofa-mbv3")?;
    let network = space.network(&space.largest());
    let mut rows = Vec::new();
    for (batch, precision) in [
        (1, Precision::Fp32),
        (8, Precision::Fp32),
        (64, Precision::Fp32),
        (64, Precision::Tf32),
        (64, Precision::Fp16),
        (64, Precision::Bf16),
    ] {
        let options = CudaOptions { gpu, batch, precision, flush: false };
        let mut device = CudaDevice::start(program, &["device-worker"], options)?;
        let model = device.load(Model::Network(&network))?;
        let burst = |warm_up, calls| {
            // Longer than any warm-up: JSON has no infinity.
            let (warm_up_s, seconds, patience_s) = (3600.0, 0.0, 0.0);
            Burst { model, warm_up, warm_up_s, calls, seconds, patience_s }
        };
        // The first burst asks the driver for the clock, the second has that question in its time, and the last has nothing
        // but its timed calls in it.
        let ran = device.time(&[burst(20, 1), burst(1, 1), burst(0, CALLS)])?;
        // Means on both sides: the median of calls may be longer than the mean, where a few are shorter.
        let calls = &ran[2].calls;
        let [events_s, host_s] =
            [calls.iter().sum(), ran[2].elapsed_s].map(|all: f64| all / calls.len() as f64);
        rows.push(json!({
            "batch": batch, "precision": precision.name(), "events_s": events_s, "host_s": host_s,
            "launch_bound": ran[2].launch_bound, "hertz": ran[2].hertz, "fingerprint": device.fingerprint(),
        }));
    }
    Ok(json!(rows))
}

fn parity(gpu: usize) -> Result<Value> {
    let space = Space::preset("ofa-mbv3")?;
    let network = space.network(&space.smallest());
    let weights = random_weights(&network);
    let gpu = device(&format!("cuda:{gpu}"))?;
    // Libtorch's own default is to let convolutions take 10 bits.
    allow_tf32(false);
    let module = Standalone::new(&network, &weights, gpu)?.folded();
    let shape = network.input();
    tch::manual_seed(1);
    let sides = [2, shape.channels, shape.height, shape.width];
    let images = Tensor::randn(sides.map(|side| side as i64), (Kind::Float, Device::Cpu));
    let logits = module.logits(&channels_last(&images, gpu)).to_device(Device::Cpu);
    let onnx = std::env::temp_dir().join(format!("netfit-gpu-check-{}.onnx", std::process::id()));
    std::fs::write(&onnx, to_onnx(&network, &weights, &ModelInfo::unlabelled(&network))?)?;
    let flat = Vec::<f32>::try_from(images.flatten(0, -1))?;
    let expected = Session::open(&onnx, 1).and_then(|mut session| session.logits(&flat, &sides));
    std::fs::remove_file(&onnx)?;
    let (found, expected) = (Vec::<f32>::try_from(logits.flatten(0, -1))?, expected?);
    // Unlike `f32::max`, this order keeps what is not a number.
    let most = |values: Vec<f32>| values.into_iter().max_by(f32::total_cmp).unwrap_or(f32::NAN);
    let difference = most(found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).collect());
    let largest = most(expected.iter().map(|logit| logit.abs()).collect());
    let told = json!({ "largest_difference": difference, "largest_logit": largest });
    let agree = difference <= PARITY * largest;
    if found.len() != expected.len() || !agree {
        return Err(format!("logits differ by more than {PARITY} of the largest: {told}").into());
    }
    Ok(told)
}
