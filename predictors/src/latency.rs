//! What times genotypes.

use netfit_latency_tables::{Affine, Bend, Latency, LatencyTable};
use netfit_spaces::{Genotype, Space};

use crate::{BlockSums, Error, Result};

/// The percentile that is the median.
const MEDIAN: f64 = 50.0;

/// Predicted latencies of a space's networks. Whatever can go wrong goes wrong when a model is built.
pub trait LatencyModel: Sync {
    /// The latency of a genotype.
    fn latency(&self, genotype: &Genotype) -> Latency;

    /// The genotype of the smallest latency in the whole space, and that latency.
    fn fastest(&self) -> (Genotype, Latency);
}

/// A latency table as an index by choice: `constant + sum of the blocks' seconds`, bent and scaled as the table says, with
/// the table's relative interval.
#[derive(Clone, Debug)]
pub struct TableLatency {
    sums: BlockSums,
    constant_s: f64,
    /// What the sum goes through first, if through anything.
    bend: Option<Bend>,
    /// Of the table's median the latency.
    line: Affine,
    /// The latency of one second; a table's interval is relative.
    second: Latency,
}

impl TableLatency {
    /// An index of the medians of `table` for the networks of `space`.
    ///
    /// # Errors
    /// A block of the space without an entry, or predictions that are not positive.
    pub fn new(space: &Space, table: &LatencyTable) -> Result<Self> {
        Self::of_line(space, table, Affine { intercept_s: 0.0, slope: 1.0 }, table.latency(1.0))
    }

    /// An index of a percentile of single calls, 50 for the median. A percentile is an affine function of the median.
    ///
    /// # Errors
    /// As [`Self::new`], and a percentile that the table does not predict.
    pub fn at_percentile(space: &Space, table: &LatencyTable, percentile: f64) -> Result<Self> {
        if (percentile - MEDIAN).abs() < 1e-9 {
            return Self::new(space, table);
        }
        let tail = table.tail(percentile)?;
        let second = Latency {
            median_s: 1.0,
            low_s: (1.0 - tail.interval).max(0.0),
            high_s: 1.0 + tail.interval,
            relative: 1.0 / table.reference.median_s,
        };
        Self::of_line(space, table, tail.correction, second)
    }

    /// An index of `line` at the table's medians.
    fn of_line(space: &Space, table: &LatencyTable, line: Affine, second: Latency) -> Result<Self> {
        let sums = BlockSums::new(space, |block| {
            let text = block.to_string();
            Ok(table.entry(&text).ok_or_else(|| table.missing(&text))?)
        })?;
        let bend = table.calibration.correction.bend();
        let model = Self { sums, constant_s: table.constant_s(), bend, line, second };
        let (genotype, fastest) = model.fastest();
        if fastest.median_s > 0.0 && fastest.high_s.is_finite() {
            return Ok(model);
        }
        let reason = format!(
            "network `{genotype}` is predicted at {} s, expected more than 0; hint: profile again",
            fastest.median_s
        );
        Err(Error::Latency { space: space.name().to_owned(), reason })
    }

    /// The latency as what is fixed and what each option of each choice adds, in seconds and in a genotype's order; none
    /// where something else is chosen than one of a layer's listed ops. Exact where the table's correction is not bent,
    /// otherwise the tangent at networks of `near_s` seconds.
    pub fn by_choice(&self, near_s: f64) -> Option<(f64, Vec<Vec<f64>>)> {
        let (fixed, mut options) = self.sums.by_choice()?;
        let near = (near_s - self.line.intercept_s) / self.line.slope;
        let (near, slope) = match self.bend {
            Some(bend) => (bend.sum_of(near), bend.slope(bend.sum_of(near)) * self.line.slope),
            None => (near, self.line.slope),
        };
        options.iter_mut().flatten().for_each(|seconds| *seconds *= slope);
        Some((near_s + slope * (self.constant_s + fixed - near), options))
    }

    fn of_sum(&self, sum_s: f64) -> Latency {
        let sum_s = self.constant_s + sum_s;
        let median_s = self.line.at(self.bend.map_or(sum_s, |bend| bend.at(sum_s)));
        Latency {
            median_s,
            low_s: median_s * self.second.low_s,
            high_s: median_s * self.second.high_s,
            relative: median_s * self.second.relative,
        }
    }
}

impl LatencyModel for TableLatency {
    fn latency(&self, genotype: &Genotype) -> Latency {
        self.of_sum(self.sums.sum(genotype))
    }

    fn fastest(&self) -> (Genotype, Latency) {
        let (genotype, sum) = self.sums.smallest();
        (genotype, self.of_sum(sum))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use netfit_latency_tables::{
        Calibration, Correction, Entry, Fingerprint, Hygiene, Reference, Source, Tail, Timing,
        Verdict,
    };
    use netfit_spaces::Random;

    use super::*;

    /// A table whose entries are multiply-adds / 1e9 s, calibrated on networks of `1e-5 + 2 * sum`.
    fn table(space: &Space) -> LatencyTable {
        let timing = |seconds: f64| Timing::of(&[seconds]).unwrap();
        let entry = |seconds: f64| Entry { timing: timing(seconds), kernels: 0.0 };
        let entries = space
            .distinct_blocks()
            .iter()
            .map(|block| (block.to_string(), entry((block.multiply_adds().0 + 1) as f64 / 1e9)))
            .collect();
        let source = Source { entries, overhead: timing(1e-6) };
        let sources = BTreeMap::from([("in-place".to_owned(), source)]);
        let mut random = Random::new(0, "table");
        let networks: Vec<_> = (0..24)
            .map(|_| space.network(&space.sample(&mut random)))
            .map(|network| {
                let seconds = 1e-5 + 2.0 * sources["in-place"].sum(&network).unwrap().0;
                (network, seconds)
            })
            .collect();
        LatencyTable {
            space_id: space.id().to_owned(),
            space_name: space.name().to_owned(),
            space: Some(space.spec().clone()),
            fingerprint: Fingerprint {
                processor: "abacus".into(),
                cores: 2,
                runtime: "fingers".into(),
                runtime_version: "1.0".into(),
                provider: "thumb".into(),
                threads: 1,
                precision: "float32".into(),
                batch: 1,
            },
            reference: Reference {
                network: space.network(&space.largest()).text(),
                median_s: 1e-4,
                processes_s: vec![1e-4],
            },
            calibration: Calibration::fit(&sources, &networks).unwrap(),
            sources,
            validation: None,
            hygiene: Hygiene {
                verdict: Verdict::Clean,
                bursts: 24,
                repeated: 0,
                disturbed: 0,
                shared: 0,
                calls_replaced: 0,
                reference_drift: 0.0,
                load: None,
                frequency_change: None,
                launch_bound: None,
                processes_at_another_speed: 0,
                repeated_for: BTreeMap::new(),
            },
            calibration_networks: Vec::new(),
            validation_networks: Vec::new(),
            tails: Vec::new(),
            tail_networks: Vec::new(),
            seed: 0,
            seconds: 0.0,
        }
    }

    fn same(found: Latency, expected: Latency) {
        for (a, b) in [
            (found.median_s, expected.median_s),
            (found.low_s, expected.low_s),
            (found.high_s, expected.high_s),
            (found.relative, expected.relative),
        ] {
            assert!((a / b - 1.0).abs() < 1e-12, "{found:?} against {expected:?}");
        }
    }

    /// The table with its correction bent, around a network's latency.
    fn bent(table: &LatencyTable, middle_s: f64) -> LatencyTable {
        let bend =
            Bend { strength: 0.3, middle_s, least_s: 0.7 * middle_s, most_s: 1.2 * middle_s };
        let base = Box::new(table.calibration.correction.clone());
        let correction = Correction::Bent { base, bend };
        let calibration = Calibration { correction, ..table.calibration.clone() };
        LatencyTable { calibration, ..table.clone() }
    }

    #[test]
    fn the_index_agrees_with_the_tables_own_prediction() {
        for preset in ["ofa-28", "nas-bench-macro", "proxyless-28"] {
            let space = Space::preset(preset).unwrap();
            let mut table = table(&space);
            table.calibration.interval = 0.03;
            let mut random = Random::new(2, "networks");
            let genotypes: Vec<_> = (0..40).map(|_| space.sample(&mut random)).collect();
            let middle_s = table.predict(&space.network(&genotypes[0])).unwrap().median_s;
            for table in [bent(&table, middle_s), table] {
                let model = TableLatency::new(&space, &table).unwrap();
                for genotype in &genotypes {
                    let expected = table.predict(&space.network(genotype)).unwrap();
                    same(model.latency(genotype), expected);
                }
                assert_eq!(model.fastest().0, space.smallest());
            }
        }
    }

    #[test]
    fn what_each_choice_adds_is_exact_or_the_tangent() {
        for preset in ["nas-bench-macro", "proxyless-28"] {
            let space = Space::preset(preset).unwrap();
            let table = table(&space);
            let mut random = Random::new(2, "networks");
            let genotypes: Vec<_> = (0..40).map(|_| space.sample(&mut random)).collect();
            let latency = |table: &LatencyTable, genotype: &Genotype| {
                table.predict(&space.network(genotype)).unwrap().median_s
            };
            let added = |table: &LatencyTable, genotype: &Genotype, near_s: f64| {
                let model = TableLatency::new(&space, table).unwrap();
                let (fixed_s, options_s) = model.by_choice(near_s).unwrap();
                let chosen = genotype.values().iter().zip(&options_s);
                fixed_s + chosen.map(|(&value, options)| options[usize::from(value)]).sum::<f64>()
            };
            let bent = bent(&table, latency(&table, &genotypes[0]));
            for genotype in &genotypes {
                let exact = latency(&table, genotype);
                assert!((added(&table, genotype, 1e-3) / exact - 1.0).abs() < 1e-12);
                let there = latency(&bent, genotype);
                assert!((added(&bent, genotype, there) / there - 1.0).abs() < 1e-9);
                // A convex function lies above its tangents.
                assert!(added(&bent, genotype, 1.1 * there) <= there * (1.0 + 1e-12));
            }
        }
        let space = Space::preset("ofa-28").unwrap();
        assert!(TableLatency::new(&space, &table(&space)).unwrap().by_choice(1e-3).is_none());
    }

    #[test]
    fn a_percentile_is_the_tables_own_and_fifty_is_the_median() {
        let space = Space::preset("ofa-28").unwrap();
        let mut table = table(&space);
        let medians: Vec<f64> = (0..20).map(|i| 1e-3 + 1e-4 * f64::from(i)).collect();
        let slow: Vec<f64> = medians.iter().map(|median| 1e-4 + 1.2 * median).collect();
        table.tails = vec![Tail { interval: 0.05, ..Tail::fit(95.0, &medians, &slow).unwrap() }];
        let mut random = Random::new(3, "networks");
        let genotypes: Vec<_> = (0..20).map(|_| space.sample(&mut random)).collect();
        let latencies = |percentile| {
            let model = TableLatency::at_percentile(&space, &table, percentile).unwrap();
            let found: Vec<_> = genotypes.iter().map(|genotype| model.latency(genotype)).collect();
            (found, model.fastest())
        };
        let (found, fastest) = latencies(95.0);
        for (genotype, found) in genotypes.iter().zip(found) {
            let expected = table.predict_percentile(&space.network(genotype), 95.0).unwrap();
            same(found, expected);
        }
        assert_eq!(fastest.0, space.smallest());
        let median = TableLatency::new(&space, &table).unwrap();
        let expected = genotypes.iter().map(|genotype| median.latency(genotype)).collect();
        assert_eq!(latencies(50.0), (expected, median.fastest()));
        let message = TableLatency::at_percentile(&space, &table, 99.0).unwrap_err().to_string();
        assert!(message.contains("99") && message.contains("--percentiles"), "{message}");
    }

    #[test]
    fn blocks_without_an_entry_and_times_below_zero_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let whole = table(&space);
        let mut holed = whole.clone();
        let entries = &mut holed.sources.get_mut("in-place").unwrap().entries;
        let line = entries.keys().next().unwrap().clone();
        entries.remove(&line);
        let message = TableLatency::new(&space, &holed).unwrap_err().to_string();
        assert!(message.contains(&line), "{message}");
        let mut negative = whole;
        for entry in negative.sources.get_mut("in-place").unwrap().entries.values_mut() {
            entry.timing.mean_s = -1.0;
        }
        let message = TableLatency::new(&space, &negative).unwrap_err().to_string();
        assert!(message.contains("expected more than 0"), "{message}");
    }
}
