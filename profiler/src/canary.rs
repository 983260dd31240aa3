//! Whether something else runs on the same core: the core's other hardware thread (SMT), or another virtual machine on
//! it. The operating system does not tell, and whatever runs meanwhile takes up to twice its time.
//!
//! A canary is some microseconds of arithmetic that keeps a core's units busy and touches no memory. It takes longer
//! where it has to share them.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Rounds of arithmetic of one run: a few microseconds.
const ROUNDS: u64 = 1500;
/// Runs of which the shortest counts, since interrupts hit single runs.
const RUNS: usize = 3;
/// A canary of more than so many times the shortest one of late shares its core.
const SHARED: f64 = 1.15;
/// "Of late" is the last [`SLOTS`] times this: what lasts longer is the machine's speed now, not a passing disturbance.
const SLOT: Duration = Duration::from_millis(250);
const SLOTS: usize = 8;
/// Time to find out how long a canary takes, where nothing is known of late.
const SETTLE: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct Canary {
    start: Instant,
    /// The shortest run of each of the last slots of time, with the slot's number.
    shortest: [(u64, f64); SLOTS],
}

impl Canary {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), shortest: [(0, f64::INFINITY); SLOTS] }
    }

    /// Finds out how long a canary takes, unless it is known.
    pub(crate) fn settle(&mut self) {
        if self.floor_s(self.slot()).is_finite() {
            return;
        }
        let start = Instant::now();
        while start.elapsed() < SETTLE {
            self.shared();
        }
    }

    /// Whether something shares the core now.
    pub(crate) fn shared(&mut self) -> bool {
        let run_s = (0..RUNS).map(|_| run_s()).fold(f64::INFINITY, f64::min);
        self.compare(self.slot(), run_s)
    }

    fn slot(&self) -> u64 {
        (self.start.elapsed().as_nanos() / SLOT.as_nanos()) as u64
    }

    fn compare(&mut self, slot: u64, run_s: f64) -> bool {
        let shortest = &mut self.shortest[(slot % SLOTS as u64) as usize];
        if shortest.0 != slot {
            *shortest = (slot, f64::INFINITY);
        }
        shortest.1 = shortest.1.min(run_s);
        run_s > SHARED * self.floor_s(slot)
    }

    fn floor_s(&self, slot: u64) -> f64 {
        let of_late = self.shortest.iter().filter(|(then, _)| then + SLOTS as u64 > slot);
        of_late.map(|(_, run_s)| *run_s).fold(f64::INFINITY, f64::min)
    }
}

/// Seconds of six chains of arithmetic that do not wait for each other.
fn run_s() -> f64 {
    let start = Instant::now();
    let [mut a, mut b, mut c, mut d, mut e, mut f] = black_box([1_u64, 2, 3, 4, 5, 6]);
    for round in 0..black_box(ROUNDS) {
        a = a.wrapping_mul(3).wrapping_add(round);
        b ^= b << 1;
        c = c.wrapping_add(c >> 3);
        d = d.wrapping_mul(5).wrapping_add(1);
        e ^= round.wrapping_add(e);
        f = f.wrapping_add(f ^ round);
    }
    black_box([a, b, c, d, e, f]);
    start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slower_than_of_late_shares_its_core_until_it_lasts() {
        let mut canary = Canary::new();
        assert!(!canary.compare(0, 2e-6), "nothing is known yet");
        assert!(!canary.compare(0, 1e-6));
        assert!(canary.compare(1, 2e-6));
        assert!(!canary.compare(2, 1.1e-6));
        // The fast slots pass; the next fast one counts again.
        assert!(canary.compare(9, 2e-6));
        assert!(!canary.compare(10, 2e-6));
        assert!(!canary.compare(11, 1e-6));
        assert!(canary.compare(12, 1.5e-6));
    }

    #[test]
    fn a_canary_takes_time() {
        let mut canary = Canary::new();
        canary.settle();
        let floor_s = canary.floor_s(canary.slot());
        assert!(floor_s > 0.0 && floor_s.is_finite(), "{floor_s}");
    }
}
