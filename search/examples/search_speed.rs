//! What the benchmark `benches/peers.py` needs.
//!
//! - `search_speed prepare SPACE FOLDER`: a latency table of the space on the fake device, a predictor 3x400 of random
//!   accuracies, and the median latency of random networks.
//! - `search_speed products WIDTH THREADS BATCH SECONDS`: networks a second of that predictor's matrix products alone,
//!   by the crate gemm.
//! - `search_speed predictor SPACE FOLDER THREADS BATCH SECONDS`: networks a second of the whole predictor.

#![allow(clippy::print_stdout, unsafe_code)]

use std::{path::Path, time::Instant};

use gemm::Parallelism;
use netfit_latency_tables::{LatencyTable, median};
use netfit_predictors::{Accuracy as _, LatencyModel as _, Mlp, MlpOptions, TableLatency, Threads};
use netfit_profiler::{FakeDevice, ProfileOptions, profile};
use netfit_spaces::{Genotype, Random, Space};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const HIDDEN: usize = 400;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["prepare", space, folder] => prepare(&Space::load(space)?, Path::new(folder)),
        ["products", width, threads, batch, seconds] => {
            products(width.parse()?, threads.parse()?, batch.parse()?, seconds.parse()?);
            Ok(())
        }
        ["predictor", space, folder, threads, batch, seconds] => {
            let space = Space::load(space)?;
            let mlp = Mlp::load(&Path::new(folder).join("predictor.safetensors"), &space)?;
            let mut mlp = mlp.with_threads(&Threads::new(threads.parse()?)?);
            let genotypes = sample(&space, batch.parse()?);
            let rate =
                rate(genotypes.len(), seconds.parse()?, || mlp.accuracies(&genotypes).map(|_| ()));
            println!("{}", serde_json::json!({ "networks_per_second": rate? }));
            Ok(())
        }
        _ => Err("usage: search_speed prepare | products | predictor ...".into()),
    }
}

fn sample(space: &Space, count: usize) -> Vec<Genotype> {
    let mut random = Random::new(0, "search-speed");
    (0..count).map(|_| space.sample(&mut random)).collect()
}

fn prepare(space: &Space, folder: &Path) -> Result<()> {
    let path = folder.join("table.json");
    let options = ProfileOptions { accept_noise: true, ..ProfileOptions::default() };
    profile(space, &mut FakeDevice::new(0), &options, &mut |_| {})?.save(&path)?;
    let genotypes = sample(space, 20_000);
    let latency = TableLatency::new(space, &LatencyTable::load(&path)?)?;
    // The budget binds the upper end of a prediction's interval.
    let ends: Vec<f64> =
        genotypes.iter().map(|genotype| latency.latency(genotype).high_s).collect();
    let mut random = Random::new(1, "search-speed");
    let known: Vec<_> =
        genotypes.into_iter().take(200).map(|genotype| (genotype, random.uniform())).collect();
    let options = MlpOptions { epochs: 5, ..MlpOptions::default() };
    Mlp::fit(space, &known, &options)?.save(&folder.join("predictor.safetensors"))?;
    let (width, budget_s) = (space.encoding_width(), median(&ends));
    println!("{}", serde_json::json!({ "encoding_width": width, "budget_s": budget_s }));
    Ok(())
}

/// Calls a second, times `batch`.
fn rate(batch: usize, seconds: f64, mut call: impl FnMut() -> R) -> Result<f64> {
    for _ in 0..20 {
        call()?;
    }
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        call()?;
        calls += 1;
    }
    Ok((calls * batch) as f64 / start.elapsed().as_secs_f64())
}

type R = std::result::Result<(), netfit_predictors::Error>;

fn products(width: usize, threads: usize, batch: usize, seconds: f64) {
    let widths = [width, HIDDEN, HIDDEN, HIDDEN, 1];
    let mut random = Random::new(2, "search-speed");
    let mut numbers = |count| (0..count).map(|_| random.normal() as f32).collect::<Vec<_>>();
    let weights: Vec<Vec<f32>> = widths.windows(2).map(|pair| numbers(pair[0] * pair[1])).collect();
    let mut values: Vec<Vec<f32>> = widths.iter().map(|width| numbers(batch * width)).collect();
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    let rate = rate(batch, seconds, || {
        for (layer, pair) in widths.windows(2).enumerate() {
            let (inner, outer) = (pair[0], pair[1]);
            let (before, after) = values.split_at_mut(layer + 1);
            let (x, y, w) = (&before[layer], &mut after[0], &weights[layer]);
            // SAFETY: `x` is [batch, inner], `w` [inner, outer] and `y` [batch, outer], all row by row.
            unsafe {
                gemm::gemm(
                    batch,
                    outer,
                    inner,
                    y.as_mut_ptr(),
                    1,
                    outer as isize,
                    false,
                    x.as_ptr(),
                    1,
                    inner as isize,
                    w.as_ptr(),
                    1,
                    outer as isize,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    parallelism,
                );
            }
            for value in y.iter_mut() {
                *value = value.max(0.0);
            }
        }
        Ok(())
    });
    println!("{}", serde_json::json!({ "networks_per_second": rate.unwrap_or(f64::NAN) }));
}
