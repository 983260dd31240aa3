//! Networks that a run trains from scratch, each once: the journal knows their accuracies, the run folder has the weights
//! of those trained in full.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use netfit_predictors::TableLatency;
use netfit_search::{Constraints, Evaluated, Journal, ScratchAccuracy};
use netfit_spaces::Genotype;

use super::{Choice, Protocols, Work, describe};
use crate::{
    run::result::Candidate,
    runtime::{make_folder_of, write_file},
};

pub(super) struct Networks<'a, 'b> {
    pub(super) work: &'a mut Work<'b>,
    pub(super) journal: Journal,
    pub(super) latency: TableLatency,
    /// The protocols' identities.
    pub(super) proxy: String,
    full: String,
}

impl<'a, 'b> Networks<'a, 'b> {
    pub(super) fn new(work: &'a mut Work<'b>) -> Result<Self> {
        let (setting, latency) = (work.setting, work.latency()?);
        let scratch = &setting.config.scratch;
        Ok(Self {
            journal: Journal::open(&setting.folder.journal(), &setting.space)?,
            proxy: setting.protocol(&scratch.proxy()),
            full: setting.protocol(&scratch.full()),
            latency,
            work,
        })
    }

    /// What the run's networks keep to.
    pub(super) fn constraints(&self) -> Result<Constraints<'_>> {
        let Work { setting, limit, .. } = &*self.work;
        let (latency, others) = (&self.latency, &setting.bound()?.constraints);
        Ok(Constraints { latency, budget_s: limit.seconds, others })
    }

    /// How they were trained; `proxied`: some of them by the proxy task.
    pub(super) fn protocols(&self, proxied: bool) -> Protocols {
        Protocols { proxy: proxied.then(|| self.proxy.clone()), full: self.full.clone() }
    }

    /// These networks trained in full, their weights kept.
    pub(super) fn train(&mut self, genotypes: &[Genotype]) -> Result<Vec<Evaluated>> {
        let mut accuracies = Vec::new();
        for genotype in genotypes {
            accuracies.push((genotype.clone(), self.trained(genotype)?));
        }
        Ok(describe(&self.latency, accuracies))
    }

    fn trained(&mut self, genotype: &Genotype) -> Result<f64> {
        let (source, weights) = (ScratchAccuracy::source_of(&self.full), self.weights(genotype));
        if let Some(accuracy) = self.journal.known(&source, genotype)
            && weights.exists()
        {
            return Ok(accuracy);
        }
        make_folder_of(&weights)?;
        let scratch = self.work.setting.config.scratch.full();
        let Work { torch, progress, .. } = &mut *self.work;
        let accuracy =
            torch.train_network(genotype, &scratch, Some(&weights), &mut progress.of_search())?;
        progress.finish();
        let network = describe(&self.latency, [(genotype.clone(), accuracy)]);
        self.journal.append(&source, &network)?;
        Ok(accuracy)
    }

    /// Where the weights of a network trained in full lie.
    fn weights(&self, genotype: &Genotype) -> PathBuf {
        let setting = self.work.setting;
        setting.folder.network(&setting.space.network(genotype).hash(), "safetensors")
    }

    /// What was chosen and what it is compared with, in the order of [`Choice::candidates`], all trained
    /// in full; and what the search and random search evaluated.
    pub(super) fn choice(
        &self,
        [chosen, random_best, random_equal_latency, full]: [&Evaluated; 4],
        protocols: Protocols,
        [searched, random]: [Vec<Evaluated>; 2],
    ) -> Result<Choice> {
        let mut choice = Choice {
            chosen: self.candidate(chosen)?,
            random_best: self.candidate(random_best)?,
            random_equal_latency: self.candidate(random_equal_latency)?,
            full: self.candidate(full)?,
            predictor: None,
            protocols: Some(protocols),
            supernet_evaluations: 0,
            searched,
            random,
        };
        for (name, candidate) in choice.candidates() {
            self.keep(name, &candidate.genotype)?;
        }
        Ok(choice)
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
