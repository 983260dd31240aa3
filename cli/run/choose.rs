//! Choosing the subnet: random subnets teach a predictor, evolution searches by it, the supernet judges its best.

use std::collections::HashSet;

use anyhow::{Result, anyhow};
use netfit_latency_tables::LatencyTable;
use netfit_predictors::{
    Evaluation, LatencyModel as _, Mlp, MlpOptions, TableLatency, cross_validate,
};
use netfit_search::{
    Evaluated, Evolution, EvolutionOptions, Journal, Search, SearchOptions, TorchProcess,
    equal_latency, feasible,
};
use netfit_spaces::Genotype;

use super::{Setting, result::Candidate};
use crate::progress::Progress;

/// Subnets that the supernet evaluates between two lines of the journal.
const CHUNK: usize = 8;
/// Random networks among which one of equal latency is sought.
const DRAWS: usize = 2000;
/// Parts of the predictor's cross-validation.
const FOLDS: usize = 5;
const SOURCE: &str = "supernet";

/// What was chosen, and what it is compared with.
pub(crate) struct Choice {
    pub(crate) chosen: Candidate,
    pub(crate) random_best: Candidate,
    pub(crate) random_equal_latency: Candidate,
    pub(crate) full: Candidate,
    /// Networks that random search evaluated.
    pub(crate) random: Vec<Evaluated>,
    /// The predictor's best, evaluated by the supernet.
    pub(crate) finalists: Vec<Evaluated>,
    /// How well the predictor ranks, by cross-validation.
    pub(crate) predictor: Evaluation,
}

pub(crate) fn choose(
    setting: &Setting,
    table: &LatencyTable,
    budget_s: f64,
    torch: &mut TorchProcess,
    progress: &mut Progress,
) -> Result<Choice> {
    let (space, search, seed) = (&setting.space, &setting.config.search, setting.config.seed);
    let percentile = setting.config.percentile;
    let latency = TableLatency::at_percentile(space, table, percentile)?;
    let mut judge = Judge::new(setting, &latency, torch, progress)?;

    let drawn = feasible(space, &latency, budget_s, search.samples + search.finalists, seed)?;
    let random = judge.judge(&drawn)?;
    let taught = &random[..random.len().min(search.samples)];
    let known: Vec<(Genotype, f64)> =
        taught.iter().map(|network| (network.genotype.clone(), network.accuracy)).collect();
    let options = MlpOptions { seed, ..MlpOptions::default() };
    let quality = cross_validate(space, &known, &options, FOLDS)?;
    let predictor = Mlp::fit(space, &known, &options)?;
    predictor.save(&setting.folder.predictor())?;

    let promising = evolve(setting, &latency, budget_s, &predictor, taught, judge.progress)?;
    let finalists = judge.judge(&promising)?;
    let chosen = best(taught.iter().chain(&finalists))?;
    let equal = equal_latency(
        space,
        &latency,
        budget_s,
        chosen.latency_s,
        DRAWS,
        std::slice::from_ref(&chosen.genotype),
        seed + 1,
    )?;
    let others = judge.judge(&[equal, space.largest()])?;

    let candidate = |network: &Evaluated| {
        let genotype = network.genotype.clone();
        let built = space.network(&genotype);
        let mut candidate =
            Candidate::new(genotype, &built, table.predict_percentile(&built, percentile)?);
        candidate.accuracy_predicted =
            predictor.predict(std::slice::from_ref(&network.genotype)).first().copied();
        candidate.accuracy_supernet = Some(network.accuracy);
        anyhow::Ok(candidate)
    };
    Ok(Choice {
        chosen: candidate(chosen)?,
        random_best: candidate(best(random.iter())?)?,
        random_equal_latency: candidate(&others[0])?,
        full: candidate(&others[1])?,
        predictor: quality,
        finalists: finalists.clone(),
        random: random.clone(),
    })
}

/// The predictor's best subnets within the budget that the supernet has not evaluated for it yet, best first.
fn evolve(
    setting: &Setting,
    latency: &TableLatency,
    budget_s: f64,
    predictor: &Mlp,
    taught: &[Evaluated],
    progress: &mut Progress,
) -> Result<Vec<Genotype>> {
    let search = &setting.config.search;
    let options = EvolutionOptions {
        population: search.population,
        generations: search.generations,
        ..EvolutionOptions::default()
    };
    let evaluations = options.evaluations();
    let mut evolution = Evolution::new(&setting.space, options, setting.config.seed)?;
    let mut predictor = predictor.clone();
    let run = Search {
        space: &setting.space,
        strategy: &mut evolution,
        accuracy: &mut predictor,
        latency,
        journal: None,
    };
    let bounds = SearchOptions {
        budget_s,
        evaluations,
        batch: search.population,
        ..SearchOptions::default()
    };
    let mut found = run.run(&bounds, &mut progress.of_search())?.evaluated;
    found.sort_by(Evaluated::better_first);
    let known: HashSet<&Genotype> = taught.iter().map(|network| &network.genotype).collect();
    let new = found.iter().filter(|network| !known.contains(&network.genotype));
    Ok(new.take(search.finalists).map(|network| network.genotype.clone()).collect())
}

fn best<'a>(networks: impl Iterator<Item = &'a Evaluated>) -> Result<&'a Evaluated> {
    networks.min_by(|a, b| a.better_first(b)).ok_or_else(|| anyhow!("no network was evaluated"))
}

/// The supernet's evaluations, kept in the run's journal: none is made twice.
struct Judge<'a> {
    latency: &'a TableLatency,
    torch: &'a mut TorchProcess,
    journal: Journal,
    progress: &'a mut Progress,
}

impl<'a> Judge<'a> {
    fn new(
        setting: &Setting,
        latency: &'a TableLatency,
        torch: &'a mut TorchProcess,
        progress: &'a mut Progress,
    ) -> Result<Self> {
        let journal = Journal::open(&setting.folder.journal(), &setting.space)?;
        Ok(Self { latency, torch, journal, progress })
    }

    /// Evaluates what is not known yet, a few at a time.
    fn judge(&mut self, genotypes: &[Genotype]) -> Result<Vec<Evaluated>> {
        let unknown: Vec<Genotype> = genotypes
            .iter()
            .filter(|genotype| self.journal.known(SOURCE, genotype).is_none())
            .cloned()
            .collect();
        let total = unknown.len() as u64;
        for (index, chunk) in unknown.chunks(CHUNK).enumerate() {
            let before = (index * CHUNK) as u64;
            let accuracies = self.torch.evaluate(chunk, &mut |step| {
                self.progress.update("evaluating subnets", before + step.done, total, "");
            })?;
            let scored =
                self.describe(chunk, &accuracies.into_iter().map(Some).collect::<Vec<_>>());
            self.journal.append(SOURCE, &scored)?;
        }
        self.progress.finish();
        let known: Vec<Option<f64>> =
            genotypes.iter().map(|genotype| self.journal.known(SOURCE, genotype)).collect();
        Ok(self.describe(genotypes, &known))
    }

    fn describe(&self, genotypes: &[Genotype], accuracies: &[Option<f64>]) -> Vec<Evaluated> {
        let mut latencies = Vec::new();
        self.latency.latencies(genotypes, &mut latencies);
        let networks = genotypes.iter().zip(accuracies).zip(latencies);
        networks
            .filter_map(|((genotype, accuracy), latency)| {
                Some(Evaluated {
                    genotype: genotype.clone(),
                    accuracy: (*accuracy)?,
                    latency_s: latency.median_s,
                    latency_interval_s: [latency.low_s, latency.high_s],
                })
            })
            .collect()
    }
}
