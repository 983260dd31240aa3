//! Work that another thread does before it is asked for.

use std::sync::mpsc::{Receiver, Sender, channel};

/// A thread that makes what will be asked for next, while what was asked for is used. What is made follows from the
/// question alone, so a wrong guess costs time only. The thread ends with this.
#[derive(Debug)]
pub(crate) struct Ahead<Q, A> {
    questions: Sender<Q>,
    answers: Receiver<A>,
    /// What is being made.
    guess: Option<Q>,
}

impl<Q: Clone + PartialEq + Send + 'static, A: Send + 'static> Ahead<Q, A> {
    pub(crate) fn new(mut make: impl FnMut(Q) -> A + Send + 'static) -> Self {
        let (questions, asked) = channel();
        let (reply, answers) = channel();
        std::thread::spawn(move || {
            for question in asked {
                if reply.send(make(question)).is_err() {
                    return;
                }
            }
        });
        Self { questions, answers, guess: None }
    }

    /// What answers `question`; meanwhile `next` is made.
    ///
    /// # Panics
    /// Where making it did.
    pub(crate) fn get(&mut self, question: Q, next: Q) -> A {
        let guess = self.guess.take();
        let wrong = guess.as_ref().is_some_and(|guess| *guess != question);
        if wrong {
            drop(self.answer());
        }
        if wrong || guess.is_none() {
            self.ask(question);
        }
        let answer = self.answer();
        self.ask(next.clone());
        self.guess = Some(next);
        answer
    }

    fn ask(&self, question: Q) {
        self.questions.send(question).expect("the thread waits for questions");
    }

    fn answer(&self) -> A {
        self.answers.recv().expect("the thread answers every question")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_the_questions_also_after_a_wrong_guess() {
        let mut squares = Ahead::new(|number: u64| number * number);
        for (question, next) in [(1, 2), (2, 3), (3, 9), (5, 6), (6, 6), (6, 7), (0, 1)] {
            assert_eq!(squares.get(question, next), question * question);
        }
    }
}
