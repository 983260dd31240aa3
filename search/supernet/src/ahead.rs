//! Work that another thread does before it is asked for.

use std::{
    collections::VecDeque,
    panic::resume_unwind,
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

/// Answers that are made or lie ready while the one before them is used.
const DEPTH: usize = 2;

/// A thread that makes what will be asked for next, while what was asked for is used. What is made follows from the
/// question alone, so a wrong guess costs time only. The thread ends with this.
#[derive(Debug)]
pub(crate) struct Ahead<Q, A> {
    questions: Sender<Q>,
    answers: Receiver<A>,
    /// Questions without an answer yet, in order.
    asked: VecDeque<Q>,
    thread: Option<JoinHandle<()>>,
}

impl<Q: Clone + PartialEq + Send + 'static, A: Send + 'static> Ahead<Q, A> {
    pub(crate) fn new(mut make: impl FnMut(Q) -> A + Send + 'static) -> Self {
        let (questions, asked) = channel();
        let (reply, answers) = channel();
        let thread = std::thread::spawn(move || {
            for question in asked {
                if reply.send(make(question)).is_err() {
                    return;
                }
            }
        });
        Self { questions, answers, asked: VecDeque::new(), thread: Some(thread) }
    }

    /// What answers `question`; meanwhile the questions that `next` puts after it are answered.
    ///
    /// # Panics
    /// Where making it did, with the same words.
    pub(crate) fn get(&mut self, question: Q, next: impl Fn(&Q) -> Q) -> A {
        if self.asked.front() != Some(&question) {
            while self.asked.pop_front().is_some() {
                drop(self.answer());
            }
            self.ask(question.clone());
        }
        let mut last = self.asked.back().cloned().unwrap_or(question);
        while self.asked.len() <= DEPTH {
            last = next(&last);
            self.ask(last.clone());
        }
        self.asked.pop_front();
        self.answer()
    }

    fn ask(&mut self, question: Q) {
        // Where the thread has ended, the answer will tell why.
        let _ = self.questions.send(question.clone());
        self.asked.push_back(question);
    }

    fn answer(&mut self) -> A {
        if let Ok(answer) = self.answers.recv() {
            return answer;
        }
        let ended = self.thread.take().map(JoinHandle::join);
        let Some(Err(panic)) = ended else { unreachable!("the thread answers every question") };
        resume_unwind(panic)
    }
}

impl<Q, A> Drop for Ahead<Q, A> {
    /// Waits for the thread, which pins memory by a driver that must still be there.
    fn drop(&mut self) {
        // Without the other ends of its channels it has nothing left to do.
        (self.questions, self.answers) = (channel().0, channel().1);
        if let Some(thread) = self.thread.take() {
            // A panic that nobody asked for has nobody to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[test]
    fn answers_are_those_of_the_questions_also_after_a_wrong_guess() {
        let mut squares = Ahead::new(|number: u64| number * number);
        for (question, step) in [(1, 1), (2, 1), (3, 6), (4, 0), (9, 0), (9, 0), (9, 1), (0, 1)] {
            assert_eq!(squares.get(question, |last| last + step), question * question);
        }
    }

    #[test]
    fn two_answers_are_made_before_they_are_asked_for_and_each_once() {
        let made = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&made);
        let mut same = Ahead::new(move |number: u64| {
            noted.lock().unwrap().push(number);
            number
        });
        for question in 0..5 {
            assert_eq!(same.get(question, |last| last + 1), question);
        }
        drop(same);
        let made = made.lock().unwrap();
        // The last two may or may not have been begun.
        assert!((5..=7).contains(&made.len()), "{made:?}");
        assert!(made.iter().copied().eq(0..made.len() as u64), "{made:?}");
    }

    #[test]
    fn a_panic_of_the_maker_is_passed_on_with_its_words() {
        let mut halves = Ahead::new(|number: u64| {
            assert!(number.is_multiple_of(2), "{number} is odd");
            number / 2
        });
        assert_eq!(halves.get(4, |last| last + 2), 2);
        let caught = catch_unwind(AssertUnwindSafe(|| halves.get(7, |last| last + 2)));
        assert_eq!(*caught.unwrap_err().downcast::<String>().unwrap(), "7 is odd");
    }

    #[test]
    fn the_thread_ends_when_it_is_dropped() {
        let (alive, ended) = channel::<()>();
        let mut same = Ahead::new(move |number: u64| {
            let _kept = &alive;
            number
        });
        assert_eq!(same.get(1, |last| last + 1), 1);
        drop(same);
        // The maker's end of the channel is dropped with the thread; a thread that goes on would hang the test here.
        assert!(ended.recv().is_err());
    }
}
