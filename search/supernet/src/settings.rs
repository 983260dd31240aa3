//! Settings of a training: what is allowed, and what it means on this machine.

use netfit_data::Splits;
use netfit_search::job::{Precision, Training};
use netfit_spaces::Space;
use tch::Device;

use crate::{Error, Result, context, cuda};

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

/// All cores where the setting is 0.
fn threads(training: &Training) -> usize {
    match training.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// Checks settings, and that the data fit the space and them.
pub(crate) fn check(space: &Space, splits: &Splits, training: &Training) -> Result<()> {
    let range = |name, expected, found: f64, good: bool| {
        if good { Ok(()) } else { Err(Error::Setting { name, expected, found: found.to_string() }) }
    };
    let t = training;
    range("batch", "at least 2", t.batch as f64, t.batch >= 2)?;
    range("full_epochs", "more than 0", t.full_epochs, t.full_epochs > 0.0)?;
    range("shrink_epochs", "at least 0", t.shrink_epochs, t.shrink_epochs >= 0.0)?;
    range("full_learning_rate", "more than 0", t.full_learning_rate, t.full_learning_rate > 0.0)?;
    range(
        "shrink_learning_rate",
        "more than 0",
        t.shrink_learning_rate,
        t.shrink_learning_rate > 0.0,
    )?;
    range("warmup", "0 to 1", t.warmup, (0.0..=1.0).contains(&t.warmup))?;
    range("momentum", "0 to below 1", t.momentum, (0.0..1.0).contains(&t.momentum))?;
    range("weight_decay", "at least 0", t.weight_decay, t.weight_decay >= 0.0)?;
    range(
        "label_smoothing",
        "0 to below 1",
        t.label_smoothing,
        (0.0..1.0).contains(&t.label_smoothing),
    )?;
    range("dropout", "0 to below 1", t.dropout, (0.0..1.0).contains(&t.dropout))?;
    range("distillation", "at least 0", t.distillation, t.distillation >= 0.0)?;
    range(
        "calibration_images",
        "at least 2",
        t.calibration_images as f64,
        t.calibration_images >= 2,
    )?;
    range("checkpoint_steps", "at least 1", t.checkpoint_steps as f64, t.checkpoint_steps >= 1)?;
    let images = |expected: String, found: String| Err(Error::Images { expected, found });
    let (wanted, found) = (space.inputs()[0], splits.train.shape);
    if wanted != found {
        return images(
            format!("images of {wanted} as in space `{}`", space.name()),
            found.to_string(),
        );
    }
    let (wanted, found) = (space.spec().classes, splits.train.labels.len());
    if wanted != found {
        return images(
            format!("{wanted} classes as in space `{}`", space.name()),
            found.to_string(),
        );
    }
    if splits.train.len() < t.batch {
        let wanted = format!("at least one batch of {} training images", t.batch);
        return images(wanted, splits.train.len().to_string());
    }
    Ok(())
}
