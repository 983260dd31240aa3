//! Whether the machine was quiet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whether the measurements were disturbed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hygiene {
    /// The judgement.
    pub verdict: Verdict,
    /// Bursts that count, of all networks in all processes.
    pub bursts: usize,
    /// Bursts that were thrown away and repeated.
    pub repeated: usize,
    /// Timed calls that shared their core with something else and were replaced within their bursts.
    #[serde(default)]
    pub calls_replaced: usize,
    /// Bursts that still look disturbed after all repetitions.
    pub disturbed: usize,
    /// Bursts that still shared their core with something else after all repetitions, and look right otherwise.
    #[serde(default)]
    pub shared: usize,
    /// Largest relative difference between the machine's speed in a tenth of a process's time and in the middle.
    pub reference_drift: f64,
    /// Largest load by other processes beside a burst that counts, in cores; none where the system does not show it.
    #[serde(default)]
    pub load: Option<f64>,
    /// Largest relative change of the processor's frequency; none where the system does not show it.
    #[serde(default)]
    pub frequency_change: Option<f64>,
    /// Share of the bursts of whole networks in which a GPU waited for its host to launch kernels; of two tables the larger
    /// one; none for processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_bound: Option<f64>,
    /// In how many processes, of blocks or of whole networks, the machine was much faster or slower than in the others (in
    /// a validation: than in the table). They do not count, unless all but one were like that.
    #[serde(default)]
    pub processes_at_another_speed: usize,
    /// How many bursts were thrown away for each reason: `load`, `shared core`, `drift`, `outlier`, `frequency`,
    /// `throttling`.
    #[serde(default)]
    pub repeated_for: BTreeMap<String, usize>,
}

/// A judgement on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The measurements are sound.
    Clean,
    /// They are not, and were asked for all the same.
    NoiseAccepted,
}

impl Hygiene {
    /// That of both measurements together: counts add up, of the rest the worse is kept.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let larger = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        let mut repeated_for = self.repeated_for.clone();
        for (reason, count) in &other.repeated_for {
            *repeated_for.entry(reason.clone()).or_default() += count;
        }
        Self {
            verdict: self.verdict.max(other.verdict),
            bursts: self.bursts + other.bursts,
            repeated: self.repeated + other.repeated,
            calls_replaced: self.calls_replaced + other.calls_replaced,
            disturbed: self.disturbed + other.disturbed,
            shared: self.shared + other.shared,
            reference_drift: self.reference_drift.max(other.reference_drift),
            load: larger(self.load, other.load),
            frequency_change: larger(self.frequency_change, other.frequency_change),
            launch_bound: larger(self.launch_bound, other.launch_bound),
            processes_at_another_speed: self.processes_at_another_speed
                + other.processes_at_another_speed,
            repeated_for,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn hygiene() -> Hygiene {
        Hygiene {
            verdict: Verdict::Clean,
            bursts: 24,
            repeated: 0,
            calls_replaced: 0,
            disturbed: 0,
            shared: 0,
            reference_drift: 0.0,
            load: None,
            frequency_change: None,
            launch_bound: None,
            processes_at_another_speed: 0,
            repeated_for: BTreeMap::new(),
        }
    }

    #[test]
    fn two_measurements_are_as_clean_as_the_worse_one() {
        let reasons =
            |load, drift| BTreeMap::from([("load".to_owned(), load), ("drift".to_owned(), drift)]);
        let noisy = Hygiene {
            verdict: Verdict::NoiseAccepted,
            bursts: 10,
            repeated: 3,
            calls_replaced: 4,
            disturbed: 2,
            shared: 5,
            reference_drift: 0.01,
            load: Some(0.5),
            frequency_change: None,
            launch_bound: Some(0.25),
            processes_at_another_speed: 3,
            repeated_for: reasons(2, 1),
        };
        let quiet = Hygiene { load: Some(0.1), repeated_for: reasons(1, 0), ..hygiene() };
        let both = Hygiene { bursts: 34, repeated_for: reasons(3, 1), ..noisy.clone() };
        assert_eq!(noisy.and(&quiet), both);
        assert_eq!(quiet.and(&noisy), both);
    }
}
