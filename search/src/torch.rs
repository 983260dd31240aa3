//! The client of the training process `netfit-torch`.

use std::{
    io::{BufRead as _, Read as _, Write as _},
    path::{Path, PathBuf},
};

use netfit_spaces::Genotype;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Error, Progress, Result,
    job::{ChoiceLatency, Event, Open, Proxyless, ProxylessFound, Request, Scratch},
    process::Process,
};

/// Longer lines are no answer.
const LONGEST_LINE: u64 = 1 << 30;
/// Bytes of a wrong answer that an error shows.
const SHOWN: usize = 200;
/// What the loader says where a library is missing.
const LOADER: [&str; 3] =
    ["error while loading shared libraries", "cannot open shared object", "Library not loaded"];

/// A running `netfit-torch`. It carries out one request after the other; killed when dropped.
pub struct TorchProcess {
    program: PathBuf,
    process: Process,
    /// Set once it has ended.
    ended: bool,
}

impl TorchProcess {
    /// Starts `program` and opens a run.
    ///
    /// # Errors
    /// A program that cannot be started or dies at once, for example for want of a library; what it says to `open`.
    pub fn start(program: &Path, open: Open) -> Result<Self> {
        let process = Process::start(program)
            .map_err(|source| Error::Start { program: program.to_owned(), source })?;
        let mut torch = Self { program: program.to_owned(), process, ended: false };
        torch.request(&Request::Open(open), &mut |_| {})?;
        Ok(torch)
    }

    /// Has one request carried out and returns its value.
    ///
    /// # Errors
    /// What the process reports; its death, with the last that it said; an answer outside the protocol. After an
    /// error the process has ended.
    pub fn request(
        &mut self,
        request: &Request,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Value> {
        let name = name(request);
        if self.ended {
            return Err(self.died(name));
        }
        let answer = self.exchange(request, name, progress);
        if answer.is_err() {
            self.ended = true;
            self.process.kill();
        }
        answer
    }

    fn exchange(
        &mut self,
        request: &Request,
        name: &'static str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Value> {
        let mut line = serde_json::to_string(request)
            .map_err(|source| Error::Request { request: name, source })?;
        line.push('\n');
        let input = self.process.input.as_mut();
        let sent = input.map(|input| input.write_all(line.as_bytes()).and_then(|()| input.flush()));
        if !matches!(sent, Some(Ok(()))) {
            return Err(self.died(name));
        }
        loop {
            match self.event(name)? {
                Event::Progress { stage, done, total, note } => {
                    progress(Progress { stage, done, total, note });
                }
                Event::Done { value } => return Ok(value),
                Event::Failed { message } => return Err(Error::Failed(message)),
            }
        }
    }

    fn event(&mut self, request: &'static str) -> Result<Event> {
        let mut bytes = Vec::new();
        let read = self.process.output.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes);
        // A line without its end was cut off by the process's death.
        if read.is_err() || (bytes.last() != Some(&b'\n') && bytes.len() < LONGEST_LINE as usize) {
            return Err(self.died(request));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let text = String::from_utf8_lossy(&bytes);
            self.answer(request, text.trim(), error.to_string())
        })
    }

    fn answer(&self, request: &'static str, line: &str, reason: String) -> Error {
        let line = line.chars().take(SHOWN).collect();
        Error::Answer { program: self.program.clone(), request, line, reason }
    }

    fn died(&mut self, request: &'static str) -> Error {
        let (how, status, tail) = self.process.end();
        let missing = tail.iter().any(|line| LOADER.iter().any(|words| line.contains(words)));
        let hint = if missing || status.and_then(|status| status.code()) == Some(127) {
            "; hint: `make setup` installs the library, or set LIBTORCH and LD_LIBRARY_PATH to your own"
        } else {
            "; hint: go on with the same command, it resumes from the last checkpoint"
        };
        let tail = if tail.is_empty() { String::new() } else { format!(": {}", tail.join(" | ")) };
        Error::Died { program: self.program.clone(), how, request, tail, hint }
    }

    /// The value of a request as a `T`.
    fn typed<T: for<'de> Deserialize<'de>>(
        &mut self,
        request: &Request,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<T> {
        let value = self.request(request, progress)?;
        let text = value.to_string();
        serde_json::from_value(value)
            .map_err(|error| self.answer(name(request), &text, error.to_string()))
    }

    /// Makes the supernet, or reads its last checkpoint.
    ///
    /// # Errors
    /// As [`Self::request`]; a space that is not elastic.
    pub fn prepare(&mut self) -> Result<()> {
        self.request(&Request::Prepare, &mut |_| {}).map(drop)
    }

    /// Trains the supernet, or goes on from its last checkpoint.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn train(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        self.request(&Request::Train, progress).map(drop)
    }

    /// Accuracies of subnets on the held-out images, fractions of 1.
    ///
    /// # Errors
    /// As [`Self::request`]; another number of accuracies, or one that is no share.
    pub fn evaluate(
        &mut self,
        genotypes: &[Genotype],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<f64>> {
        #[derive(Deserialize)]
        struct Answer {
            accuracies: Vec<f64>,
        }
        let request = Request::Evaluate { genotypes: genotypes.to_vec() };
        let Answer { accuracies } = self.typed(&request, progress)?;
        if accuracies.len() != genotypes.len() || !accuracies.iter().copied().all(share) {
            let reason = format!("expected {} shares of 1", genotypes.len());
            return Err(self.answer("evaluate", &format!("{accuracies:?}"), reason));
        }
        Ok(accuracies)
    }

    /// Writes the weights of a subnet as a stand-alone network.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn extract(&mut self, genotype: &Genotype, weights: &Path) -> Result<()> {
        let request = Request::Extract { genotype: genotype.clone(), weights: weights.to_owned() };
        self.request(&request, &mut |_| {}).map(drop)
    }

    /// Trains a network from scratch, or goes on with it; returns its accuracy on the held-out images, a fraction of 1.
    /// Its weights are written where a file is named.
    ///
    /// # Errors
    /// As [`Self::request`]; an accuracy that is no share.
    pub fn train_network(
        &mut self,
        genotype: &Genotype,
        scratch: &Scratch,
        weights: Option<&Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<f64> {
        #[derive(Deserialize)]
        struct Answer {
            accuracy: f64,
        }
        let request = Request::TrainNetwork {
            genotype: genotype.clone(),
            scratch: scratch.clone(),
            weights: weights.map(Path::to_path_buf),
        };
        let Answer { accuracy } = self.typed(&request, progress)?;
        if !share(accuracy) {
            let reason = "expected a share of 1".to_owned();
            return Err(self.answer(name(&request), &accuracy.to_string(), reason));
        }
        Ok(accuracy)
    }

    /// Refuses settings and a space that cannot be trained as a supernet of candidates.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn prepare_proxyless(&mut self, options: &Proxyless) -> Result<()> {
        let request = Request::PrepareProxyless { options: options.clone() };
        self.request(&request, &mut |_| {}).map(drop)
    }

    /// Trains a supernet of candidates and its architecture, or goes on from the last checkpoint.
    ///
    /// # Errors
    /// As [`Self::request`]; no network within the target.
    pub fn train_proxyless(
        &mut self,
        options: &Proxyless,
        latency: &ChoiceLatency,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ProxylessFound> {
        let (options, latency) = (options.clone(), latency.clone());
        self.typed(&Request::TrainProxyless { options, latency }, progress)
    }

    /// Logits of a stand-alone network on the first `images` of the test set, `[images, classes]`.
    ///
    /// # Errors
    /// As [`Self::request`]; another number of images.
    pub fn logits(
        &mut self,
        genotype: &Genotype,
        weights: &Path,
        images: usize,
    ) -> Result<Vec<Vec<f32>>> {
        #[derive(Deserialize)]
        struct Answer {
            logits: Vec<Vec<f32>>,
        }
        let (genotype, weights) = (genotype.clone(), weights.to_owned());
        let request = Request::Logits { genotype, weights, images };
        let Answer { logits } = self.typed(&request, &mut |_| {})?;
        if logits.len() != images {
            let (found, reason) = (logits.len(), format!("expected the logits of {images} images"));
            return Err(self.answer("logits", &format!("{found} rows"), reason));
        }
        Ok(logits)
    }
}

fn share(accuracy: f64) -> bool {
    (0.0..=1.0).contains(&accuracy)
}

fn name(request: &Request) -> &'static str {
    match request {
        Request::Open(_) => "open",
        Request::Prepare => "prepare",
        Request::Train => "train",
        Request::Evaluate { .. } => "evaluate",
        Request::Extract { .. } => "extract",
        Request::TrainNetwork { .. } => "train-network",
        Request::PrepareProxyless { .. } => "prepare-proxyless",
        Request::TrainProxyless { .. } => "train-proxyless",
        Request::Logits { .. } => "logits",
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests;
