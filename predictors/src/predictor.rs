//! Accuracy predictors behind one contract.

use netfit_spaces::{Genotype, Space};

use crate::{
    Accuracy, Error, Method, Mlp, PredictorOptions, Result, Threads,
    method::Model,
    scale::{Scale, Target},
};

/// Genotypes that one thread scores at a time.
const BATCH: usize = 64;

/// Predicts the accuracy of genotypes; fitted by any [`Method`].
///
/// Where a method is fitted to ranks, its prediction becomes an accuracy by the training networks: linearly between the
/// two whose ranks are next to it, so that the order is kept. The ensemble takes the mean of its members before that;
/// ranks and normal scores both have a variance of about 1. Normal scores tell apart the ends of the order and ranks
/// its middle, which is why the members differ in them.
///
/// Where all known accuracies are equal, nothing is fitted and every genotype is predicted to have that accuracy.
#[derive(Clone, Debug)]
pub struct Predictor {
    pub(crate) space: Space,
    pub(crate) method: Method,
    pub(crate) networks: usize,
    /// The mean accuracy of the training networks.
    pub(crate) base: f64,
    /// None where all known accuracies are equal.
    pub(crate) members: Vec<Member>,
    /// From the mean of the members; none where they predict accuracies.
    pub(crate) scale: Option<Scale>,
    pub(crate) threads: Threads,
}

/// One of the models whose mean is predicted.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) model: Model,
    /// From what it predicts; none where that is an accuracy.
    pub(crate) scale: Option<Scale>,
}

/// What is predicted of one genotype.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Its accuracy, fraction of 1.
    pub accuracy: f64,
    /// How far the members of an ensemble are apart: the standard deviation of their accuracies. 0 for a single model.
    pub spread: f64,
}

impl Predictor {
    /// Fits a predictor to known accuracies (fractions of 1).
    ///
    /// # Errors
    /// Fewer than two networks, an accuracy that is not finite, options out of range; what the method reports.
    pub fn fit(
        method: Method,
        space: &Space,
        known: &[(Genotype, f64)],
        options: &PredictorOptions,
    ) -> Result<Self> {
        check(known)?;
        let accuracies: Vec<f64> = known.iter().map(|(_, accuracy)| *accuracy).collect();
        let base = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
        let mut predictor = Self {
            space: space.clone(),
            method,
            networks: known.len(),
            base,
            members: Vec::new(),
            scale: None,
            threads: Threads::default(),
        };
        // Equal accuracies differ from their mean by rounding alone.
        if accuracies.iter().all(|accuracy| (accuracy - base).abs() < 1e-12) {
            return Ok(predictor);
        }
        let methods = method.members();
        let mut mean = vec![0.0; known.len()];
        for &method in &methods {
            let targets = method.target().of(&accuracies);
            let ranked = method.target() != Target::Accuracy;
            mean.iter_mut().zip(&targets).for_each(|(mean, t)| *mean += t / methods.len() as f64);
            let scale = ranked.then(|| Scale::new(&targets, &accuracies));
            let genotypes = known.iter().map(|(genotype, _)| genotype.clone());
            let known: Vec<_> = genotypes.zip(targets).collect();
            let model = Model::fit(method, space, &known, options)?;
            predictor.members.push(Member { model, scale });
        }
        let ranked = predictor.members.iter().any(|member| member.scale.is_some());
        predictor.scale = ranked.then(|| Scale::new(&mean, &accuracies));
        Ok(predictor)
    }

    /// The space whose genotypes it scores.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// How it was fitted.
    pub fn method(&self) -> Method {
        self.method
    }

    /// How many networks it was fitted on.
    pub fn networks(&self) -> usize {
        self.networks
    }

    /// Predicts on these threads; on the caller's where this is not said. Predictions are the same, bit for bit.
    #[must_use]
    pub fn with_threads(mut self, threads: &Threads) -> Self {
        // A sole perceptron shares them out by itself, which fills its batches better.
        if let ([Member { model: Model::Mlp(mlp), .. }], None) =
            (&mut self.members[..], &self.scale)
        {
            **mlp = mlp.as_ref().clone().with_threads(threads);
        } else {
            self.threads = threads.clone();
        }
        self
    }

    /// The predicted accuracy of each genotype.
    ///
    /// # Errors
    /// What the method reports; none does for genotypes of its space.
    pub fn predict(&self, genotypes: &[Genotype]) -> Result<Vec<f64>> {
        Ok(self.predictions(genotypes)?.into_iter().map(|prediction| prediction.accuracy).collect())
    }

    /// The predicted accuracy of each genotype, and how far the members are apart.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn predictions(&self, genotypes: &[Genotype]) -> Result<Vec<Prediction>> {
        let batches: Vec<&[Genotype]> = genotypes.chunks(BATCH).collect();
        let predicted = self.threads.map(&batches, |batch| self.batch(batch));
        Ok(predicted.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn batch(&self, genotypes: &[Genotype]) -> Result<Vec<Prediction>> {
        let predict = |member: &Member| member.model.predict(&self.space, genotypes);
        let members = self.members.iter().map(predict).collect::<Result<Vec<_>>>()?;
        Ok((0..genotypes.len()).map(|at| self.prediction(&members, at)).collect())
    }

    /// The prediction for the genotype at one place, from what each member predicts.
    fn prediction(&self, members: &[Vec<f64>], at: usize) -> Prediction {
        if members.is_empty() {
            return Prediction { accuracy: self.base, spread: 0.0 };
        }
        let count = members.len() as f64;
        let mean = members.iter().map(|predicted| predicted[at]).sum::<f64>() / count;
        let accuracy = accuracy(self.scale.as_ref(), mean);
        if members.len() == 1 {
            return Prediction { accuracy, spread: 0.0 };
        }
        let own = || {
            let pairs = self.members.iter().zip(members);
            pairs.map(|(member, predicted)| self::accuracy(member.scale.as_ref(), predicted[at]))
        };
        let middle = own().sum::<f64>() / count;
        let variance = own().map(|accuracy| (accuracy - middle).powi(2)).sum::<f64>() / count;
        Prediction { accuracy, spread: variance.sqrt() }
    }
}

fn accuracy(scale: Option<&Scale>, predicted: f64) -> f64 {
    scale.map_or(predicted, |scale| scale.accuracy(predicted))
}

impl Accuracy for Predictor {
    fn source(&self) -> String {
        "predictor".to_owned()
    }

    fn accuracies(&mut self, genotypes: &[Genotype]) -> Result<Vec<f64>> {
        match (&mut self.members[..], &self.scale) {
            ([Member { model: Model::Mlp(mlp), .. }], None) => mlp.accuracies(genotypes),
            _ => self.predict(genotypes),
        }
    }
}

impl From<Mlp> for Predictor {
    fn from(mlp: Mlp) -> Self {
        Self {
            space: mlp.space.clone(),
            method: Method::Mlp,
            networks: mlp.networks,
            base: mlp.base,
            members: vec![Member { model: Model::Mlp(Box::new(mlp)), scale: None }],
            scale: None,
            threads: Threads::default(),
        }
    }
}

/// Refuses what nothing can be fitted on.
pub(crate) fn check(known: &[(Genotype, f64)]) -> Result<()> {
    let fail = |reason: String| Err(Error::Training { reason });
    if known.len() < 2 {
        return fail(format!("expected at least 2 networks, found {}", known.len()));
    }
    if let Some((genotype, accuracy)) = known.iter().find(|(_, accuracy)| !accuracy.is_finite()) {
        return fail(format!("the accuracy of `{genotype}` is {accuracy}, expected a finite one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
