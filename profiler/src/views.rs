//! Sittings side by side: how fast each was, and what each model takes over all of them.

use std::collections::BTreeMap;

use crate::{
    journal::Whole,
    levels::Levels,
    samples::Sample,
    speed::{Known, Pace, Speed, average, centred, common},
    weights::weights,
};

/// How long one model takes.
pub(crate) struct ModelTiming {
    /// Reference-normalised seconds in each process.
    pub(crate) processes_s: Vec<f64>,
    /// How much each process counts.
    pub(crate) weights: Vec<f64>,
    /// Raw seconds in each process.
    pub(crate) raw_s: Vec<f64>,
    /// Every burst in units of the reference network, the drift taken away.
    pub(crate) ratios: Vec<f64>,
}

impl ModelTiming {
    /// Reference-normalised seconds: the weighted mean over processes.
    pub(crate) fn seconds(&self) -> f64 {
        let weighted = self.processes_s.iter().zip(&self.weights).map(|(s, weight)| s * weight);
        weighted.sum::<f64>() / self.weights.iter().sum::<f64>()
    }
}

/// A sitting, and which of all models its own are.
pub(crate) struct View<'a> {
    /// The number of its group of models.
    pub(crate) group: usize,
    /// Its models' places among all.
    pub(crate) places: Vec<usize>,
    /// Of all models, by their places.
    pub(crate) parameters: &'a [f64],
    pub(crate) whole: Whole,
    pub(crate) split: Levels,
}

impl View<'_> {
    /// Places of its models, and the logarithms of their seconds.
    pub(crate) fn levels(&self) -> impl Iterator<Item = (usize, f64)> {
        self.places.iter().copied().zip(self.split.models.iter().copied())
    }

    /// The level of the model at that place; none where it is not of this sitting.
    fn level(&self, place: usize) -> Option<f64> {
        self.levels().find(|(known, _)| *known == place).map(|(_, level)| level)
    }

    /// Logarithms of the normalised seconds of its models, by their places.
    fn normalised(&self, pace: Pace) -> BTreeMap<usize, f64> {
        let normalised = |(place, level): (usize, f64)| {
            (place, pace.normalised(level.exp(), self.parameters[place]).ln())
        };
        self.levels().map(normalised).collect()
    }
}

/// The pace of each sitting, and how much it counts: by its first models where these are anchors whose normalised seconds
/// are known, else by the models that all sittings share, for which the average sitting is the measure.
pub(crate) fn paces(views: &[View<'_>], known_s: Option<&[f64]>) -> (Vec<Pace>, Vec<f64>) {
    let everywhere = |place: &usize| views.iter().all(|view| view.places.contains(place));
    let shared: Vec<usize> = match known_s {
        Some(known_s) => (0..known_s.len()).collect(),
        None => views[0].places.iter().copied().filter(everywhere).collect(),
    };
    let levels = |view: &View<'_>| shared.iter().filter_map(|&place| view.level(place)).collect();
    let levels: Vec<Vec<f64>> = views.iter().map(levels).collect();
    let average_s = known_s.map_or_else(|| average(&levels), <[f64]>::to_vec);
    let known = |(&seconds, &place)| Known { seconds, parameters: views[0].parameters[place] };
    let known: Vec<Known> = average_s.iter().zip(&shared).map(known).collect();
    let own = |levels: &Vec<f64>| {
        let here_s: Vec<f64> = levels.iter().map(|level| level.exp()).collect();
        Pace::alone(Speed::of(&known, &here_s))
    };
    let own: Vec<Pace> = levels.iter().map(own).collect();
    let normalised: Vec<BTreeMap<usize, f64>> =
        views.iter().zip(&own).map(|(view, pace)| view.normalised(*pace)).collect();
    let weights = weights(&normalised);
    let mean_s = means(&normalised, &weights, &shared);
    let common = match known_s {
        Some(_) => common(&known, &mean_s),
        None => centred(Speed::proportional(1.0), &known, &mean_s),
    };
    (own.into_iter().map(|pace| Pace { common, ..pace }).collect(), weights)
}

/// Of each of these models, which all sittings have, the weighted mean of its seconds.
fn means(sittings: &[BTreeMap<usize, f64>], weights: &[f64], places: &[usize]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    let mean = |place: &usize| {
        let weighted = sittings.iter().zip(weights).map(|(levels, w)| w * levels[place].exp());
        weighted.sum::<f64>() / total
    };
    places.iter().map(mean).collect()
}

/// How long the model at that place takes, in units in which the reference takes `reference_s`.
pub(crate) fn timing(
    views: &[View<'_>],
    (paces, weights): (&[Pace], &[f64]),
    reference_s: f64,
    place: usize,
) -> ModelTiming {
    let mut timing = ModelTiming {
        processes_s: Vec::new(),
        weights: Vec::new(),
        raw_s: Vec::new(),
        ratios: Vec::new(),
    };
    for ((view, pace), weight) in views.iter().zip(paces).zip(weights) {
        let Some(level) = view.level(place) else { continue };
        let normalised = |seconds| pace.normalised(seconds, view.parameters[place]);
        timing.processes_s.push(normalised(level.exp()));
        timing.weights.push(*weight);
        timing.raw_s.push(level.exp());
        let bursts = view.whole.samples.iter().zip(&view.split.drifts);
        let ratio = |(sample, drift): (&Sample, &f64)| {
            (view.places[sample.model] == place)
                .then(|| normalised(sample.seconds / drift.exp()) / reference_s)
        };
        timing.ratios.extend(bursts.filter_map(ratio));
    }
    timing
}

#[cfg(test)]
pub(crate) mod tests {
    use netfit_spaces::Random;

    use super::*;
    use crate::gate::Gate;

    /// A sitting of models at these places with these seconds.
    pub(crate) fn view<'a>(
        group: usize,
        places: &[usize],
        seconds: &[f64],
        parameters: &'a [f64],
    ) -> View<'a> {
        let split = Levels {
            models: seconds.iter().map(|seconds| seconds.ln()).collect(),
            drifts: Vec::new(),
            residuals: Vec::new(),
        };
        let whole = Whole { samples: Vec::new(), gate: Gate::default() };
        View { group, places: places.to_vec(), parameters, whole, split }
    }

    /// Normalised seconds of five models that two groups have measured; both have places 0 and 1.
    fn timed(known_s: Option<&[f64]>) -> Vec<f64> {
        let views = [
            view(0, &[0, 1, 2], &[1.0, 2.0, 3.0], &[1.0; 5]),
            view(1, &[0, 1, 3, 4], &[1.5, 3.0, 6.0, 7.5], &[1.0; 5]),
        ];
        let (paces, _) = paces(&views, known_s);
        (0..5).map(|place| timing(&views, (&paces, &[1.0; 2]), 1.0, place).processes_s[0]).collect()
    }

    #[test]
    fn groups_are_tied_together_by_what_they_share_or_what_is_known() {
        let found = timed(None);
        assert!(
            (0..5).all(|n| (found[n] / found[0] / (n + 1) as f64 - 1.0).abs() < 1e-9),
            "{found:?}"
        );
        let found = timed(Some(&[10.0, 20.0]));
        assert!((0..5).all(|n| (found[n] / (10 * (n + 1)) as f64 - 1.0).abs() < 1e-9), "{found:?}");
    }

    /// Every process fetches weights more slowly than when the anchors became known, and is noisy.
    #[test]
    fn models_lose_what_all_processes_have_in_common() {
        const ANCHORS: usize = 40;
        let mut random = Random::new(4, "processes");
        let known_s: Vec<f64> = (0..ANCHORS).map(|_| 0.5e-3 * (1.0 + random.uniform())).collect();
        // Beside the anchors a model of few parameters and one of many.
        let seconds: Vec<f64> = known_s.iter().copied().chain([0.7e-3; 2]).collect();
        let mut parameters: Vec<f64> = (0..ANCHORS).map(|_| 4e6 + 2e6 * random.uniform()).collect();
        parameters.extend([4e6, 6e6]);
        let all: Vec<usize> = (0..seconds.len()).collect();
        let mut process = |_| {
            let model = |(seconds, parameters): (&f64, &f64)| {
                (0.9 * seconds + 1.5e-11 * parameters) * (1.0 + 0.05 * random.normal())
            };
            let here: Vec<f64> = seconds.iter().zip(&parameters).map(model).collect();
            view(0, &all, &here, &parameters)
        };
        let views: Vec<View<'_>> = (0..200).map(&mut process).collect();
        let (paces, weights) = paces(&views, Some(&known_s));
        let apart = |paces: &[Pace]| {
            let [few, many] = [ANCHORS, ANCHORS + 1]
                .map(|place| timing(&views, (paces, &weights), 1.0, place).seconds());
            (many / few - 1.0).abs()
        };
        let alone: Vec<Pace> = paces.iter().map(|pace| Pace::alone(pace.own)).collect();
        assert!(apart(&alone) > 0.03, "{}", apart(&alone));
        assert!(apart(&paces) < 0.015, "{}", apart(&paces));
    }
}
