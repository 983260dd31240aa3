//! The table itself.

use std::collections::BTreeMap;

use netfit_spaces::{Block, Network, Space, SpaceSpec};
use serde::{Deserialize, Serialize};

use crate::{
    Calibration, Error, Fingerprint, Hygiene, NetworkTiming, Result, Tail, TailTiming, Timing,
    Validation,
};

/// Measured block latencies of one search space on one device, calibrated and validated on whole networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyTable {
    /// The space's id.
    pub space_id: String,
    /// The space's name, for people.
    pub space_name: String,
    /// The space itself; tables of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<SpaceSpec>,
    /// The device.
    pub fingerprint: Fingerprint,
    /// The network beside which all others were measured.
    pub reference: Reference,
    /// Block times by the way in which they were measured (`in-place`, `neighbours`); the calibration names the one in use.
    pub sources: BTreeMap<String, Source>,
    /// What turns sums of block times into latencies.
    pub calibration: Calibration,
    /// What the predictions are worth.
    pub validation: Option<Validation>,
    /// Whether the machine was quiet.
    pub hygiene: Hygiene,
    /// The networks of the calibration.
    pub calibration_networks: Vec<NetworkTiming>,
    /// The networks of the validation.
    pub validation_networks: Vec<NetworkTiming>,
    /// What turns a predicted median into a percentile of single calls, by rising percentile; empty where only
    /// medians were measured.
    #[serde(default)]
    pub tails: Vec<Tail>,
    /// The networks whose percentiles were measured.
    #[serde(default)]
    pub tail_networks: Vec<TailTiming>,
    /// What the choice of networks followed from.
    pub seed: u64,
    /// How long it took to make the table.
    pub seconds: f64,
}

/// Block times that were measured in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Time for each block, by the block's line.
    pub entries: BTreeMap<String, Entry>,
    /// Time of a call that belongs to no block; not part of a sum, the calibration's constant stands for it.
    pub overhead: Timing,
}

impl Source {
    /// The sums of the blocks' seconds, not calibrated, and of their kernels.
    ///
    /// # Errors
    /// The first block without an entry.
    pub fn sum<'a>(&self, network: &'a Network) -> std::result::Result<(f64, f64), &'a Block> {
        network.blocks().iter().try_fold((0.0, 0.0), |(seconds, kernels), block| {
            let entry = self.entries.get(&block.to_string()).ok_or(block)?;
            Ok((seconds + entry.timing.mean_s, kernels + entry.kernels))
        })
    }
}

/// What was measured of one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its time.
    #[serde(flatten)]
    pub timing: Timing,
    /// What its time holds the fixed cost of, so many times: the kernels that the runtime recorded for it, or 1 where
    /// its time is that of a call of its own.
    pub kernels: f64,
}

/// The network that all others refer to. Tables of version 1 were measured burst by burst beside it; since then every
/// burst is judged by the bursts around it, and the reference is one network among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Its blocks, one a line.
    pub network: String,
    /// Its latency in the average process of the table's measurements: what normalised seconds refer to.
    pub median_s: f64,
    /// Its raw seconds in each process.
    pub processes_s: Vec<f64>,
}

/// A predicted latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// The median, or the percentile that was asked for ([`LatencyTable::latency_at`]), at the speed that the
    /// reference had when the table was made.
    pub median_s: f64,
    /// Lower end of the interval.
    pub low_s: f64,
    /// Upper end of the interval.
    pub high_s: f64,
    /// `median_s` in units of the reference network's latency.
    pub relative: f64,
}

impl LatencyTable {
    /// The latency of a network of this table's space.
    ///
    /// # Errors
    /// A block without an entry.
    pub fn predict(&self, network: &Network) -> Result<Latency> {
        let mut seconds = self.constant_s();
        for block in network.blocks() {
            let line = block.to_string();
            seconds += self.entry(&line).ok_or_else(|| self.missing(&line))?;
        }
        Ok(self.latency(self.calibration.correction.latency(seconds)))
    }

    /// The latency whose median is `median_s`, with the table's interval around it.
    pub fn latency(&self, median_s: f64) -> Latency {
        self.around(median_s, self.calibration.interval)
    }

    /// `seconds` with an interval of the relative half-width `half` around it.
    pub(crate) fn around(&self, seconds: f64, half: f64) -> Latency {
        Latency {
            median_s: seconds,
            low_s: seconds * (1.0 - half).max(0.0),
            high_s: seconds * (1.0 + half),
            relative: seconds / self.reference.median_s,
        }
    }

    /// The chosen source's entries, by block line.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let chosen = self.sources.get(&self.calibration.source);
        chosen
            .into_iter()
            .flat_map(|source| &source.entries)
            .map(|(line, entry)| (line.as_str(), entry))
    }

    /// Calibrated seconds that a block adds to a network's sum; none where it has no entry. A network's latency is that of
    /// [`Self::constant_s`] and the sum over its blocks ([`crate::Correction::latency`]).
    pub fn entry(&self, line: &str) -> Option<f64> {
        let entry = self.sources.get(&self.calibration.source)?.entries.get(line)?;
        Some(self.calibration.correction.block(line, entry))
    }

    /// Calibrated seconds of a network without blocks.
    pub fn constant_s(&self) -> f64 {
        self.calibration.correction.constant_s()
    }

    /// The error for a block without an entry.
    pub fn missing(&self, line: &str) -> Error {
        Error::Missing {
            block: line.to_owned(),
            space: self.space_name.clone(),
            entries: self.entries().count(),
        }
    }

    /// The table's space: its own, or, of an earlier version's table, the preset or file of its name.
    ///
    /// # Errors
    /// A name that is that of another space now, or of none.
    pub fn space(&self) -> Result<Space> {
        let space = match &self.space {
            Some(spec) => Space::new(spec.clone()),
            None => Space::load(&self.space_name),
        };
        let space =
            space.map_err(|source| Error::OwnSpace { table: self.space_name.clone(), source })?;
        self.check_space(&space).map(|()| space)
    }

    /// Checks that the table is of this device.
    ///
    /// # Errors
    /// The first field of the fingerprint that differs.
    pub fn check_device(&self, here: &Fingerprint) -> Result<()> {
        match self.fingerprint.differs(here) {
            None => Ok(()),
            Some(difference) => Err(Error::Device {
                field: difference.field,
                table: difference.ours,
                here: difference.theirs,
            }),
        }
    }

    /// Checks that the table is of this space.
    ///
    /// # Errors
    /// Both spaces, where they differ.
    pub fn check_space(&self, space: &Space) -> Result<()> {
        if self.space_id == space.id() {
            return Ok(());
        }
        Err(Error::Space {
            table: self.space_name.clone(),
            table_id: self.space_id.clone(),
            space: space.name().to_owned(),
            space_id: space.id().to_owned(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use netfit_spaces::Random;

    /// A table of `ofa-28` whose entries are multiply-adds / 1e9 s, calibrated on networks of `1e-5 + 2 * sum`.
    pub(crate) fn table() -> LatencyTable {
        table_of(0, 1e-4)
    }

    /// The same of other networks, on a machine where all takes `reference_s / 1e-4` times as long.
    pub(crate) fn table_of(seed: u64, reference_s: f64) -> LatencyTable {
        let slow = reference_s / 1e-4;
        let space = Space::preset("ofa-28").unwrap();
        let timing = |seconds: f64| Timing::of(&[seconds]).unwrap();
        let entry = |seconds: f64| Entry { timing: timing(seconds), kernels: 0.0 };
        let entries = space
            .distinct_blocks()
            .iter()
            .map(|block| {
                (block.to_string(), entry(slow * (block.multiply_adds().0 + 1) as f64 / 1e9))
            })
            .collect();
        let sources =
            BTreeMap::from([("in-place".to_owned(), Source { entries, overhead: timing(1e-6) })]);
        let mut random = Random::new(seed, "table");
        let mut networks = Vec::new();
        let mut timings = Vec::new();
        for _ in 0..24 {
            let genotype = space.sample(&mut random);
            let network = space.network(&genotype);
            let seconds = slow * 1e-5 + 2.0 * sources["in-place"].sum(&network).unwrap().0;
            timings.push(NetworkTiming {
                weights: Vec::new(),
                genotype,
                seconds,
                processes_s: vec![seconds],
                ratios: vec![seconds / reference_s],
            });
            networks.push((network, seconds));
        }
        LatencyTable {
            space_id: space.id().to_owned(),
            space_name: space.name().to_owned(),
            space: Some(space.spec().clone()),
            fingerprint: crate::fingerprint::tests::fingerprint(),
            reference: Reference {
                network: space.network(&space.largest()).text(),
                median_s: reference_s,
                processes_s: vec![reference_s],
            },
            calibration: Calibration::fit(&sources, &networks).unwrap(),
            sources,
            validation: None,
            hygiene: crate::hygiene::tests::hygiene(),
            calibration_networks: timings,
            validation_networks: Vec::new(),
            tails: Vec::new(),
            tail_networks: Vec::new(),
            seed: 0,
            seconds: 0.0,
        }
    }

    #[test]
    fn predictions_add_up_and_the_planted_line_is_found() {
        let (table, space) = (table(), Space::preset("ofa-28").unwrap());
        let network = space.network(&space.smallest());
        let sum: f64 =
            network.blocks().iter().map(|block| table.entry(&block.to_string()).unwrap()).sum();
        let latency = table.predict(&network).unwrap();
        assert!((latency.median_s - (table.constant_s() + sum)).abs() < 1e-15);
        let truth = 1e-5 + 2.0 * table.sources["in-place"].sum(&network).unwrap().0;
        assert!((latency.median_s / truth - 1.0).abs() < 1e-9);
        assert!((latency.relative - latency.median_s / 1e-4).abs() < 1e-12);
    }

    #[test]
    fn a_missing_block_is_named() {
        let mut table = table();
        let space = Space::preset("ofa-28").unwrap();
        let network = space.network(&space.smallest());
        let line = network.blocks()[3].to_string();
        table.sources.get_mut("in-place").unwrap().entries.remove(&line);
        let message = table.predict(&network).unwrap_err().to_string();
        assert!(message.contains(&line) && message.contains("ofa-28"), "{message}");
    }

    #[test]
    fn tables_of_another_device_or_space_are_refused() {
        let table = table();
        let here = Fingerprint { threads: 2, ..table.fingerprint.clone() };
        let message = table.check_device(&here).unwrap_err().to_string();
        assert!(message.contains("its threads is `1`, here it is `2`"), "{message}");
        assert!(table.check_device(&table.fingerprint).is_ok());
        let other = Space::preset("nas-bench-macro").unwrap();
        let message = table.check_space(&other).unwrap_err().to_string();
        assert!(message.contains("nas-bench-macro") && message.contains("ofa-28"), "{message}");
    }

    #[test]
    fn too_few_networks_are_refused() {
        let table = table();
        let space = Space::preset("ofa-28").unwrap();
        let networks: Vec<_> = table.calibration_networks[..18]
            .iter()
            .map(|timing| (space.network(&timing.genotype), timing.seconds))
            .collect();
        let message = Calibration::fit(&table.sources, &networks).unwrap_err().to_string();
        assert!(message.contains("at least 19 networks, found 18"), "{message}");
    }

    #[test]
    fn validation_judges_the_table_and_the_baseline() {
        let table = table();
        let space = Space::preset("ofa-28").unwrap();
        let timings: Vec<NetworkTiming> = table.calibration_networks[..10]
            .iter()
            .map(|timing| NetworkTiming {
                processes_s: vec![timing.seconds, 1.02 * timing.seconds],
                seconds: 1.01 * timing.seconds,
                ..timing.clone()
            })
            .collect();
        let networks: Vec<_> =
            timings.iter().map(|timing| (space.network(&timing.genotype), timing)).collect();
        let validation = Validation::judge(&table, &networks).unwrap();
        assert_eq!(validation.errors.networks, 10);
        assert!((validation.noise_floor_rmspe.unwrap() - 0.02).abs() < 1e-9);
        assert!((validation.errors.rmspe - (1.0 - 1.0 / 1.01)).abs() < 1e-6);
        assert!((validation.errors.kendall_tau - 1.0).abs() < 1e-12);
        // Every truth is 1 % away, the planted line has no width.
        assert!(validation.interval_coverage < 0.5);
        // Two processes 2 % apart tell their mean to 1 %, and are 1 % away.
        assert!((validation.standard_error.unwrap() - 0.01).abs() < 1e-3);
        assert_eq!(validation.interval_agreement, Some(1.0));
    }
}
