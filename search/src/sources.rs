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

impl Accuracy for SupernetAccuracy<'_> {
    fn source(&self) -> String {
        "supernet".to_owned()
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

impl Accuracy for ScratchAccuracy<'_> {
    fn source(&self) -> String {
        format!("scratch {}", self.protocol)
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
