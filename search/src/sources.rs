//! The training process as a source of accuracies.

use netfit_predictors::Accuracy;
use netfit_spaces::Genotype;

use crate::{Progress, TorchProcess, job::Scratch};

/// The supernet of a running [`TorchProcess`] as an accuracy source.
pub struct SupernetAccuracy<'a> {
    /// The process, its supernet trained.
    pub process: &'a mut TorchProcess,
    /// Where its progress goes.
    pub progress: &'a mut dyn FnMut(Progress),
}

impl SupernetAccuracy<'_> {
    /// Its name in journals.
    pub const SOURCE: &'static str = "supernet";
}

impl Accuracy for SupernetAccuracy<'_> {
    fn source(&self) -> String {
        Self::SOURCE.to_owned()
    }

    fn accuracies(&mut self, genotypes: &[Genotype]) -> netfit_predictors::Result<Vec<f64>> {
        let found = self.process.evaluate(genotypes, self.progress);
        found.map_err(|error| netfit_predictors::Error::Source(Box::new(error)))
    }
}

/// Networks that a running [`TorchProcess`] trains from scratch, one after the other, as an accuracy source.
pub struct ScratchAccuracy<'a> {
    /// The process.
    pub process: &'a mut TorchProcess,
    /// How each network is trained.
    pub scratch: Scratch,
    /// The identity of all that decides an accuracy ([`Scratch::protocol`]).
    pub protocol: String,
    /// Where its progress goes.
    pub progress: &'a mut dyn FnMut(Progress),
}

impl ScratchAccuracy<'_> {
    /// The name in journals of networks trained under a protocol.
    pub fn source_of(protocol: &str) -> String {
        format!("scratch {protocol}")
    }
}

impl Accuracy for ScratchAccuracy<'_> {
    fn source(&self) -> String {
        Self::source_of(&self.protocol)
    }

    fn accuracies(&mut self, genotypes: &[Genotype]) -> netfit_predictors::Result<Vec<f64>> {
        let train = |genotype| {
            self.process
                .train_network(genotype, &self.scratch, None, self.progress)
                .map_err(|error| netfit_predictors::Error::Source(Box::new(error)))
        };
        genotypes.iter().map(train).collect()
    }
}
