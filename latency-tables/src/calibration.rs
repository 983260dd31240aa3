//! From sums of block times to latencies of whole networks.

use std::collections::BTreeMap;

use netfit_spaces::Network;
use serde::{Deserialize, Serialize};

use crate::{
    Affine, Correction, Error, Errors, Result, Source,
    fitting::{Columns, Fitted},
    regression::leave_one_out,
};

/// Nominal coverage of a prediction's interval.
pub const COVERAGE: f64 = 0.95;
/// Below so many networks a conformal interval of [`COVERAGE`] does not exist: `ceil(0.95 (n + 1)) <= n`.
pub const LEAST_NETWORKS: usize = 19;
/// A candidate of a few coefficients is chosen over a simpler one if its error is below this share of the other's.
const PARSIMONY: f64 = 0.95;
/// The same for one with a factor for each block, which follows noise more easily.
const PARSIMONY_OF_MANY: f64 = 0.9;
/// Relative errors that are nothing but rounding.
const ROUNDING: f64 = 1e-9;

/// Which of the candidates to use, each with its error, the simplest first: a later one has to earn its place against the
/// one that is chosen so far.
pub(crate) fn choose<'a>(candidates: impl Iterator<Item = (&'a Correction, f64)>) -> Option<usize> {
    let mut chosen: Option<(usize, f64)> = None;
    for (place, (correction, error)) in candidates.enumerate() {
        let many = matches!(correction, Correction::Ridge { .. });
        let share = if many { PARSIMONY_OF_MANY } else { PARSIMONY };
        if chosen.is_none_or(|(_, known)| error + ROUNDING < share * known) {
            chosen = Some((place, error));
        }
    }
    chosen.map(|(place, _)| place)
}

/// A source and correction that could have been chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The source of the entries.
    pub source: String,
    /// The correction's kind.
    pub correction: String,
    /// Leave-one-out error on the calibration networks.
    pub rmspe: f64,
}

/// The chosen source and correction, and what is expected of them. All errors here are leave-one-out errors on the
/// calibration networks, in reference-normalised seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The source whose entries are used.
    pub source: String,
    /// What turns their sum into a latency.
    pub correction: Correction,
    /// Errors of the chosen candidate.
    #[serde(flatten)]
    pub errors: Errors,
    /// Relative half-width of a prediction's interval: the split-conformal quantile of the leave-one-out errors
    /// `|measured / predicted - 1|` (Lei et al., JASA 2018); in a table that of a true latency
    /// ([`Calibration::of_true_latency`]).
    pub interval: f64,
    /// Nominal coverage of that interval.
    pub coverage: f64,
    /// Every candidate, the chosen one included.
    pub candidates: Vec<Candidate>,
    /// The baseline: latency as an affine function of multiply-adds, fitted on the same networks.
    pub multiply_adds: Affine,
    /// Errors of the baseline.
    pub multiply_adds_errors: Errors,
}

impl Calibration {
    /// Chooses among `sources` by leave-one-out error on `networks`, each with its measured latency in
    /// reference-normalised seconds.
    ///
    /// # Errors
    /// Fewer than [`LEAST_NETWORKS`], a block without an entry, or times that no rising line explains.
    pub fn fit(sources: &BTreeMap<String, Source>, networks: &[(Network, f64)]) -> Result<Self> {
        if networks.len() < LEAST_NETWORKS {
            return Err(Error::TooFew { least: LEAST_NETWORKS, found: networks.len() });
        }
        let fail = |reason: &str| failed(networks, reason);
        let measured = latencies(networks)?;
        let mut fitted: Vec<(&String, Fitted, f64)> = Vec::new();
        for (name, source) in sources {
            for one in fits(name, source, networks, &measured)? {
                let rmspe = crate::rmspe(&one.predicted, &measured);
                fitted.push((name, one, rmspe));
            }
        }
        // The simplest first, of every source.
        fitted.sort_by_key(|(_, one, _)| one.correction.coefficients());
        let candidate = |(name, one, rmspe): &(&String, Fitted, f64)| Candidate {
            source: (*name).clone(),
            correction: one.correction.name().to_owned(),
            rmspe: *rmspe,
        };
        let candidates: Vec<Candidate> = fitted.iter().map(candidate).collect();
        let chosen = choose(fitted.iter().map(|(_, one, rmspe)| (&one.correction, *rmspe)));
        let chosen = chosen
            .ok_or_else(|| fail("latency does not rise with the sum of the blocks' times"))?;
        let (source, best, _) = fitted.swap_remove(chosen);
        let counts: Vec<f64> =
            networks.iter().map(|(network, _)| network.multiply_adds().0 as f64).collect();
        let ones = vec![1.0; counts.len()];
        let multiply_adds =
            Affine::fit(&counts, &measured).ok_or_else(|| fail("multiply-adds explain nothing"))?;
        let baseline = leave_one_out(&[&ones, &counts], &measured)
            .unwrap_or_else(|| counts.iter().map(|&count| multiply_adds.at(count)).collect());
        Ok(Self {
            source: source.clone(),
            correction: best.correction,
            interval: conformal(&best.predicted, &measured),
            errors: Errors::of(&best.predicted, &measured),
            coverage: COVERAGE,
            candidates,
            multiply_adds,
            multiply_adds_errors: Errors::of(&baseline, &measured),
        })
    }

    /// What the chosen correction predicts for each of `networks` when it is fitted to all others: predictions as for
    /// networks that the table has not seen.
    ///
    /// # Errors
    /// Other sources or networks than those of the fit.
    pub fn leave_one_out(
        &self,
        sources: &BTreeMap<String, Source>,
        networks: &[(Network, f64)],
    ) -> Result<Vec<f64>> {
        let missing = || failed(networks, &format!("no times from source `{}`", self.source));
        let source = sources.get(&self.source).ok_or_else(missing)?;
        fits(&self.source, source, networks, &latencies(networks)?)?
            .into_iter()
            .find(|fitted| fitted.correction.name() == self.correction.name())
            .map(|fitted| fitted.predicted)
            .ok_or_else(|| failed(networks, "they are not those of the table"))
    }
}

fn failed(networks: &[(Network, f64)], reason: &str) -> Error {
    Error::Calibration { networks: networks.len(), reason: reason.to_owned() }
}

fn latencies(networks: &[(Network, f64)]) -> Result<Vec<f64>> {
    let measured: Vec<f64> = networks.iter().map(|(_, seconds)| *seconds).collect();
    if measured.iter().any(|seconds| !(seconds.is_finite() && *seconds > 0.0)) {
        return Err(failed(networks, "expected positive latencies"));
    }
    Ok(measured)
}

fn fits(
    name: &str,
    source: &Source,
    networks: &[(Network, f64)],
    measured: &[f64],
) -> Result<Vec<Fitted>> {
    let columns = Columns::of(source, networks)
        .map_err(|block| failed(networks, &format!("no time for `{block}` in source `{name}`")))?;
    Ok(columns.fits(measured))
}

/// The `ceil((n + 1) coverage)`-th smallest relative error.
pub(crate) fn conformal(predicted: &[f64], measured: &[f64]) -> f64 {
    let mut errors: Vec<f64> =
        predicted.iter().zip(measured).map(|(p, m)| (m / p - 1.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let rank = ((errors.len() + 1) as f64 * COVERAGE).ceil() as usize;
    errors[rank.clamp(1, errors.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use netfit_spaces::Random;

    #[test]
    fn predictions_of_left_out_networks_are_those_that_the_errors_are_of() {
        let table = crate::table::tests::table();
        let space = netfit_spaces::Space::preset("ofa-28").unwrap();
        let mut random = Random::new(3, "noise");
        let mut networks: Vec<(Network, f64)> = table
            .calibration_networks
            .iter()
            .map(|timing| {
                let seconds = timing.seconds * (1.0 + 0.02 * random.normal());
                (space.network(&timing.genotype), seconds)
            })
            .collect();
        let calibration = Calibration::fit(&table.sources, &networks).unwrap();
        let predicted = calibration.leave_one_out(&table.sources, &networks).unwrap();
        let measured = latencies(&networks).unwrap();
        assert_eq!(Errors::of(&predicted, &measured), calibration.errors);
        networks[0].1 = f64::NAN;
        assert!(calibration.leave_one_out(&table.sources, &networks).is_err());
        assert!(calibration.leave_one_out(&BTreeMap::new(), &networks).is_err());
    }

    #[test]
    fn a_candidate_has_to_beat_the_one_that_is_chosen_and_no_other() {
        let line = Correction::Affine(Affine { intercept_s: 0.0, slope: 1.0 });
        let (intercept_s, slope, kernel_s, parameter_s) = (0.0, 1.0, 0.0, 0.0);
        let (penalty, factors) = (1.0, BTreeMap::new());
        let ridge =
            Correction::Ridge { intercept_s, slope, kernel_s, parameter_s, penalty, factors };
        assert!(line.coefficients() < ridge.coefficients());
        let chosen = |errors: &[(&Correction, f64)]| choose(errors.iter().copied());
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[(&line, 4.0)]), Some(0));
        // The second does not earn its place, and does not stand in the way of the third.
        assert_eq!(chosen(&[(&line, 4.0), (&line, 3.9), (&line, 3.75)]), Some(2));
        assert_eq!(chosen(&[(&line, 4.0), (&ridge, 3.7), (&ridge, 3.5)]), Some(2));
        assert_eq!(chosen(&[(&line, 0.0), (&line, 0.0), (&ridge, 0.0)]), Some(0));
    }

    #[test]
    fn the_conformal_interval_covers_its_share_of_fresh_points() {
        // By theory at least 95 % on average over draws of the calibration set.
        let (mut covered, mut total) = (0, 0);
        for seed in 0..100 {
            let mut random = Random::new(seed, "conformal");
            let mut draw = |n: usize| -> (Vec<f64>, Vec<f64>) {
                let x: Vec<f64> = (0..n).map(|_| 1.0 + random.uniform()).collect();
                let y = x.iter().map(|x| (0.5 + x) * (1.0 + 0.02 * random.normal())).collect();
                (x, y)
            };
            let (x, y) = draw(24);
            let half = conformal(&leave_one_out(&[&[1.0; 24], &x], &y).unwrap(), &y);
            let line = Affine::fit(&x, &y).unwrap();
            let (x, y) = draw(50);
            covered +=
                x.iter().zip(&y).filter(|(x, y)| (*y / line.at(**x) - 1.0).abs() <= half).count();
            total += x.len();
        }
        let share = f64::from(covered as u32) / f64::from(total as u32);
        assert!((0.935..0.99).contains(&share), "{share}");
    }
}
