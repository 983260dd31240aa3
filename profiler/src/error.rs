//! What can go wrong while measuring.

use std::path::PathBuf;

use crate::gate::Disturbance;

/// An error of this crate; each message names the thing, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is wrong with a latency table.
    #[error(transparent)]
    Table(#[from] netfit_latency_tables::Error),
    /// A network could not become an ONNX file.
    #[error(transparent)]
    Export(#[from] netfit_export::Error),
    /// Something is wrong with a space or a network.
    #[error(transparent)]
    Space(#[from] netfit_spaces::Error),
    /// ONNX Runtime's shared library is not there.
    #[error(
        "cannot find ONNX Runtime's shared library: {reason}; hint: `make setup` installs it, or set ORT_DYLIB_PATH to a libonnxruntime.so"
    )]
    Library {
        /// Where it was looked for.
        reason: String,
    },
    /// ONNX Runtime refuses something.
    #[error("ONNX Runtime: {0}")]
    Runtime(String),
    /// No GPU.
    #[error("{0}; hint: `cpu` always works")]
    Gpu(String),
    /// A model that cannot be run.
    #[error("model `{path}`: {reason}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong, with a hint.
        reason: String,
    },
    /// The process that measures could not be started, or has died.
    #[error("the measuring process `{program}` {reason}")]
    Worker {
        /// The program.
        program: String,
        /// What happened, and the end of what it wrote to standard error.
        reason: String,
    },
    /// The process that measures has refused a request.
    #[error("{0}")]
    Refused(String),
    /// An execution provider that does not work here.
    #[error(
        "ONNX Runtime's {provider} cannot be used: {reason}; hint: it needs a GPU, and ORT_DYLIB_PATH the \
         libonnxruntime.so of the package onnxruntime-gpu, with the libraries that this loads"
    )]
    Provider {
        /// As ONNX Runtime spells it.
        provider: &'static str,
        /// What is missing.
        reason: String,
    },
    /// A setting that makes no sense.
    #[error("{what}: expected {expected}, found {found}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// What it can be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// More threads than can run at once.
    #[error(
        "threads: expected at most {cores}, as many as can run here at once, found {found}; hint: more would wait for \
         each other, and be timed as they wait"
    )]
    Threads {
        /// Threads that can run at once.
        cores: usize,
        /// Threads that were asked for.
        found: usize,
    },
    /// A space without enough networks.
    #[error(
        "space `{space}` has only {found} networks of the {expected} that were asked for; hint: ask for fewer, or profile a larger space"
    )]
    TooSmall {
        /// The space.
        space: String,
        /// Distinct networks found.
        found: usize,
        /// Distinct networks needed.
        expected: usize,
    },
    /// The machine was too busy to measure on.
    #[error(
        "the machine was disturbed while it was measured: {disturbed} of {bursts} bursts ({reasons}; drift up to {:.1} %), accepted are {:.0} %; hint: {}, or go on with --accept-noise, which marks the table",
        100.0 * drift,
        100.0 * accepted,
        quieter(reasons)
    )]
    Disturbed {
        /// Bursts that stayed disturbed after all repetitions.
        disturbed: usize,
        /// Bursts in all.
        bursts: usize,
        /// Why bursts were thrown away and repeated, and how many.
        reasons: String,
        /// Share of disturbed bursts that is accepted.
        accepted: f64,
        /// Largest drift of the machine's speed, a fraction of 1.
        drift: f64,
    },
    /// A journal of another profile, or something else.
    #[error("journal `{path}` cannot be gone on with: {reason}; hint: begin anew with --restart")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// A journal that another process is writing.
    #[error(
        "journal `{path}` is in use by another process; hint: wait for its end, or name another file"
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder that cannot be used.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl<R> From<ort::Error<R>> for Error {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(words(&error.to_string()))
    }
}

/// The first line that ONNX Runtime says, without where in its source it says so: of
/// `/file.cc:88 function [ONNXRuntimeError] : 1 : FAIL : words`, which may stand in another's words, the words.
pub(crate) fn words(message: &str) -> String {
    let mut rest = message.lines().next().unwrap_or_default();
    let mut told = String::new();
    while let Some((before, after)) = rest.split_once("[ONNXRuntimeError] : ") {
        let Some(words) = after.splitn(3, " : ").nth(2) else { break };
        let place = before.find(".cc:").map(|at| before[..at].rfind(' ').map_or(0, |at| at + 1));
        told += &before[..place.unwrap_or(before.len())];
        rest = words;
    }
    told + rest
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What makes a machine quieter that was disturbed for these reasons.
fn quieter(reasons: &str) -> &'static str {
    let clocks = [Disturbance::Frequency, Disturbance::Throttled];
    if clocks.iter().any(|why| reasons.contains(why.name())) {
        "stop other work, keep the clocks at one speed (of a GPU: `nvidia-smi --lock-gpu-clocks`) or cool it"
    } else {
        "stop other work"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_says_is_told_without_its_source() {
        let source = "/onnxruntime_src/core/provider.cc:1988 onnxruntime::Provider& Library::Get()";
        let said = "Failed to load library libx.so with error: liby.so.10: cannot open it : at all";
        for (message, told) in [
            (
                format!("{source} [ONNXRuntimeError] : 1 : FAIL : {said}\n at frame"),
                said.to_owned(),
            ),
            (format!("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : {said}"), said.to_owned()),
            (
                format!("Running Conv `b03`: {source} [ONNXRuntimeError] : 6 : BAD : {said}"),
                format!("Running Conv `b03`: {said}"),
            ),
            (said.to_owned(), said.to_owned()),
            ("[ONNXRuntimeError] : odd".to_owned(), "[ONNXRuntimeError] : odd".to_owned()),
        ] {
            assert_eq!(words(&message), told);
        }
        assert_eq!(words(""), "");
    }
}
