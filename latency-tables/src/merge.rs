//! Two measurements of one device and space as one table.

use std::collections::BTreeMap;

use netfit_spaces::{Network, Space};

use crate::{
    Calibration, Entry, Error, LatencyTable, NetworkTiming, Reference, Result, Source, Timing,
    Validation,
};

impl LatencyTable {
    /// Both tables as one, of the sources that both have, in this table's normalised seconds. Entries are means by number
    /// of samples (the minimum stays the minimum); networks are pooled; calibration and validation are made anew. A
    /// network that one table was calibrated on and the other validated on goes to the calibration. Tails are dropped:
    /// they belong to the calibration that they were fitted to. The seed is this table's.
    ///
    /// # Errors
    /// Tables of two devices, of another space, beside two reference networks, of the same measurements, without a
    /// common source, or that no calibration explains together.
    pub fn merge(&self, other: &Self, space: &Space) -> Result<Self> {
        self.check_space(space)?;
        other.check_space(space)?;
        self.check_device(&other.fingerprint)?;
        let scale = self.scale(other)?;
        let calibrated = parsed(self.calibration_networks.iter(), space, 1.0)?;
        let mut calibration_networks =
            pooled(calibrated, parsed(other.calibration_networks.iter(), space, scale)?);
        let validated = parsed(self.validation_networks.iter(), space, 1.0)?;
        let mut validation_networks =
            pooled(validated, parsed(other.validation_networks.iter(), space, scale)?);
        let (both, judges): (Vec<_>, Vec<_>) = validation_networks.drain(..).partition(|timing| {
            calibration_networks.iter().any(|known| known.genotype == timing.genotype)
        });
        calibration_networks = pooled(calibration_networks, both);
        let sources = self.common_sources(other, scale)?;
        let pairs: Vec<(Network, f64)> = calibration_networks
            .iter()
            .map(|timing| (space.network(&timing.genotype), timing.seconds))
            .collect();
        let reference = Reference {
            processes_s: [&self.reference.processes_s[..], &other.reference.processes_s].concat(),
            ..self.reference.clone()
        };
        let mut merged = Self {
            reference,
            calibration: Calibration::fit(&sources, &pairs)?.of_true_latency(&calibration_networks),
            sources,
            validation: None,
            hygiene: self.hygiene.and(&other.hygiene),
            calibration_networks,
            validation_networks: judges,
            tails: Vec::new(),
            tail_networks: Vec::new(),
            seconds: self.seconds + other.seconds,
            ..self.clone()
        };
        if !merged.validation_networks.is_empty() {
            let truths: Vec<(Network, &NetworkTiming)> = merged
                .validation_networks
                .iter()
                .map(|timing| (space.network(&timing.genotype), timing))
                .collect();
            merged.validation = Some(Validation::judge(&merged, &truths)?);
        }
        Ok(merged)
    }

    /// What turns the other table's normalised seconds into this table's.
    fn scale(&self, other: &Self) -> Result<f64> {
        if self.reference.network != other.reference.network {
            return Err(fail(
                "their reference networks differ, so their times cannot be compared",
                "profile again with this netfit",
            ));
        }
        if self.shares_measurements(other) {
            return Err(fail(
                "they hold the same measurements, which would count twice",
                "profile once more with another --seed",
            ));
        }
        let scale = self.reference.median_s / other.reference.median_s;
        if !(scale.is_finite() && scale > 0.0) {
            return Err(fail(
                &format!(
                    "the reference network takes {} s in one and {} s in the other, expected more than 0",
                    self.reference.median_s, other.reference.median_s
                ),
                "profile again",
            ));
        }
        Ok(scale)
    }

    /// Whether a network's samples in one table are among its samples in the other.
    fn shares_measurements(&self, other: &Self) -> bool {
        let networks =
            |table: &Self| [&table.calibration_networks[..], &table.validation_networks].concat();
        let mine = networks(self);
        let within = |few: &[f64], many: &[f64]| {
            !few.is_empty() && many.windows(few.len()).any(|window| window == few)
        };
        networks(other).iter().any(|theirs| {
            mine.iter().filter(|timing| timing.genotype == theirs.genotype).any(|timing| {
                within(&timing.ratios, &theirs.ratios) || within(&theirs.ratios, &timing.ratios)
            })
        })
    }

    /// The sources that both have; the other's times are multiplied by `scale`, as those of its networks are.
    fn common_sources(&self, other: &Self, scale: f64) -> Result<BTreeMap<String, Source>> {
        let common: BTreeMap<String, Source> = self
            .sources
            .iter()
            .filter_map(|(name, source)| {
                Some((name.clone(), merged(source, &scaled(other.sources.get(name)?, scale))))
            })
            .collect();
        if common.is_empty() {
            let names = |table: &Self| table.sources.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(fail(
                &format!("block times come from {} and {}", names(self), names(other)),
                "profile both in the same way",
            ));
        }
        Ok(common)
    }
}

fn fail(reason: &str, hint: &'static str) -> Error {
    Error::Merge { reason: reason.to_owned(), hint }
}

/// The timings with genotypes of the space, times `scale`.
fn parsed<'a>(
    timings: impl Iterator<Item = &'a NetworkTiming>,
    space: &Space,
    scale: f64,
) -> Result<Vec<NetworkTiming>> {
    timings
        .map(|timing| {
            let genotype = space
                .parse(&timing.genotype.to_string())
                .map_err(|error| fail(&error.to_string(), "profile again"))?;
            if timing.processes_s.is_empty() {
                return Err(fail(&format!("`{genotype}` has no times"), "profile again"));
            }
            Ok(NetworkTiming {
                genotype,
                seconds: scale * timing.seconds,
                processes_s: timing.processes_s.iter().map(|seconds| scale * seconds).collect(),
                weights: timing.weights.clone(),
                ratios: timing.ratios.clone(),
            })
        })
        .collect()
}

/// Both, with one timing for each network.
fn pooled(mut timings: Vec<NetworkTiming>, more: Vec<NetworkTiming>) -> Vec<NetworkTiming> {
    for timing in more {
        match timings.iter_mut().find(|known| known.genotype == timing.genotype) {
            Some(known) => {
                known.weights = [known.shares(), timing.shares()].concat();
                known.processes_s.extend(timing.processes_s);
                known.ratios.extend(timing.ratios);
                known.seconds = known.mean_of(0..known.processes_s.len());
            }
            None => timings.push(timing),
        }
    }
    timings
}

fn scaled(source: &Source, scale: f64) -> Source {
    let timing = |timing: &Timing| Timing {
        median_s: scale * timing.median_s,
        mean_s: scale * timing.mean_s,
        mad_s: scale * timing.mad_s,
        min_s: scale * timing.min_s,
        samples: timing.samples,
    };
    let entry = |entry: &Entry| Entry { timing: timing(&entry.timing), kernels: entry.kernels };
    let entries = source.entries.iter().map(|(line, found)| (line.clone(), entry(found))).collect();
    Source { entries, overhead: timing(&source.overhead) }
}

fn merged(a: &Source, b: &Source) -> Source {
    let mut entries = a.entries.clone();
    for (line, theirs) in &b.entries {
        entries
            .entry(line.clone())
            .and_modify(|ours| {
                let weight = weight(&ours.timing, &theirs.timing);
                *ours = Entry {
                    timing: mean(&ours.timing, &theirs.timing),
                    kernels: weight * ours.kernels + (1.0 - weight) * theirs.kernels,
                };
            })
            .or_insert_with(|| theirs.clone());
    }
    Source { entries, overhead: mean(&a.overhead, &b.overhead) }
}

/// The share of the samples that are those of `a`.
fn weight(a: &Timing, b: &Timing) -> f64 {
    a.samples.max(1) as f64 / (a.samples.max(1) + b.samples.max(1)) as f64
}

fn mean(a: &Timing, b: &Timing) -> Timing {
    let weight = weight(a, b);
    let mean = |a: f64, b: f64| weight * a + (1.0 - weight) * b;
    Timing {
        median_s: mean(a.median_s, b.median_s),
        mean_s: mean(a.mean_s, b.mean_s),
        mad_s: mean(a.mad_s, b.mad_s),
        min_s: a.min_s.min(b.min_s),
        samples: a.samples + b.samples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Correction, Fingerprint, Hygiene, Verdict,
        table::tests::{table, table_of},
    };

    fn space() -> Space {
        Space::preset("ofa-28").unwrap()
    }

    fn message(a: &LatencyTable, b: &LatencyTable) -> String {
        a.merge(b, &space()).unwrap_err().to_string()
    }

    /// The last of the calibration networks become validation networks.
    fn validated(mut table: LatencyTable, from: usize) -> LatencyTable {
        table.validation_networks = table.calibration_networks.split_off(from);
        table
    }

    #[test]
    fn networks_and_blocks_are_pooled_in_the_first_tables_seconds() {
        let a = validated(table(), 20);
        // On a machine of half the speed everything takes twice as long, the reference too.
        let mut b = validated(table_of(1, 2e-4), 19);
        b.hygiene = Hygiene { verdict: Verdict::NoiseAccepted, ..b.hygiene };
        let merged = a.merge(&b, &space()).unwrap();
        let Correction::Affine(line) = merged.calibration.correction else { panic!() };
        // Both are those of the first machine: blocks of 1 unit, latencies of 1e-5 + 2 units.
        assert!((line.slope - 2.0).abs() < 1e-9, "{line:?}");
        assert!((line.intercept_s - 1e-5).abs() < 1e-14, "{line:?}");
        assert_eq!(merged.calibration_networks.len(), 39);
        let validation = merged.validation.unwrap();
        assert_eq!(validation.errors.networks, 9);
        assert!(validation.errors.rmspe < 1e-9);
        assert_eq!(merged.reference.processes_s, [1e-4, 2e-4]);
        assert_eq!((merged.hygiene.bursts, merged.hygiene.verdict), (48, Verdict::NoiseAccepted));
    }

    #[test]
    fn entries_are_means_by_samples_and_a_network_of_both_goes_to_the_calibration() {
        let a = validated(table(), 20);
        let mut b = table_of(1, 1e-4);
        let line = "pool 192x4x4 -> 192x1x1";
        let twice = b.sources.get_mut("in-place").unwrap().entries.get_mut(line).unwrap();
        twice.timing = Timing { samples: 3, ..Timing::of(&[5e-9]).unwrap() };
        twice.kernels = 4.0;
        b.calibration_networks[0] = NetworkTiming {
            processes_s: vec![2.0 * a.validation_networks[0].seconds],
            seconds: 2.0 * a.validation_networks[0].seconds,
            ratios: vec![7.0],
            ..a.validation_networks[0].clone()
        };
        let merged = a.merge(&b, &space()).unwrap();
        let entry = &merged.sources["in-place"].entries[line];
        // (1 * 1 + 3 * 5) / 4 and (1 * 0 + 3 * 4) / 4.
        assert!((entry.timing.mean_s - 4e-9).abs() < 1e-18, "{entry:?}");
        assert!((entry.kernels - 3.0).abs() < 1e-12 && entry.timing.samples == 4);
        assert!((entry.timing.min_s - 1e-9).abs() < 1e-18);
        assert_eq!((merged.calibration_networks.len(), merged.validation_networks.len()), (44, 3));
        let genotype = &a.validation_networks[0].genotype;
        let pooled = merged.calibration_networks.iter().find(|t| t.genotype == *genotype).unwrap();
        let seconds = a.validation_networks[0].seconds;
        assert!((pooled.seconds / (1.5 * seconds) - 1.0).abs() < 1e-12);
        assert_eq!((pooled.processes_s.len(), pooled.ratios.len()), (2, 2));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (a, b) = (table(), table_of(1, 1e-4));
        assert!(message(&a, &a).contains("the same measurements"), "{}", message(&a, &a));
        let both = a.merge(&b, &space()).unwrap();
        assert!(message(&both, &b).contains("the same measurements"), "nothing counts twice");
        let mut other = b.clone();
        other.fingerprint = Fingerprint { threads: 2, ..other.fingerprint };
        assert!(message(&a, &other).contains("its threads is `1`, here it is `2`"));
        let mut other = b.clone();
        other.space_id = "0".into();
        assert!(message(&a, &other).contains("hint: profile this space"));
        let mut other = b.clone();
        other.reference.network.clear();
        assert!(message(&a, &other).contains("their reference networks differ"));
        let mut other = b.clone();
        let source = other.sources.remove("in-place").unwrap();
        other.sources.insert("between".into(), source);
        assert!(message(&a, &other).contains("block times come from in-place and between"));
        let mut other = b;
        other.reference.median_s = 0.0;
        assert!(message(&a, &other).contains("0 s in the other, expected more than 0"));
    }
}
