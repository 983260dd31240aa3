//! What the rest of the machine does while a model is timed.

use std::{fs, os::unix::process::parent_id, time::Instant};

/// Length of a tick of `/proc/stat`, seconds: the kernel's user interface fixes it.
const TICK_S: f64 = 0.01;

/// A clock that also tells how much processor time others took since its last lap. Linux only: elsewhere nothing is
/// known of others.
#[derive(Debug)]
pub struct Probe {
    time: Instant,
    /// The process that asks.
    parent: u32,
    busy_s: Option<f64>,
    own_s: Option<f64>,
}

impl Probe {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { time: Instant::now(), parent: parent_id(), busy_s: busy_s(), own_s: own_s() }
    }

    /// Whether the process that asks is still there: where it was killed, nobody waits for what is measured.
    pub fn is_asked(&self) -> bool {
        self.parent == parent_id()
    }

    /// Seconds since the start or the last lap, processor seconds of others in them, and the frequency now.
    pub fn lap(&mut self) -> (f64, Option<f64>, Option<f64>) {
        let now = Self::start();
        let since = |later: Option<f64>, earlier: Option<f64>| Some(later? - earlier?);
        let others = since(since(now.busy_s, self.busy_s), since(now.own_s, self.own_s));
        let elapsed_s = now.time.duration_since(self.time).as_secs_f64();
        *self = Self { parent: self.parent, ..now };
        (elapsed_s, others, hertz())
    }
}

/// Processor seconds that all processes have used since the machine started, the host's share (steal) included.
fn busy_s() -> Option<f64> {
    busy_ticks(&fs::read_to_string("/proc/stat").ok()?).map(|ticks| ticks as f64 * TICK_S)
}

/// user, nice, system, irq, softirq and steal of the line of all processors.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let take = |index: usize| fields.get(index).copied();
    [0, 1, 2, 5, 6, 7].into_iter().map(take).sum()
}

/// Processor seconds that this process and the one that asks it have used: all their threads, in nanoseconds each.
fn own_s() -> Option<f64> {
    let nanoseconds: f64 = ["self".to_owned(), parent_id().to_string()]
        .iter()
        .filter_map(|process| fs::read_dir(format!("/proc/{process}/task")).ok())
        .flat_map(Iterator::flatten)
        .filter_map(|task| {
            // A thread that has just ended has nothing to tell.
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        })
        .sum();
    (nanoseconds > 0.0).then_some(nanoseconds * 1e-9)
}

/// The frequency of the processor on which this thread runs.
fn hertz() -> Option<f64> {
    let processor = processor(&fs::read_to_string("/proc/thread-self/stat").ok()?)?;
    let path = format!("/sys/devices/system/cpu/cpu{processor}/cpufreq/scaling_cur_freq");
    let kilohertz: f64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some(kilohertz * 1e3)
}

/// The processor on which a thread has run last: field 39. The second one, a name in brackets, may hold anything.
fn processor(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(39 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_tells_its_processor_whatever_its_name() {
        let after: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b (c) {}", after.join(" "));
        assert_eq!(processor(&stat), Some(39));
        assert_eq!(processor("7 (short) S 1 2"), None);
        assert!(processor(&fs::read_to_string("/proc/thread-self/stat").unwrap()).is_some());
    }

    #[test]
    fn idle_and_waiting_are_no_load() {
        let stat = "cpu  10 20 30 4000 500 6 7 8 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy_ticks(stat), Some(10 + 20 + 30 + 6 + 7 + 8));
        assert_eq!(busy_ticks("intr 5\n"), None);
    }
}
