//! The body of `netfit-torch`: requests in, events out, one JSON object a line.

use std::{
    io::{BufRead, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use netfit_data::{Splits, load};
use netfit_export::Weights;
use netfit_search::{
    Progress,
    job::{ChoiceLatency, Event, Open, Proxyless, Request, Scratch},
};
use netfit_spaces::{Genotype, Random, Space};
use serde_json::{Value, json};
use tch::Device;

use crate::{
    Error, Result, Standalone,
    checkpoint::Origin,
    feed::Feed,
    images::Images,
    layout,
    proxyless::{self, ProxylessTrainer},
    scratch::ScratchTrainer,
    settings,
    training::Trainer,
    words,
};

/// Progress lines are at least so far apart.
const PERIOD: Duration = Duration::from_millis(200);

/// Answers requests until the input ends. A request that fails ends the conversation.
///
/// # Errors
/// A pipe that is closed at the other end.
pub fn serve(input: impl BufRead, output: impl Write) -> Result<()> {
    let mut job = None;
    converse(input, output, |request, output| carry_out(request, &mut job, output))
}

/// Answers each request by what `carry_out` makes of it; where it panics, as libtorch's Rust interface does, by what that
/// says.
fn converse<W: Write>(
    input: impl BufRead,
    mut output: W,
    mut carry_out: impl FnMut(Request, &mut W) -> Result<Value>,
) -> Result<()> {
    for line in input.lines() {
        let line = line?;
        let answer = serde_json::from_str(&line)
            .map_err(|error| Error::Request(error.to_string()))
            .and_then(|request| {
                // What it leaves behind is not used again: a failure ends the conversation.
                catch_unwind(AssertUnwindSafe(|| carry_out(request, &mut output)))
                    .unwrap_or_else(|panic| Err(words::error(panic.as_ref())))
            });
        let failed = answer.is_err();
        send(
            &mut output,
            &match answer {
                Ok(value) => Event::Done { value },
                Err(error) => Event::Failed { message: error.to_string() },
            },
        )?;
        if failed {
            break;
        }
    }
    Ok(())
}

/// What a run works with. Its supernet is made when it is first asked for.
struct Job {
    circumstances: Open,
    space: Space,
    splits: Arc<Splits>,
    trainer: Option<Trainer>,
    /// Of all networks that are trained from scratch.
    feed: Feed,
}

impl Job {
    fn open(circumstances: Open) -> Result<Self> {
        let Open { space, data, training, seed, .. } = &circumstances;
        let space = Space::new(space.clone())?;
        let splits = Arc::new(load(data, training.holdout, *seed)?);
        settings::check(&space, &splits, training)?;
        let device = settings::set_up(training)?;
        let feed = Feed::new(Arc::clone(&splits), *seed, device);
        Ok(Self { circumstances, space, splits, trainer: None, feed })
    }

    fn trainer(&mut self) -> Result<&mut Trainer> {
        if self.trainer.is_none() {
            let Open { training, seed, run, .. } = &self.circumstances;
            let splits = Arc::clone(&self.splits);
            self.trainer = Some(Trainer::open(&self.space, splits, training, *seed, run)?);
        }
        Ok(self.trainer.as_mut().expect("made above"))
    }

    /// The supernet, its training finished.
    fn trained(&mut self) -> Result<&Trainer> {
        let trainer = self.trainer()?;
        if trainer.finished() {
            return Ok(trainer);
        }
        Err(Error::Request(
            "the supernet is not trained yet; hint: `netfit train` goes on with it".to_owned(),
        ))
    }

    /// The genotype as this space spells it.
    fn canonical(&self, genotype: &Genotype) -> Result<Genotype> {
        Ok(self.space.parse(&genotype.to_string())?)
    }
}

fn carry_out(request: Request, job: &mut Option<Job>, output: &mut impl Write) -> Result<Value> {
    if let Request::Open(circumstances) = request {
        *job = Some(Job::open(circumstances)?);
        return Ok(Value::Null);
    }
    let job = job.as_mut().ok_or_else(|| Error::Request("expected `open` first".to_owned()))?;
    match request {
        Request::Open(_) => unreachable!("answered above"),
        Request::Prepare => job.trainer().map(|_| Value::Null),
        Request::Train => train(job.trainer()?, output),
        Request::Evaluate { genotypes } => evaluate(job, &genotypes, output),
        Request::Extract { genotype, weights } => {
            let genotype = job.canonical(&genotype)?;
            job.trained()?.subnet(&genotype).save(&weights)?;
            Ok(Value::Null)
        }
        Request::TrainNetwork { genotype, scratch, weights } => {
            train_network(job, &genotype, &scratch, weights.as_deref(), output)
        }
        Request::PrepareProxyless { options } => {
            proxyless::check(&job.space, &options)?;
            Ok(Value::Null)
        }
        Request::TrainProxyless { options, latency } => {
            train_proxyless(job, &options, &latency, output)
        }
        Request::Logits { genotype, weights, images } => logits(job, &genotype, &weights, images),
    }
}

fn train(trainer: &mut Trainer, output: &mut impl Write) -> Result<Value> {
    trainer.run(&mut paced(output))?;
    Ok(Value::Null)
}

fn train_network(
    job: &mut Job,
    genotype: &Genotype,
    scratch: &Scratch,
    weights: Option<&Path>,
    output: &mut impl Write,
) -> Result<Value> {
    let Open { training, seed, run, .. } = &job.circumstances;
    let network = job.space.network(&job.canonical(genotype)?);
    let (hash, protocol) = (network.hash(), scratch.protocol(training, &job.splits, *seed));
    let folder = run.join("checkpoints").join(format!("network-{hash}-{protocol}"));
    let origin = Origin {
        space: job.space.id().to_owned(),
        seed: *seed,
        training: training.of_networks(),
        images: job.splits.train.len(),
        data: job.splits.hash(),
        network: Some((hash, scratch.clone())),
        proxyless: None,
        split_version: 0,
    };
    let mut trainer =
        ScratchTrainer::open(&network, scratch, origin, training, &mut job.feed, &folder)?;
    trainer.run_steps(u64::MAX, &mut paced(output))?;
    let (accuracy, found, checkpoints) = trainer.finish()?;
    if let Some(path) = weights {
        found.save(path)?;
    }
    // Only now: a cut before it costs no training.
    checkpoints.remove()?;
    Ok(json!({ "accuracy": accuracy }))
}

fn train_proxyless(
    job: &Job,
    options: &Proxyless,
    latency: &ChoiceLatency,
    output: &mut impl Write,
) -> Result<Value> {
    let Open { training, seed, run, .. } = &job.circumstances;
    let folder = run.join("checkpoints");
    let told = (options, latency);
    let mut trainer =
        ProxylessTrainer::open(&job.space, &job.splits, training, told, *seed, &folder)?;
    trainer.run_steps(u64::MAX, &mut paced(output))?;
    let found = trainer.derived()?;
    Ok(serde_json::to_value(found).expect("plain structures of text and numbers"))
}

fn evaluate(job: &mut Job, genotypes: &[Genotype], output: &mut impl Write) -> Result<Value> {
    job.trained()?;
    let mut accuracies = Vec::new();
    for (index, genotype) in genotypes.iter().enumerate() {
        let genotype = job.canonical(genotype)?;
        accuracies.push(job.trained()?.accuracy(&genotype)?);
        let (done, total) = (index as u64 + 1, genotypes.len() as u64);
        let stage = "evaluating subnets".to_owned();
        report(output, Progress { stage, done, total, note: String::new() })?;
    }
    Ok(json!({ "accuracies": accuracies }))
}

/// Logits to compare those of the exported file with: on the CPU and in 32 bits, wherever training runs.
fn logits(job: &Job, genotype: &Genotype, weights: &Path, images: usize) -> Result<Value> {
    let splits = &job.splits;
    let images = images.min(splits.test.len());
    if images == 0 {
        return Ok(json!({ "logits": [] }));
    }
    let network = job.space.network(&job.canonical(genotype)?);
    let module = Standalone::new(&network, &Weights::load(weights)?, Device::Cpu)?;
    let chosen: Vec<usize> = (0..images).collect();
    let images = Images::new(&splits.test, &splits.normalization, Device::Cpu);
    let (images, _) = images.batch(&chosen, None, &mut Random::new(0, "plain"));
    let logits = layout::to_host(&module.logits(&images));
    let rows: Vec<&[f32]> = logits.data.chunks(logits.shape[1]).collect();
    Ok(json!({ "logits": rows }))
}

/// Passes progress on, not too often.
fn paced(output: &mut impl Write) -> impl FnMut(Progress) -> Result<()> {
    let mut last = None::<Instant>;
    move |progress| {
        let due =
            last.is_none_or(|last| last.elapsed() >= PERIOD) || progress.done == progress.total;
        if !due {
            return Ok(());
        }
        last = Some(Instant::now());
        // Where nobody reads any more, training ends: the next run goes on from the checkpoint.
        report(output, progress)
    }
}

fn report(output: &mut impl Write, progress: Progress) -> Result<()> {
    let Progress { stage, done, total, note } = progress;
    send(output, &Event::Progress { stage, done, total, note })
}

fn send(output: &mut impl Write, event: &Event) -> Result<()> {
    let mut line = serde_json::to_vec(event).expect("plain structures of text and numbers");
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn a_panic_is_a_failure_in_libtorchs_words_and_ends_the_conversation() {
        let zeros = || Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let mut asked = 0;
        let mut output = Vec::new();
        let lines = "{\"request\":\"prepare\"}\n".repeat(3);
        converse(lines.as_bytes(), &mut output, |_, _| {
            asked += 1;
            if asked == 2 {
                let _ = zeros().matmul(&zeros());
            }
            Ok(Value::Null)
        })
        .unwrap();
        let text = String::from_utf8(output).unwrap();
        let [done, failed] = &text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(done.contains(r#""event":"done""#), "{done}");
        let message = "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)";
        assert_eq!(*failed, format!(r#"{{"event":"failed","message":"{message}"}}"#));
        assert_eq!(asked, 2);
    }

    #[test]
    fn a_space_without_a_supernet_can_be_opened_and_says_so_when_asked_for_one() {
        let _alone = crate::tests::alone();
        let folder = tempfile::tempdir().unwrap();
        let mut header = vec![0, 0, 8, 3, 0, 0, 0, 24, 0, 0, 0, 9, 0, 0, 0, 9];
        let mut labels = vec![0, 0, 8, 1, 0, 0, 0, 24];
        let mut random = netfit_spaces::Random::new(1, "pixels");
        header.extend((0..24 * 81).map(|_| random.below(256) as u8));
        labels.extend((0..24).map(|image| image % 3));
        for part in ["train", "t10k"] {
            std::fs::write(folder.path().join(format!("{part}-images-idx3-ubyte")), &header)
                .unwrap();
            std::fs::write(folder.path().join(format!("{part}-labels-idx1-ubyte")), &labels)
                .unwrap();
        }
        let spec = Space::preset("nas-bench-macro").unwrap();
        let space = spec.for_task("1x9x9".parse().unwrap(), 3).unwrap();
        let data = json!({"format": "idx", "path": folder.path()});
        let open = Open {
            space: space.spec().clone(),
            data: serde_json::from_value(data).unwrap(),
            training: crate::tests::training(),
            run: folder.path().join("run"),
            seed: 1,
        };
        let weights = folder.path().join("weights.safetensors");
        let requests = [
            Request::Open(open),
            Request::TrainNetwork {
                genotype: space.smallest(),
                scratch: Scratch { epochs: 1.0, learning_rate: 0.01 },
                weights: Some(weights.clone()),
            },
            Request::Logits { genotype: space.smallest(), weights: weights.clone(), images: 2 },
            Request::Prepare,
        ];
        let input: String =
            requests.iter().map(|request| serde_json::to_string(request).unwrap() + "\n").collect();
        let mut output = Vec::new();
        serve(input.as_bytes(), &mut output).unwrap();
        let events: Vec<Event> = String::from_utf8(output)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|event| !matches!(event, Event::Progress { .. }))
            .collect();
        let [Event::Done { .. }, Event::Done { value }, Event::Done { value: logits }, last] =
            &events[..]
        else {
            panic!("{events:?}")
        };
        assert!((0.0..=1.0).contains(&value["accuracy"].as_f64().unwrap()));
        assert_eq!(logits["logits"].as_array().unwrap().len(), 2);
        Weights::load(&weights).unwrap().check(&space.network(&space.smallest())).unwrap();
        let Event::Failed { message } = last else { panic!("{last:?}") };
        assert!(message.contains("supernet") && message.contains("hint"), "{message}");
    }
}
