//! What times genotypes.

use netfit_latency_tables::{Latency, LatencyTable};
use netfit_spaces::{Genotype, Space};

use crate::{BlockSums, Error, Result};

/// Predicted latencies of a space's networks. Whatever can go wrong goes wrong when a model is built.
pub trait LatencyModel {
    /// Puts the latency of each genotype into `out`, in the order of `genotypes`; what was in it is dropped.
    fn latencies(&self, genotypes: &[Genotype], out: &mut Vec<Latency>);

    /// The genotype of the smallest latency in the whole space, and that latency.
    fn fastest(&self) -> (Genotype, Latency);
}

/// A latency table as an index by choice: `constant + sum of the blocks' seconds`, with the table's relative interval.
#[derive(Clone, Debug)]
pub struct TableLatency {
    sums: BlockSums,
    constant_s: f64,
    /// The latency of one second; a table's interval is relative.
    second: Latency,
}

impl TableLatency {
    /// An index of `table` for the networks of `space`.
    ///
    /// # Errors
    /// A block of the space without an entry, or predictions that are not positive.
    pub fn new(space: &Space, table: &LatencyTable) -> Result<Self> {
        let sums = BlockSums::new(space, |block| {
            let line = block.to_string();
            table.entry(&line).ok_or_else(|| table.missing(&line).into())
        })?;
        let model = Self { sums, constant_s: table.constant_s(), second: table.latency(1.0) };
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

    fn latency(&self, sum_s: f64) -> Latency {
        let median_s = self.constant_s + sum_s;
        Latency {
            median_s,
            low_s: median_s * self.second.low_s,
            high_s: median_s * self.second.high_s,
            relative: median_s * self.second.relative,
        }
    }
}

impl LatencyModel for TableLatency {
    fn latencies(&self, genotypes: &[Genotype], out: &mut Vec<Latency>) {
        out.clear();
        out.extend(genotypes.iter().map(|genotype| self.latency(self.sums.sum(genotype))));
    }

    fn fastest(&self) -> (Genotype, Latency) {
        let (genotype, sum) = self.sums.smallest();
        (genotype, self.latency(sum))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use netfit_latency_tables::{
        Calibration, Entry, Fingerprint, Hygiene, Reference, Source, Timing, Verdict,
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
                reference_drift: 0.0,
            },
            calibration_networks: Vec::new(),
            validation_networks: Vec::new(),
            seed: 0,
            seconds: 0.0,
        }
    }

    #[test]
    fn the_index_agrees_with_the_tables_own_prediction() {
        for preset in ["ofa-28", "nas-bench-macro"] {
            let space = Space::preset(preset).unwrap();
            let mut table = table(&space);
            table.calibration.interval = 0.03;
            let model = TableLatency::new(&space, &table).unwrap();
            let mut random = Random::new(2, "networks");
            let genotypes: Vec<_> = (0..40).map(|_| space.sample(&mut random)).collect();
            let mut found = vec![table.latency(9.0)];
            model.latencies(&genotypes, &mut found);
            assert_eq!(found.len(), 40);
            for (genotype, found) in genotypes.iter().zip(found) {
                let expected = table.predict(&space.network(genotype)).unwrap();
                for (a, b) in [
                    (found.median_s, expected.median_s),
                    (found.low_s, expected.low_s),
                    (found.high_s, expected.high_s),
                    (found.relative, expected.relative),
                ] {
                    assert!((a / b - 1.0).abs() < 1e-12, "{genotype}: {a} against {b}");
                }
            }
            assert_eq!(model.fastest().0, space.smallest());
        }
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
