//! Once-for-All: a supernet is trained, random subnets teach a predictor, evolution searches by it, the supernet judges
//! its best.

use std::collections::HashSet;

use anyhow::Result;
use netfit_predictors::{
    Method, Predictor, PredictorOptions, TableLatency, Threads, cross_validate,
};
use netfit_search::{
    Constraints, Evaluated, Evolution, EvolutionOptions, Journal, Search, SearchOptions,
    SupernetAccuracy, TorchProcess, feasible,
};
use netfit_spaces::Genotype;

use super::{Choice, Work, best, describe, equal};
use crate::{
    progress::Progress,
    run::Setting,
    runtime::{make_folder_of, threads},
};

/// Subnets that the supernet evaluates between two lines of the journal.
const CHUNK: usize = 8;
/// Parts of the predictor's cross-validation.
pub(super) const FOLDS: usize = 5;

pub(super) fn choose(work: &mut Work<'_>) -> Result<Choice> {
    work.torch.train(&mut work.progress.of_search())?;
    work.progress.finish();
    work.clock.lap("train");

    let (setting, budget_s) = (work.setting, work.limit.aim_s());
    let (space, search, seed) = (&setting.space, &setting.config.search, setting.config.seed);
    let latency = work.latency()?;
    let others = &setting.bound()?.constraints;
    let constraints = Constraints { latency: &latency, budget_s, others };
    let mut judge = Judge::new(setting, &latency, &mut work.torch, work.progress)?;

    let drawn = feasible(space, constraints, search.samples + search.finalists, seed)?;
    let random = judge.judge(&drawn)?;
    let (samples, finalists) = shares(random.len(), search.samples, search.finalists);
    tell_if_few(random.len(), setting, judge.progress);
    let taught = &random[..samples];
    let known: Vec<(Genotype, f64)> =
        taught.iter().map(|network| (network.genotype.clone(), network.accuracy)).collect();
    let (method, options) = (Method::default(), PredictorOptions::seeded(seed));
    let quality = cross_validate(method, space, &known, &options, FOLDS, seed)?;
    let predictor = Predictor::fit(method, space, &known, &options)?;
    predictor.save(&setting.folder.predictor())?;

    let mut promising = evolve(setting, constraints, &predictor, taught, judge.progress)?;
    promising.truncate(finalists);
    let finalists = judge.judge(&promising)?;
    let chosen = best(taught.iter().chain(&finalists))?;
    let equal = equal(setting, constraints, chosen)?;
    let others = judge.judge(&[equal, space.largest()])?;

    let candidate = |network: &Evaluated| {
        let mut candidate = work.candidate(&network.genotype)?;
        candidate.accuracy_predicted =
            predictor.predict(std::slice::from_ref(&network.genotype))?.first().copied();
        candidate.accuracy_supernet = Some(network.accuracy);
        anyhow::Ok(candidate)
    };
    let mut choice = Choice {
        chosen: candidate(chosen)?,
        random_best: candidate(best(&random)?)?,
        random_equal_latency: candidate(&others[0])?,
        full: candidate(&others[1])?,
        predictor: Some(quality),
        protocols: None,
        supernet_evaluations: finalists.len() + random.len(),
        searched: finalists.clone(),
        random: random.clone(),
    };
    for (name, candidate) in choice.candidates() {
        let weights = setting.folder.network(name, "safetensors");
        make_folder_of(&weights)?;
        work.torch.extract(&candidate.genotype, &weights)?;
    }
    work.clock.lap("search");
    Ok(choice)
}

/// Tells where fewer random subnets were found than asked for.
fn tell_if_few(found: usize, setting: &Setting, progress: &Progress) {
    let search = &setting.config.search;
    let asked = search.samples + search.finalists;
    if found < asked {
        let (samples, finalists) = shares(found, search.samples, search.finalists);
        progress.line(&format!(
            "hardly any random subnet keeps to the budget: {found} were found of {asked}; the predictor learns from \
             {samples}, and {finalists} of its best are evaluated"
        ));
    }
}

/// Of as many subnets as random search has found, those from which the predictor learns, and the rest, which are of its
/// best: both searches evaluate as many, the one by the predictor at least one of its own.
fn shares(found: usize, samples: usize, finalists: usize) -> (usize, usize) {
    let taught = (found * samples / (samples + finalists)).max(2 * FOLDS).min(found);
    (taught, (found - taught).max(1))
}

/// The predictor's best subnets within the budget that the supernet has not evaluated for it yet, best first.
fn evolve(
    setting: &Setting,
    constraints: Constraints<'_>,
    predictor: &Predictor,
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
    let threads = Threads::new(threads(None))?;
    let mut predictor = predictor.clone().with_threads(&threads);
    let run = Search {
        space: &setting.space,
        strategy: &mut evolution,
        accuracy: &mut predictor,
        constraints,
        journal: None,
        threads,
    };
    let bounds =
        SearchOptions { evaluations, batch: search.population, ..SearchOptions::default() };
    let mut found = run.run(&bounds, &mut progress.of_search())?.evaluated;
    found.sort_by(Evaluated::better_first);
    let known: HashSet<&Genotype> = taught.iter().map(|network| &network.genotype).collect();
    let new = found.iter().filter(|network| !known.contains(&network.genotype));
    Ok(new.take(search.finalists).map(|network| network.genotype.clone()).collect())
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
            .filter(|genotype| self.journal.known(SupernetAccuracy::SOURCE, genotype).is_none())
            .cloned()
            .collect();
        let total = unknown.len() as u64;
        for (index, chunk) in unknown.chunks(CHUNK).enumerate() {
            let before = (index * CHUNK) as u64;
            let accuracies = self.torch.evaluate(chunk, &mut |step| {
                self.progress.update("evaluating subnets", before + step.done, total, "");
            })?;
            let scored = describe(self.latency, chunk.iter().cloned().zip(accuracies));
            self.journal.append(SupernetAccuracy::SOURCE, &scored)?;
        }
        self.progress.finish();
        let known = genotypes.iter().filter_map(|genotype| {
            Some((genotype.clone(), self.journal.known(SupernetAccuracy::SOURCE, genotype)?))
        });
        Ok(describe(self.latency, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_evaluates_as_many_subnets_as_random_search_has_found() {
        assert_eq!(shares(100, 80, 20), (80, 20));
        assert_eq!(shares(60, 80, 20), (48, 12));
        assert_eq!(shares(25, 80, 20), (20, 5));
        assert_eq!(shares(11, 80, 20), (10, 1));
        assert_eq!(shares(10, 80, 20), (10, 1));
    }
}
