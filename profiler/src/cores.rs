//! Work on all cores while nothing is timed.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

/// What `work` makes of each item, in their order, on at most `threads` threads that are gone afterwards.
pub(crate) fn on_threads<T: Sync, U: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> U + Sync,
) -> Vec<U> {
    let mut made: Vec<Option<U>> = items.iter().map(|_| None).collect();
    let jobs = Mutex::new(items.iter().zip(&mut made));
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while let Some((item, place)) = next() {
                    *place = Some(work(item));
                }
            });
        }
    });
    made.into_iter().flatten().collect()
}

/// How many threads can run at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        for threads in [1, 3] {
            for count in [0, 1, 20] {
                let items: Vec<usize> = (0..count).collect();
                let squares: Vec<usize> = items.iter().map(|item| item * item).collect();
                assert_eq!(on_threads(threads, &items, |item| item * item), squares);
            }
        }
    }
}
