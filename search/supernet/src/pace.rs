//! How fast a training goes.

use std::time::Instant;

use netfit_search::Progress;
use tch::Device;

use crate::context;

/// A training's pace since it began, or since it was gone on with.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    /// Steps that were done before.
    first: u64,
    batch: usize,
    device: Device,
}

impl Pace {
    /// From now on, after so many steps; each takes `batch` images.
    pub(crate) fn begin(first: u64, batch: usize, device: Device) -> Self {
        Self { start: Instant::now(), first, batch, device }
    }

    /// Where `done` of `total` steps are done, and the last one's loss.
    pub(crate) fn progress(&self, stage: &str, done: u64, total: u64, loss: f64) -> Progress {
        let images = done.saturating_sub(self.first) as f64 * self.batch as f64;
        let rate = images / self.start.elapsed().as_secs_f64().max(1e-9);
        let note = note(loss, rate, context::peak_memory(self.device));
        Progress { stage: stage.to_owned(), done, total, note }
    }
}

/// For example `loss 0.123, 954 images/s, 3.2 GiB`; only a GPU tells its memory.
fn note(loss: f64, rate: f64, peak_bytes: Option<u64>) -> String {
    let gibibytes = peak_bytes.map(|bytes| bytes as f64 / f64::from(1 << 30));
    let memory = gibibytes.map_or(String::new(), |found| format!(", {found:.1} GiB"));
    format!("loss {loss:.3}, {rate:.0} images/s{memory}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_tells_loss_rate_and_a_gpus_memory() {
        assert_eq!(note(0.1234, 953.6, None), "loss 0.123, 954 images/s");
        let bytes = Some(3 * (1 << 30) + (1 << 28));
        assert_eq!(note(2.0, 0.4, bytes), "loss 2.000, 0 images/s, 3.2 GiB");
    }

    #[test]
    fn steps_of_an_earlier_part_do_not_count() {
        let rate = |first| {
            let Progress { stage, done, total, note } =
                Pace::begin(first, 128, Device::Cpu).progress("elastic kernel", 10, 30, 0.5);
            assert_eq!((stage.as_str(), done, total), ("elastic kernel", 10, 30));
            let rate = note.strip_prefix("loss 0.500, ").and_then(|n| n.strip_suffix(" images/s"));
            rate.and_then(|rate| rate.parse::<f64>().ok())
        };
        assert_eq!(rate(10), Some(0.0));
        assert!(rate(9).is_some_and(|rate| rate > 0.0));
    }
}
