//! Settings of a training: what is allowed, and what it means on this machine.

use netfit_data::Splits;
use netfit_search::job::{Precision, Training};
use netfit_spaces::Space;
use tch::Device;

use crate::{
    Error, Result, context, cuda,
    range::{
        self,
        Range::{AtLeast, Below1, NotNegative, Positive, Share},
    },
};

/// The device that a name stands for.
///
/// # Errors
/// An unknown name, or a GPU that is not there: never a silent fall-back to the CPU.
pub fn device(name: &str) -> Result<Device> {
    let fail = |reason: String| Error::Device { device: name.to_owned(), reason };
    let index = match name.strip_prefix("cuda:").map(str::parse::<usize>) {
        None if name == "cpu" => return Ok(Device::Cpu),
        Some(Ok(index)) => index,
        _ => return Err(fail("expected `cpu` or `cuda:N`".to_owned())),
    };
    let closed = "libtorch's CUDA part cannot be opened";
    let remedy = "`make setup` on a machine with a GPU installs it";
    cuda::open().map_err(|reason| fail(format!("{closed}: {reason}; {remedy}")))?;
    let none = "libtorch finds no GPU here; an NVIDIA driver that is missing or older than this libtorch's CUDA \
                looks like that, `netfit devices` tells";
    match usize::try_from(tch::Cuda::device_count()).unwrap_or(0) {
        0 => Err(fail(none.to_owned())),
        count if index >= count => {
            Err(fail(format!("the last GPU that libtorch finds here is `cuda:{}`", count - 1)))
        }
        _ => Ok(Device::Cuda(index)),
    }
}

/// Sets libtorch up for a training, and says where it trains.
///
/// # Errors
/// As [`device`].
pub(crate) fn set_up(training: &Training) -> Result<Device> {
    let device = device(&training.device)?;
    tch::set_num_threads(threads(training) as i32);
    if device.is_cuda() {
        context::allow_tf32(training.precision == Precision::Tf32);
        context::deterministic(training.deterministic);
    }
    Ok(device)
}

/// All cores where the setting is 0, and never more: each step would wait for a thread that does not run.
fn threads(training: &Training) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match training.threads {
        0 => cores,
        threads => threads.min(cores),
    }
}

/// Checks settings, and that the data fit the space and them.
pub(crate) fn check(space: &Space, splits: &Splits, training: &Training) -> Result<()> {
    let t = training;
    let ranges = [
        ("batch", AtLeast(2), t.batch as f64),
        ("full_epochs", Positive, t.full_epochs),
        ("shrink_epochs", NotNegative, t.shrink_epochs),
        ("full_learning_rate", Positive, t.full_learning_rate),
        ("shrink_learning_rate", Positive, t.shrink_learning_rate),
        ("warmup", Share, t.warmup),
        ("momentum", Below1, t.momentum),
        ("weight_decay", NotNegative, t.weight_decay),
        ("label_smoothing", Below1, t.label_smoothing),
        ("dropout", Below1, t.dropout),
        ("distillation", NotNegative, t.distillation),
        ("calibration_images", AtLeast(2), t.calibration_images as f64),
        ("checkpoint_steps", AtLeast(1), t.checkpoint_steps as f64),
    ];
    range::check("training", &ranges)?;
    check_images(space, splits, training)
}

fn check_images(space: &Space, splits: &Splits, training: &Training) -> Result<()> {
    let fail = |expected: String, found: String, remedy: &'static str| {
        Err(Error::Images { expected, found, remedy })
    };
    let (name, train) = (space.name(), &splits.train);
    let (wanted, found) = (space.inputs()[0], train.shape);
    if wanted != found {
        let remedy = "`Space::for_task` makes it a space of these images";
        return fail(format!("images of {wanted} as in space `{name}`"), found.to_string(), remedy);
    }
    let (wanted, found) = (space.spec().classes, train.labels.len());
    if wanted != found {
        let remedy = "`Space::for_task` makes it a space of these classes";
        return fail(format!("{wanted} classes as in space `{name}`"), found.to_string(), remedy);
    }
    let (pad, side) = (training.pad, train.shape.height.min(train.shape.width));
    if pad >= side {
        let expected = format!("less than the {side} pixels of a side");
        return Err(Error::setting("[training] pad", &expected, &pad));
    }
    if training.holdout > 0.0 && splits.holdout.is_empty() {
        let wanted = "held-out images of at least one class".to_owned();
        return fail(wanted, "one image in each class".to_owned(), "add images");
    }
    let batch = training.batch;
    if train.len() < batch {
        let wanted = format!("at least one batch of {batch} training images");
        let remedy = "lower `[training] batch`, or hold out fewer images";
        return fail(wanted, train.len().to_string(), remedy);
    }
    Ok(())
}
