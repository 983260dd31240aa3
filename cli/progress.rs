//! Progress on standard error: a bar on a terminal, one plain line a finished stage anywhere else.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::format;

/// Shows one stage at a time.
pub(crate) struct Progress {
    stage: Option<Stage>,
    terminal: bool,
}

struct Stage {
    name: String,
    note: String,
    start: Instant,
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { stage: None, terminal: std::io::stderr().is_terminal() }
    }

    /// `done` of `total` steps of the stage called `name`; a new name ends the stage before it.
    pub(crate) fn update(&mut self, name: &str, done: u64, total: u64, note: &str) {
        if self.stage.as_ref().is_none_or(|stage| stage.name != name) {
            self.finish();
            self.stage = Some(Stage::new(name, total));
        }
        if let Some(stage) = &mut self.stage {
            stage.bar.set_length(total);
            stage.bar.set_position(done);
            stage.bar.set_message(note.to_owned());
            note.clone_into(&mut stage.note);
        }
    }

    /// As the profiler reports.
    pub(crate) fn of_profiler(&mut self) -> impl FnMut(netfit_profiler::Progress) + '_ {
        |step| self.update(&step.stage, step.done, step.total, "")
    }

    /// As searches and the training process report.
    pub(crate) fn of_search(&mut self) -> impl FnMut(netfit_search::Progress) + '_ {
        |step| self.update(&step.stage, step.done, step.total, &step.note)
    }

    /// Ends the current stage.
    pub(crate) fn finish(&mut self) {
        if let Some(stage) = self.stage.take() {
            stage.bar.finish_and_clear();
            let took = format::duration(stage.start.elapsed().as_secs_f64());
            self.line(&format!("{:<42} {took:>13}  {}", stage.name, stage.note));
        }
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        let mark = if self.terminal { "\u{2714} " } else { "" };
        // Nothing can be done about a standard error that is closed.
        let _ = writeln!(std::io::stderr(), "{mark}{}", text.trim_end());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(stage) = self.stage.take() {
            stage.bar.finish_and_clear();
        }
    }
}

impl Stage {
    fn new(name: &str, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let style =
            ProgressStyle::with_template("{prefix:42} [{bar:30}] {pos}/{len} {eta:>4} {msg}");
        bar.set_style(style.expect("the template is a constant").progress_chars("=> "));
        bar.set_prefix(name.to_owned());
        Self { name: name.to_owned(), note: String::new(), start: Instant::now(), bar }
    }
}
