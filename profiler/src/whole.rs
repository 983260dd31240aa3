//! Whole networks: which are drawn, how long they take, and whether the machine was quiet.

use std::collections::HashSet;

use netfit_latency_tables::{Hygiene, NetworkTiming, Reference, Verdict};
use netfit_spaces::{Genotype, Network, Random, Space};

use crate::{
    Device, Error, Model, ProfileOptions, Progress, Result,
    pairing::{Paired, estimate},
};

/// Networks with their latencies, one for each process.
pub(crate) fn truths(space: &Space, timings: &[NetworkTiming]) -> Vec<(Network, Vec<f64>)> {
    timings
        .iter()
        .map(|timing| (space.network(&timing.genotype), timing.processes_s.clone()))
        .collect()
}

/// Distinct random genotypes outside `known`.
pub(crate) fn draw(
    space: &Space,
    count: usize,
    known: &HashSet<Genotype>,
    random: &mut Random,
) -> Result<Vec<Genotype>> {
    let mut seen = known.clone();
    let mut drawn = Vec::new();
    for _ in 0..100 * count {
        if drawn.len() == count {
            break;
        }
        let genotype = space.sample(random);
        if seen.insert(genotype.clone()) {
            drawn.push(genotype);
        }
    }
    if drawn.len() == count {
        return Ok(drawn);
    }
    Err(Error::TooSmall { space: space.name().to_owned(), found: drawn.len(), expected: count })
}

/// Networks that were timed, and how that went.
pub(crate) struct Timed {
    pub(crate) networks: Vec<NetworkTiming>,
    pub(crate) reference: Reference,
    pub(crate) hygiene: Hygiene,
}

/// Times whole networks in `options.processes` processes beside `reference`. `scale_s` is the reference's latency that
/// normalised seconds refer to; where it is not given, that of the first process.
pub(crate) fn time(
    space: &Space,
    device: &mut dyn Device,
    genotypes: &[Genotype],
    reference: &Network,
    scale_s: Option<f64>,
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Timed> {
    let mut processes = Vec::new();
    for process in 0..options.processes {
        let networks: Vec<Network> =
            genotypes.iter().map(|genotype| space.network(genotype)).collect();
        let label = format!("process {} of {}", process + 1, options.processes);
        let models: Vec<Model<'_>> = networks.iter().map(Model::Network).collect();
        let paired = one_process(device, &models, reference, (process, &label), options, progress)?;
        processes.push(paired);
    }
    let hygiene = judge(&processes, options)?;
    let scale_s = scale_s.unwrap_or(processes[0].reference_s);
    let networks = genotypes
        .iter()
        .enumerate()
        .map(|(index, genotype)| {
            let processes_s: Vec<f64> =
                processes.iter().map(|paired| scale_s * estimate(&paired.ratios[index])).collect();
            NetworkTiming {
                genotype: genotype.clone(),
                seconds: processes_s.iter().sum::<f64>() / processes_s.len() as f64,
                ratios: processes.iter().flat_map(|paired| paired.ratios[index].clone()).collect(),
                processes_s,
            }
        })
        .collect();
    let reference = Reference {
        network: reference.text(),
        median_s: scale_s,
        processes_s: processes.iter().map(|paired| paired.reference_s).collect(),
    };
    Ok(Timed { networks, reference, hygiene })
}

pub(crate) fn one_process(
    device: &mut dyn Device,
    loaded: &[Model<'_>],
    reference: &Network,
    (process, label): (usize, &str),
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Paired> {
    device.restart()?;
    let beside = device.load(Model::Network(reference))?;
    let mut models = Vec::new();
    for (done, model) in loaded.iter().enumerate() {
        progress(Progress::new(format!("loading networks, {label}"), done, loaded.len()));
        models.push(device.load(*model)?);
    }
    let mut random = Random::at(options.seed, "order of networks", &[process as u64]);
    options.pairing.measure(device, &models, beside, &mut random, &mut |done, total| {
        progress(Progress::new(format!("timing networks, {label}"), done, total));
    })
}

/// The verdict over all processes; an error where it is not clean and noise is not accepted.
pub(crate) fn judge(processes: &[Paired], options: &ProfileOptions) -> Result<Hygiene> {
    let sum = |count: fn(&Paired) -> usize| processes.iter().map(count).sum::<usize>();
    let bursts = sum(|paired| paired.ratios.iter().map(Vec::len).sum());
    let disturbed = sum(|paired| paired.disturbed);
    let drift = processes.iter().map(|paired| paired.drift).fold(0.0, f64::max);
    let accepted = options.pairing.accepted;
    let clean = disturbed as f64 <= accepted * bursts as f64;
    if !clean && !options.accept_noise {
        return Err(Error::Disturbed { disturbed, bursts, accepted, drift });
    }
    Ok(Hygiene {
        verdict: if clean { Verdict::Clean } else { Verdict::NoiseAccepted },
        bursts,
        repeated: sum(|paired| paired.repeated),
        disturbed,
        reference_drift: drift,
    })
}
