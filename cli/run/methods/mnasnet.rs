//! MnasNet (Tan et al., CVPR 2019): a recurrent controller proposes networks, each is trained for a few epochs, the
//! controller learns from accuracy and latency, and the best are trained in full.
//!
//! The reward is the paper's soft one, with the budget as target. We depart in that only networks within the budget are
//! trained, so the budget holds whatever the reward. Random search trains as many networks by the same protocols, and
//! as many of its best in full.

use anyhow::{Context as _, Result};
use netfit_predictors::TableLatency;
use netfit_search::{
    Evaluated, Journal, Reward, ScratchAccuracy, Search, SearchOptions, StrategyOptions,
    equal_latency, job::Scratch, strategy_with,
};
use netfit_spaces::Genotype;

use super::{Choice, Protocols, Work, best, describe, ofa::DRAWS};
use crate::{
    run::result::Candidate,
    runtime::{make_folder_of, write_file},
};

pub(super) fn choose(work: &mut Work<'_>) -> Result<Choice> {
    let setting = work.setting;
    let (space, search, seed) = (&setting.space, &setting.config.search, setting.config.seed);
    let latency = work.latency()?;
    let scratch = &setting.config.scratch;
    let mut networks = Networks {
        journal: Journal::open(&setting.folder.journal(), space)?,
        proxy: setting.protocol(&scratch.proxy()),
        full: setting.protocol(&scratch.full()),
        latency,
        work,
    };
    let searched = networks.search("mnasnet", Some(Reward::SOFT))?;
    let random = networks.search("random", None)?;
    networks.work.clock.lap("search");

    let found = networks.train(&top(&searched, search.finalists))?;
    let drawn = networks.train(&top(&random, search.finalists))?;
    let chosen = best(&found)?;
    let equal = equal_latency(
        space,
        &networks.latency,
        networks.work.limit.seconds,
        chosen.latency_s,
        DRAWS,
        std::slice::from_ref(&chosen.genotype),
        seed + 1,
    )?;
    let others = networks.train(&[equal, space.largest()])?;
    networks.work.clock.lap("train");

    let mut choice = Choice {
        chosen: networks.candidate(chosen)?,
        random_best: networks.candidate(best(&drawn)?)?,
        random_equal_latency: networks.candidate(&others[0])?,
        full: networks.candidate(&others[1])?,
        protocols: Some(Protocols { proxy: networks.proxy.clone(), full: networks.full.clone() }),
        predictor: None,
        supernet_evaluations: 0,
        searched,
        random,
    };
    for (name, candidate) in choice.candidates() {
        networks.keep(name, &candidate.genotype)?;
    }
    Ok(choice)
}

/// The best so many, best first.
fn top(networks: &[Evaluated], count: usize) -> Vec<Genotype> {
    let mut networks: Vec<&Evaluated> = networks.iter().collect();
    networks.sort_by(|a, b| a.better_first(b));
    networks.into_iter().take(count).map(|network| network.genotype.clone()).collect()
}

/// Networks that are trained from scratch, each once: the journal knows them.
struct Networks<'a, 'b> {
    work: &'a mut Work<'b>,
    journal: Journal,
    latency: TableLatency,
    /// The protocols' identities.
    proxy: String,
    full: String,
}

impl Networks<'_, '_> {
    /// The networks that a strategy proposes, by the proxy task.
    fn search(&mut self, name: &str, reward: Option<Reward>) -> Result<Vec<Evaluated>> {
        let Self { work, journal, latency, proxy, .. } = self;
        let Work { setting, limit, torch, progress, .. } = work;
        let (space, budget_s) = (&setting.space, limit.seconds);
        let goal = StrategyOptions { target_s: Some(budget_s), reward };
        let mut strategy = strategy_with(name, space, setting.config.seed, &goal)?;
        let mut accuracy = ScratchAccuracy {
            process: torch,
            scratch: setting.config.scratch.proxy(),
            protocol: proxy.clone(),
            progress: &mut |_| {},
        };
        let run = Search {
            space,
            strategy: strategy.as_mut(),
            accuracy: &mut accuracy,
            latency,
            journal: Some(journal),
        };
        // Each network is a training: the journal has it before the next one begins.
        let options = SearchOptions {
            budget_s,
            evaluations: setting.config.search.evaluations,
            batch: 1,
            ..SearchOptions::default()
        };
        let stage = format!("training proposals of {name}");
        let mut shown = |step: netfit_search::Progress| {
            progress.update(&stage, step.done, step.total, &step.note);
        };
        let found = run.run(&options, &mut shown)?.evaluated;
        progress.finish();
        Ok(found)
    }

    /// The same networks trained in full, their weights kept.
    fn train(&mut self, genotypes: &[Genotype]) -> Result<Vec<Evaluated>> {
        let scratch = self.work.setting.config.scratch.full();
        let mut accuracies = Vec::new();
        for genotype in genotypes {
            accuracies.push((genotype.clone(), self.trained(genotype, &scratch)?));
        }
        Ok(describe(&self.latency, accuracies))
    }

    fn trained(&mut self, genotype: &Genotype, scratch: &Scratch) -> Result<f64> {
        let (source, weights) = (ScratchAccuracy::source_of(&self.full), self.weights(genotype));
        if let Some(accuracy) = self.journal.known(&source, genotype)
            && weights.exists()
        {
            return Ok(accuracy);
        }
        make_folder_of(&weights)?;
        let Work { torch, progress, .. } = &mut *self.work;
        let accuracy =
            torch.train_network(genotype, scratch, Some(&weights), &mut progress.of_search())?;
        progress.finish();
        let network = describe(&self.latency, [(genotype.clone(), accuracy)]);
        self.journal.append(&source, &network)?;
        Ok(accuracy)
    }

    /// Where the weights of a network trained in full lie.
    fn weights(&self, genotype: &Genotype) -> std::path::PathBuf {
        let setting = self.work.setting;
        setting.folder.network(&setting.space.network(genotype).hash(), "safetensors")
    }

    /// Copies a network's weights to where a run's results have them.
    fn keep(&self, name: &str, genotype: &Genotype) -> Result<()> {
        let weights = self.weights(genotype);
        let path = self.work.setting.folder.network(name, "safetensors");
        std::fs::read(&weights)
            .and_then(|bytes| write_file(&path, &bytes))
            .with_context(|| format!("cannot copy `{}` to `{}`", weights.display(), path.display()))
    }

    fn candidate(&self, network: &Evaluated) -> Result<Candidate> {
        let mut candidate = self.work.candidate(&network.genotype)?;
        let proxy = ScratchAccuracy::source_of(&self.proxy);
        candidate.accuracy_proxy = self.journal.known(&proxy, &network.genotype);
        candidate.accuracy_trained = Some(network.accuracy);
        Ok(candidate)
    }
}
