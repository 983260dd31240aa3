//! The body of `netfit-torch`: requests in, events out, one JSON object a line.

use std::{
    io::{BufRead, Write},
    path::Path,
    time::{Duration, Instant},
};

use netfit_data::load;
use netfit_export::Weights;
use netfit_search::{
    Progress,
    job::{Event, Open, Request},
};
use netfit_spaces::{Genotype, Space};
use serde_json::{Value, json};

use crate::{Error, Result, Standalone, Trainer, images::Images, layout};

/// Progress lines are at least so far apart.
const PERIOD: Duration = Duration::from_millis(200);

/// Answers requests until the input ends. A request that fails ends the conversation.
///
/// # Errors
/// A pipe that is closed at the other end.
pub fn serve(input: impl BufRead, mut output: impl Write) -> Result<()> {
    let mut run = None;
    for line in input.lines() {
        let line = line?;
        let answer = serde_json::from_str(&line)
            .map_err(|error| Error::Request(error.to_string()))
            .and_then(|request| carry_out(request, &mut run, &mut output));
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

fn carry_out(
    request: Request,
    run: &mut Option<Trainer>,
    output: &mut impl Write,
) -> Result<Value> {
    if let Request::Open(circumstances) = request {
        *run = Some(open(&circumstances)?);
        return Ok(Value::Null);
    }
    let trainer = run.as_mut().ok_or_else(|| Error::Request("expected `open` first".to_owned()))?;
    match request {
        Request::Open(_) => unreachable!("answered above"),
        Request::Train => train(trainer, output),
        Request::Evaluate { genotypes } => evaluate(trainer, &genotypes, output),
        Request::Extract { genotype, weights } => {
            trained(trainer)?;
            let genotype = canonical(trainer, &genotype)?;
            trainer.subnet(&genotype).save(&weights)?;
            Ok(Value::Null)
        }
        Request::Logits { genotype, weights, images } => {
            logits(trainer, &canonical(trainer, &genotype)?, &weights, images)
        }
    }
}

fn open(open: &Open) -> Result<Trainer> {
    let space = Space::new(open.space.clone())?;
    let splits = load(&open.data, open.training.holdout, open.seed)?;
    Trainer::open(&space, splits, &open.training, open.seed, &open.run)
}

fn train(trainer: &mut Trainer, output: &mut impl Write) -> Result<Value> {
    let mut last = None::<Instant>;
    trainer.run(&mut |progress| {
        let due =
            last.is_none_or(|last| last.elapsed() >= PERIOD) || progress.done == progress.total;
        if !due {
            return Ok(());
        }
        last = Some(Instant::now());
        // Where nobody reads any more, training ends: the next run goes on from the checkpoint.
        report(output, progress)
    })?;
    Ok(Value::Null)
}

fn evaluate(trainer: &Trainer, genotypes: &[Genotype], output: &mut impl Write) -> Result<Value> {
    trained(trainer)?;
    let mut accuracies = Vec::new();
    for (index, genotype) in genotypes.iter().enumerate() {
        accuracies.push(trainer.accuracy(&canonical(trainer, genotype)?)?);
        let (done, total) = (index as u64 + 1, genotypes.len() as u64);
        let stage = "evaluating subnets".to_owned();
        report(output, Progress { stage, done, total, note: String::new() })?;
    }
    Ok(json!({ "accuracies": accuracies }))
}

fn logits(trainer: &Trainer, genotype: &Genotype, weights: &Path, images: usize) -> Result<Value> {
    let splits = trainer.splits();
    let device = trainer.supernet().device();
    let network = trainer.supernet().space().network(genotype);
    let module = Standalone::new(&network, &Weights::load(weights)?, device)?;
    let chosen: Vec<usize> = (0..images.min(splits.test.len())).collect();
    let images = Images::new(&splits.test, &splits.normalization, device);
    let rows: Vec<Vec<f32>> = images
        .plain(&chosen, chosen.len().max(1))
        .map(|(images, _)| layout::to_host(&module.logits(&images)))
        .flat_map(|logits| {
            logits.data.chunks(logits.shape[1]).map(<[f32]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    Ok(json!({ "logits": rows }))
}

fn trained(trainer: &Trainer) -> Result<()> {
    if trainer.finished() {
        return Ok(());
    }
    Err(Error::Request(
        "the supernet is not trained yet; hint: `netfit train` goes on with it".to_owned(),
    ))
}

/// The genotype as this space spells it.
fn canonical(trainer: &Trainer, genotype: &Genotype) -> Result<Genotype> {
    Ok(trainer.supernet().space().parse(&genotype.to_string())?)
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
