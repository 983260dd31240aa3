//! Single bursts, and what the machine did around them.

use netfit_latency_tables::median;
use serde::{Deserialize, Serialize};

use crate::{Error, Ran, Result, levels::Moment};

/// Time over which a load is told: others' processor time comes in steps of some 10 ms.
const LOAD_S: f64 = 1.0;

/// One burst of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// The model's place among those that are measured.
    #[serde(rename = "m")]
    pub(crate) model: usize,
    /// Median seconds of a call.
    #[serde(rename = "s")]
    pub(crate) seconds: f64,
    /// Whether most of its calls shared their core with something else.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shared: bool,
    /// Calls that shared it and were replaced.
    #[serde(rename = "r", default, skip_serializing_if = "is_zero")]
    pub(crate) replaced: usize,
    #[serde(rename = "e")]
    pub(crate) elapsed_s: f64,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub(crate) others_s: Option<f64>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(crate) hertz: Option<f64>,
    /// Whether a GPU was slowed down by its heat or its power supply.
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) throttled: bool,
    /// Whether a GPU waited for its host.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub(crate) launch_bound: Option<bool>,
    /// Bursts of one launch were measured in a row in one process.
    #[serde(rename = "l")]
    pub(crate) launch: usize,
    /// How many bursts of its model came before it in its launch, those included that do not count.
    #[serde(rename = "b")]
    pub(crate) burst: usize,
}

impl Sample {
    pub(crate) fn new(model: usize, (launch, burst): (usize, usize), ran: &Ran) -> Result<Self> {
        let seconds = median(&ran.calls);
        if seconds.is_finite() && seconds > 0.0 {
            return Ok(Self {
                model,
                seconds,
                shared: 2 * ran.shared > ran.calls.len(),
                replaced: ran.replaced,
                elapsed_s: ran.elapsed_s,
                others_s: ran.others_s,
                hertz: ran.hertz,
                throttled: ran.throttled,
                launch_bound: ran.launch_bound,
                launch,
                burst,
            });
        }
        Err(Error::Setting {
            what: "time of a burst",
            expected: "a positive number of seconds".into(),
            found: seconds.to_string(),
        })
    }
}

// The form that serde asks for.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// All bursts of a sitting in the order of time. Those that no longer count stay in it: what other processes did meanwhile
/// shows in all of them, and without them bursts would look like neighbours that were none.
pub(crate) struct Bursts {
    all: Vec<Sample>,
    counts: Vec<bool>,
    /// Whether a drift has lasted: bursts at each of the machine's speeds count.
    pub(crate) settled: bool,
}

impl Bursts {
    pub(crate) fn new(all: Vec<Sample>) -> Self {
        let counts = vec![true; all.len()];
        Self { all, counts, settled: false }
    }

    pub(crate) fn extend(&mut self, fresh: Vec<Sample>) {
        self.counts.resize(self.counts.len() + fresh.len(), true);
        self.all.extend(fresh);
    }

    /// Those that count.
    pub(crate) fn counting(&self) -> Vec<Sample> {
        self.of_counting(&self.all)
    }

    /// For each burst that counts the cores that others used around it; see [`loads`].
    pub(crate) fn loads(&self) -> Vec<Option<f64>> {
        self.of_counting(&loads(&self.all))
    }

    /// Calls that were replaced, those of all bursts.
    pub(crate) fn replaced(&self) -> usize {
        self.all.iter().map(|sample| sample.replaced).sum()
    }

    /// Discards of those that count all that `keep` does not name.
    pub(crate) fn retain(&mut self, keep: &[bool]) {
        let counting = self.counts.iter_mut().filter(|counts| **counts);
        counting.zip(keep).for_each(|(counts, keep)| *counts = *keep);
    }

    /// Models that have fewer than so many bursts which count and of which nothing was found, each as often as it needs.
    pub(crate) fn missing<T>(
        &self,
        found: &[Option<T>],
        models: usize,
        wanted: usize,
    ) -> Vec<usize> {
        let mut clean = vec![0; models];
        for (sample, why) in self.counting().iter().zip(found) {
            clean[sample.model] += usize::from(why.is_none());
        }
        let needs = |(model, clean): (usize, &usize)| vec![model; wanted.saturating_sub(*clean)];
        clean.iter().enumerate().flat_map(needs).collect()
    }

    fn of_counting<T: Clone>(&self, values: &[T]) -> Vec<T> {
        let pairs = values.iter().zip(&self.counts);
        pairs.filter(|(_, counts)| **counts).map(|(value, _)| value.clone()).collect()
    }
}

/// Share of the bursts in which a GPU waited for its host, where that is told.
pub(crate) fn launch_bound(samples: &[Sample]) -> Option<f64> {
    let told: Vec<bool> = samples.iter().filter_map(|sample| sample.launch_bound).collect();
    let bound = told.iter().filter(|bound| **bound).count();
    (!told.is_empty()).then(|| bound as f64 / told.len() as f64)
}

/// The bursts as [`crate::levels::Levels`] takes them.
pub(crate) fn moments(samples: &[Sample]) -> Vec<Moment> {
    let moment = |sample: &Sample| Moment {
        model: sample.model,
        launch: sample.launch,
        log_s: sample.seconds.ln(),
    };
    samples.iter().map(moment).collect()
}

/// For each burst the cores that others used in the [`LOAD_S`] around it, or in all of the time where that is shorter.
fn loads(samples: &[Sample]) -> Vec<Option<f64>> {
    let (mut ends, mut others) = (vec![0.0], vec![0.0]);
    for sample in samples {
        let Some(others_s) = sample.others_s else { return vec![None; samples.len()] };
        ends.push(ends[ends.len() - 1] + sample.elapsed_s);
        others.push(others[others.len() - 1] + others_s);
    }
    let load = |at: usize| {
        let middle = f64::midpoint(ends[at], ends[at + 1]);
        let first = ends.partition_point(|end| *end < middle - LOAD_S / 2.0).min(at);
        let last = ends.partition_point(|end| *end < middle + LOAD_S / 2.0).min(samples.len());
        let last = last.max(at + 1);
        let elapsed_s = ends[last] - ends[first];
        (elapsed_s > 0.0).then(|| ((others[last] - others[first]) / elapsed_s).max(0.0))
    };
    (0..samples.len()).map(load).collect()
}

/// For each burst the relative distance of the processor's frequency from the median.
pub(crate) fn frequency_changes(samples: &[Sample]) -> Vec<Option<f64>> {
    let known: Vec<f64> = samples.iter().filter_map(|sample| sample.hertz).collect();
    let middle = if known.is_empty() { f64::NAN } else { median(&known) };
    samples.iter().map(|sample| Some((sample.hertz? / middle - 1.0).abs())).collect()
}
