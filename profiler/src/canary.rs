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
/// Neighbours on a cloud machine come and go within seconds.
const SLOT: Duration = Duration::from_secs(2);
const SLOTS: usize = 4;
/// Time to find out how long a canary takes, where nothing is known of late.
const SETTLE: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct Canary {
    start: Instant,
    /// The shortest run of each of the last slots of time, with the slot's number.
    shortest: [(u64, f64); SLOTS],
}

impl Canary {
    /// `known_s` is what [`Canary::floor_s`] told at the end of the process before.
    pub(crate) fn new(known_s: Option<f64>) -> Self {
        let known_s = known_s.unwrap_or(f64::INFINITY);
        Self { start: Instant::now(), shortest: [(0, known_s); SLOTS] }
    }

    /// Finds out how long a canary takes, unless it is known.
    pub(crate) fn settle(&mut self) {
        if self.floor_s().is_some() {
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

    /// Seconds of the shortest canary of late, if one is known.
    pub(crate) fn floor_s(&self) -> Option<f64> {
        Some(self.floor_at(self.slot())).filter(|run_s| run_s.is_finite())
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
        run_s > SHARED * self.floor_at(slot)
    }

    fn floor_at(&self, slot: u64) -> f64 {
        let of_late = self.shortest.iter().filter(|(then, _)| then + SLOTS as u64 > slot);
        of_late.map(|(_, run_s)| *run_s).fold(f64::INFINITY, f64::min)
    }
}

/// Seconds of six chains of arithmetic that do not wait for each other.
fn run_s() -> f64 {
    let start = Instant::now();
    let mut chains = black_box([1_u64, 2, 3, 4, 5, 6]);
    for round in 0..black_box(ROUNDS) {
        chains[0] = chains[0].wrapping_mul(3).wrapping_add(round);
        chains[1] ^= chains[1] << 1;
        chains[2] = chains[2].wrapping_add(chains[2] >> 3);
        chains[3] = chains[3].wrapping_mul(5).wrapping_add(1);
        chains[4] ^= round.wrapping_add(chains[4]);
        chains[5] = chains[5].wrapping_add(chains[5] ^ round);
    }
    black_box(chains);
    start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slower_than_of_late_shares_its_core_until_it_lasts() {
        let mut canary = Canary::new(None);
        assert!(!canary.compare(0, 2e-6), "nothing is known yet");
        assert!(!canary.compare(0, 1e-6));
        assert!(canary.compare(1, 2e-6));
        assert!(!canary.compare(2, 1.1e-6));
        // The fast slots pass; the next fast one counts again.
        assert!(canary.compare(5, 2e-6));
        assert!(!canary.compare(6, 2e-6));
        assert!(!canary.compare(7, 1e-6));
        assert!(canary.compare(8, 1.5e-6));
    }

    #[test]
    fn a_process_starts_with_what_the_one_before_knew() {
        let mut canary = Canary::new(Some(1e-6));
        assert_eq!(canary.floor_s(), Some(1e-6));
        assert!(canary.compare(0, 2e-6));
        assert!(!canary.compare(4, 2e-6), "what it knew has passed");
    }

    #[test]
    fn a_canary_takes_time() {
        let mut canary = Canary::new(None);
        canary.settle();
        assert!(canary.floor_s().unwrap() > 0.0);
    }
}
