//! The threads that the parts of a program share.

use std::{
    hint,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, Result};

/// Looks of a waiting thread for its work before it lets others have the core.
const LOOKS: usize = 100;
/// How long threads stay awake for more work: a search has some for them every half millisecond, and to wake one takes a
/// tenth of a millisecond or more on a virtual machine.
const AWAKE: Duration = Duration::from_millis(1);

/// So many threads, the caller's among them. A clone shares them: what works in turn finds them awake.
///
/// By default the caller's alone.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    others: Option<Arc<Others>>,
}

/// All threads but the caller's.
#[derive(Debug)]
struct Others {
    pool: ThreadPool,
    /// How often there was work.
    calls: Arc<AtomicUsize>,
}

impl Threads {
    /// `count` threads; the caller's alone for 0 and 1.
    ///
    /// # Errors
    /// Threads that cannot be started.
    pub fn new(count: usize) -> Result<Self> {
        if count < 2 {
            return Ok(Self::default());
        }
        let pool = ThreadPoolBuilder::new().num_threads(count - 1).build();
        let pool =
            pool.map_err(|source| Error::Threads { threads: count, source: Box::new(source) })?;
        Ok(Self { others: Some(Arc::new(Others { pool, calls: Arc::default() })) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.others.as_ref().map_or(0, |others| others.pool.current_num_threads())
    }

    /// What `work` makes of each item, in the order of the items.
    pub fn map<T: Sync, U: Send>(&self, items: &[T], work: impl Fn(&T) -> U + Sync) -> Vec<U> {
        let mut made: Vec<Option<U>> = items.iter().map(|_| None).collect();
        let jobs = Mutex::new(items.iter().zip(&mut made));
        let mut rooms = vec![(); self.count().min(items.len())];
        self.run(&mut rooms, |()| {
            while let Some((item, place)) = next(&jobs) {
                *place = Some(work(item));
            }
        });
        made.into_iter().flatten().collect()
    }

    /// Calls `work` once for each room, each on a thread of its own as far as there are so many.
    pub(crate) fn run<R: Send>(&self, rooms: &mut [R], work: impl Fn(&mut R) + Sync) {
        let Some((first, rest)) = rooms.split_first_mut() else { return };
        match &self.others {
            Some(others) if !rest.is_empty() => {
                others.call();
                let working = AtomicUsize::new(rest.len());
                others.pool.in_place_scope(|scope| {
                    for room in rest {
                        scope.spawn(|_| {
                            work(room);
                            working.fetch_sub(1, Ordering::Release);
                        });
                    }
                    work(first);
                    wait_awake(|| working.load(Ordering::Acquire) == 0);
                });
                others.stay_awake();
            }
            _ => work(first),
        }
    }
}

impl Others {
    /// Ends their waiting.
    fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Has them wait for more work without falling asleep.
    fn stay_awake(&self) {
        let known = self.calls.load(Ordering::Relaxed);
        for _ in 0..self.pool.current_num_threads() {
            let calls = self.calls.clone();
            self.pool.spawn(move || wait_awake(|| calls.load(Ordering::Relaxed) != known));
        }
    }
}

/// Waits for what should come soon, without taking much from a thread on the same core.
fn wait_awake(has_come: impl Fn() -> bool) {
    let start = Instant::now();
    while start.elapsed() < AWAKE {
        for _ in 0..LOOKS {
            if has_come() {
                return;
            }
            hint::spin_loop();
        }
        thread::yield_now();
    }
}

/// The next of the jobs that threads share.
pub(crate) fn next<I: Iterator>(jobs: &Mutex<I>) -> Option<I::Item> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).next()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_order_on_any_number_of_threads() {
        for count in [0, 1, 2, 5] {
            let threads = Threads::new(count).unwrap();
            assert_eq!(threads.count(), count.max(1));
            for items in [0, 1, 3, 100] {
                let items: Vec<usize> = (0..items).collect();
                let squares: Vec<usize> = items.iter().map(|item| item * item).collect();
                assert_eq!(threads.map(&items, |item| item * item), squares);
            }
        }
    }

    #[test]
    fn each_thread_has_a_room_of_its_own() {
        let threads = Threads::new(3).unwrap();
        let mut rooms = [0; 3];
        threads.run(&mut rooms, |room| *room += 1);
        assert_eq!(rooms, [1; 3]);
    }
}
