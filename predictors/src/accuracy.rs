//! What scores genotypes.

use netfit_spaces::Genotype;

use crate::Result;

/// A source of accuracies: a predictor, a supernet, training from scratch, a file of known accuracies.
pub trait Accuracy {
    /// One word or two for the journal, for example `predictor`: accuracies of different sources are never mixed.
    fn source(&self) -> String;

    /// The accuracy of each genotype, as a fraction of 1, in the order of `genotypes`.
    ///
    /// # Errors
    /// A genotype that the source cannot score; what the source itself reports.
    fn accuracies(&mut self, genotypes: &[Genotype]) -> Result<Vec<f64>>;
}
