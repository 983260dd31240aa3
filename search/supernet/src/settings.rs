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
/// As [`device`], or more threads than cores.
pub(crate) fn set_up(training: &Training) -> Result<Device> {
    let device = device(&training.device)?;
    tch::set_num_threads(threads(training)? as i32);
    if device.is_cuda() {
        context::allow_tf32(training.precision == Precision::Tf32);
        context::deterministic(training.deterministic);
    }
    Ok(device)
}

/// All cores where the setting is 0. On more threads than that every step waits for one that does not run.
fn threads(training: &Training) -> Result<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match training.threads {
        0 => Ok(cores),
        threads if threads <= cores => Ok(threads),
        threads => Err(Error::Setting {
            name: "[training] threads",
            expected: format!("0 for all cores, or at most the {cores} of this machine"),
            found: threads.to_string(),
        }),
    }
}

/// Checks settings, and that the data fit the space and them.
pub(crate) fn check(space: &Space, splits: &Splits, training: &Training) -> Result<()> {
    let range = |name, expected, found: f64, good: bool| {
        let setting = |expected: &str| {
            Err(Error::Setting { name, expected: expected.to_owned(), found: found.to_string() })
        };
        if good { Ok(()) } else { setting(expected) }
    };
    let t = training;
    range("[training] batch", "at least 2", t.batch as f64, t.batch >= 2)?;
    range("[training] full_epochs", "more than 0", t.full_epochs, t.full_epochs > 0.0)?;
    range("[training] shrink_epochs", "at least 0", t.shrink_epochs, t.shrink_epochs >= 0.0)?;
    range(
        "[training] full_learning_rate",
        "more than 0",
        t.full_learning_rate,
        t.full_learning_rate > 0.0,
    )?;
    range(
        "[training] shrink_learning_rate",
        "more than 0",
        t.shrink_learning_rate,
        t.shrink_learning_rate > 0.0,
    )?;
    range("[training] warmup", "0 to 1", t.warmup, (0.0..=1.0).contains(&t.warmup))?;
    range("[training] momentum", "0 to below 1", t.momentum, (0.0..1.0).contains(&t.momentum))?;
    range("[training] weight_decay", "at least 0", t.weight_decay, t.weight_decay >= 0.0)?;
    range(
        "[training] label_smoothing",
        "0 to below 1",
        t.label_smoothing,
        (0.0..1.0).contains(&t.label_smoothing),
    )?;
    range("[training] dropout", "0 to below 1", t.dropout, (0.0..1.0).contains(&t.dropout))?;
    range("[training] distillation", "at least 0", t.distillation, t.distillation >= 0.0)?;
    range(
        "[training] calibration_images",
        "at least 2",
        t.calibration_images as f64,
        t.calibration_images >= 2,
    )?;
    range(
        "[training] checkpoint_steps",
        "at least 1",
        t.checkpoint_steps as f64,
        t.checkpoint_steps >= 1,
    )?;
    let images = |expected: String, found: String, remedy: &'static str| {
        Err(Error::Images { expected, found, remedy })
    };
    let (wanted, found) = (space.inputs()[0], splits.train.shape);
    if wanted != found {
        return images(
            format!("images of {wanted} as in space `{}`", space.name()),
            found.to_string(),
            "`Space::for_task` makes it a space of these images",
        );
    }
    let (wanted, found) = (space.spec().classes, splits.train.labels.len());
    if wanted != found {
        return images(
            format!("{wanted} classes as in space `{}`", space.name()),
            found.to_string(),
            "`Space::for_task` makes it a space of these classes",
        );
    }
    if splits.train.len() < t.batch {
        let wanted = format!("at least one batch of {} training images", t.batch);
        let found = splits.train.len().to_string();
        return images(wanted, found, "lower `[training] batch`, or hold out fewer images");
    }
    Ok(())
}
