//! How fast a process is: what turns its seconds into those of the average process of a table's measurements.

use netfit_latency_tables::{median, rmspe, robust_fit};

/// A form has to leave less than these shares of a simpler one's error on the models that are known, an affine one and one
/// by weights. Of one process: its noise says little of weights.
const PARSIMONY: [f64; 2] = [1.0, 0.8];
/// Of the mean of all, which has little noise to follow.
const PARSIMONY_OF_COMMON: [f64; 2] = [0.95, 0.95];

/// A model whose normalised seconds are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) seconds: f64,
    pub(crate) parameters: f64,
}

/// `seconds here = extra_s + slower * normalised seconds + fetch_s * parameters`.
///
/// Mostly a process is slower by a factor. Where memory has become slow, all networks of a space lose about the same time,
/// that of fetching the weights which they have in common, and a factor would be wrong for the fast and the slow ones.
/// Where networks of a millisecond find more or less of their weights in a cache that others use as well, each loses time
/// by how many it has. Far from the models that are known, a factor is all that holds: a file of a few microseconds does
/// not lose a millisecond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    extra_s: f64,
    slower: f64,
    fetch_s: f64,
    /// Seconds here below which a model is slower by the factor that one of these seconds is: half-way between what costs
    /// every model the same and the fastest one.
    least_s: f64,
    /// More parameters than these cost no more.
    most_parameters: f64,
}

/// The forms of a speed, the simplest first.
#[derive(Clone, Copy)]
enum Form {
    Proportional,
    Affine,
    Weights,
}

impl Form {
    /// None where the models do not tell.
    fn fit(self, known: &[Known], here_s: &[f64]) -> Option<Speed> {
        let column = |of: fn(&Known) -> f64| known.iter().map(of).collect::<Vec<f64>>();
        let (seconds, ones) = (column(|known| known.seconds), column(|_| 1.0));
        if matches!(self, Self::Proportional) {
            let ratios = here_s.iter().zip(&seconds).map(|(here, known)| here / known);
            return Some(Speed::proportional(median(&ratios.collect::<Vec<f64>>())));
        }
        let parameters = column(|known| known.parameters);
        let columns: [&[f64]; 3] = [&ones, &seconds, &parameters];
        let count = if matches!(self, Self::Affine) { 2 } else { 3 };
        let found = robust_fit(&columns[..count], here_s)?;
        let fetch_s = found.get(2).copied().unwrap_or(0.0);
        let most_parameters = parameters.iter().copied().fold(0.0, f64::max);
        let fastest_s = here_s.iter().copied().fold(f64::INFINITY, f64::min);
        // What does not depend on a model's seconds costs so much at most.
        let extra_s = found[0];
        let fixed_s = extra_s.max(extra_s + fetch_s * most_parameters).max(0.0);
        let least_s = f64::midpoint(fixed_s, fastest_s);
        let speed = Speed { extra_s, slower: found[1], fetch_s, least_s, most_parameters };
        (speed.slower > 0.0 && fixed_s < fastest_s).then_some(speed)
    }

    /// The error on each model of what the others tell; infinite where they do not tell.
    fn left_out(self, known: &[Known], here_s: &[f64]) -> f64 {
        let predicted: Option<Vec<f64>> = (0..known.len())
            .map(|at| {
                let speed = self.fit(&without(known, at), &without(here_s, at))?;
                Some(speed.seconds(&known[at]))
            })
            .collect();
        predicted.map_or(f64::INFINITY, |predicted| rmspe(&predicted, here_s))
    }
}

impl Speed {
    pub(crate) fn proportional(slower: f64) -> Self {
        Self { extra_s: 0.0, slower, fetch_s: 0.0, least_s: 0.0, most_parameters: 0.0 }
    }

    /// From models that are known and the seconds that they take here, pair by pair. Leaving each out in turn decides on
    /// the form.
    pub(crate) fn of(known: &[Known], here_s: &[f64]) -> Self {
        Self::chosen(known, here_s, PARSIMONY)
    }

    fn chosen(known: &[Known], here_s: &[f64], parsimony: [f64; 2]) -> Self {
        let fit = |form: Form| form.fit(known, here_s);
        let mut chosen = fit(Form::Proportional).unwrap_or(Self::proportional(1.0));
        let mut error = Form::Proportional.left_out(known, here_s);
        for (form, share) in [Form::Affine, Form::Weights].into_iter().zip(parsimony) {
            let left = form.left_out(known, here_s);
            if let Some(speed) = fit(form).filter(|_| left < share * error) {
                (chosen, error) = (speed, left);
            }
        }
        chosen
    }

    /// Seconds that a model takes here.
    fn seconds(self, known: &Known) -> f64 {
        self.extra_s + self.slower * known.seconds + self.fetch_s * known.parameters
    }

    /// Normalised seconds of a model of so many parameters that takes `seconds` here; positive where these are.
    pub(crate) fn normalised(self, seconds: f64, parameters: f64) -> f64 {
        let known_s = seconds.max(self.least_s);
        let parameters = parameters.min(self.most_parameters);
        let normalised = (known_s - self.extra_s - self.fetch_s * parameters) / self.slower;
        normalised * (seconds / known_s)
    }
}

/// All values but one.
fn without<T: Copy>(values: &[T], at: usize) -> Vec<T> {
    [&values[..at], &values[at + 1..]].concat()
}

/// What turns the seconds of one process into normalised ones: its own speed, then what all processes have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    pub(crate) own: Speed,
    pub(crate) common: Speed,
}

impl Pace {
    pub(crate) fn alone(own: Speed) -> Self {
        Self { own, common: Speed::proportional(1.0) }
    }

    /// See [`Speed::normalised`].
    pub(crate) fn normalised(self, seconds: f64, parameters: f64) -> f64 {
        self.common.normalised(self.own.normalised(seconds, parameters), parameters)
    }
}

/// What all processes have in common, by what they say on average of the models that are known: `mean_s`, each by its own
/// speed. In the noise of one process a term by weights does not show; where the machine is another one than when the
/// models became known, it shows in the mean of all. All speeds together are then scaled so that the known models keep
/// their seconds on average: noise makes times longer more often than shorter, so the medians that speeds come from lie
/// below the mean, and everything measured beside them would seem slower than it is.
pub(crate) fn common(known: &[Known], mean_s: &[f64]) -> Speed {
    centred(Speed::chosen(known, mean_s, PARSIMONY_OF_COMMON), known, mean_s)
}

/// The same speed times a factor with which the models that are known have their known seconds on average.
pub(crate) fn centred(speed: Speed, known: &[Known], here_s: &[f64]) -> Speed {
    let ratio =
        |(here, known): (&f64, &Known)| speed.normalised(*here, known.parameters) / known.seconds;
    let ratios: Vec<f64> = here_s.iter().zip(known).map(ratio).collect();
    let common = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
    Speed { slower: speed.slower * common, ..speed }
}

/// What the average process takes for models that all processes have timed: logarithmic levels, in the same order in each.
pub(crate) fn average(processes: &[Vec<f64>]) -> Vec<f64> {
    let shared = processes.first().map_or(0, Vec::len);
    let mean = |model: usize| {
        processes.iter().map(|levels| levels[model]).sum::<f64>() / processes.len() as f64
    };
    (0..shared).map(|model| mean(model).exp()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Models of these seconds; every other one has a third of the parameters.
    fn known(seconds: &[f64]) -> Vec<Known> {
        let parameters = |at: usize| 3e6 - 2e6 * (at % 2) as f64;
        let model = |(at, &seconds)| Known { seconds, parameters: parameters(at) };
        seconds.iter().enumerate().map(model).collect()
    }

    #[test]
    fn processes_of_different_speed_agree_on_ratios() {
        let processes = [vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![1.2, 2.2, 3.2, 4.2, 5.9]];
        let known = known(&average(&processes));
        let here = |levels: &Vec<f64>| levels.iter().map(|level| level.exp()).collect();
        let here: Vec<Vec<f64>> = processes.iter().map(here).collect();
        let speeds: Vec<Speed> = here.iter().map(|here| Speed::of(&known, here)).collect();
        let ratio = speeds[1].slower / speeds[0].slower;
        assert!((ratio.ln() - 0.2).abs() < 1e-9, "{speeds:?}");
        assert!((speeds[0].slower * speeds[1].slower - 1.0).abs() < 1e-9, "{speeds:?}");
    }

    #[test]
    fn a_factor_is_found_among_outliers() {
        let known = known(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let here = [1.1, 2.2, 3.3, 4.4, 5.5, 9.9];
        let speed = Speed::of(&known, &here);
        assert!((speed.normalised(1.1, 3e6) - 1.0).abs() < 1e-9, "{speed:?}");
    }

    /// In every process another one of five networks is 10 % slower than it should be.
    #[test]
    fn networks_that_are_known_keep_their_seconds_on_average() {
        let known = known(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let here = |slow: usize| -> Vec<f64> {
            let factor = |network: usize| if network == slow { 1.1 } else { 1.0 };
            known
                .iter()
                .enumerate()
                .map(|(network, known)| factor(network) * known.seconds)
                .collect()
        };
        let processes: Vec<Vec<f64>> = (0..5).map(here).collect();
        let own: Vec<Speed> = processes.iter().map(|here| Speed::of(&known, here)).collect();
        let mean_s = mean_of(&known, &own, &processes);
        let common = common(&known, &mean_s);
        for (known, mean_s) in known.iter().zip(mean_s) {
            let normalised = common.normalised(mean_s, known.parameters);
            assert!((normalised / known.seconds - 1.0).abs() < 1e-9);
        }
    }

    /// What processes say on average of each model.
    fn mean_of(known: &[Known], own: &[Speed], processes: &[Vec<f64>]) -> Vec<f64> {
        let mean = |(model, known): (usize, &Known)| {
            let each = own.iter().zip(processes);
            let each = each.map(|(speed, here)| speed.normalised(here[model], known.parameters));
            each.sum::<f64>() / own.len() as f64
        };
        known.iter().enumerate().map(mean).collect()
    }

    #[test]
    fn what_the_noise_of_one_process_hides_shows_in_the_mean_of_all() {
        let mut random = netfit_spaces::Random::new(4, "noise");
        let seconds: Vec<f64> = (0..40).map(|_| 0.5e-3 * (1.0 + random.uniform())).collect();
        let model = |seconds| Known { seconds, parameters: 4e6 + 2e6 * random.uniform() };
        let known: Vec<Known> = seconds.into_iter().map(model).collect();
        let slow = Speed { fetch_s: 1.5e-11, ..Speed::proportional(0.9) };
        let mut process = || {
            let here = |known: &Known| slow.seconds(known) * (1.0 + 0.05 * random.normal());
            known.iter().map(here).collect::<Vec<f64>>()
        };
        let processes: Vec<Vec<f64>> = (0..48).map(|_| process()).collect();
        let own: Vec<Speed> = processes.iter().map(|here| Speed::of(&known, here)).collect();
        let left = |pace: &dyn Fn(Speed) -> Pace| {
            // A model of few weights and one of many.
            let fresh = [(0.7e-3, 4e6), (0.7e-3, 6e6)].map(|(seconds, parameters)| {
                let fresh = Known { seconds, parameters };
                let paces = own.iter().map(|own| pace(*own));
                let each = paces.map(|pace| pace.normalised(slow.seconds(&fresh), parameters));
                each.sum::<f64>() / own.len() as f64
            });
            (fresh[1] / fresh[0] - 1.0).abs()
        };
        let common = common(&known, &mean_of(&known, &own, &processes));
        assert!(left(&Pace::alone) > 0.03, "{}", left(&Pace::alone));
        let mended = left(&|own| Pace { own, common });
        assert!(mended < 0.01, "{mended}");
    }

    #[test]
    fn slow_memory_costs_all_networks_the_same_or_by_their_weights() {
        let known = known(&[7e-3, 8e-3, 9e-3, 10e-3, 11e-3, 12e-3]);
        for fetch_s in [0.0, 2e-10] {
            let slow = Speed { extra_s: 0.9e-3, fetch_s, ..Speed::proportional(1.02) };
            let here: Vec<f64> = known.iter().map(|known| slow.seconds(known)).collect();
            let speed = Speed::of(&known, &here);
            assert!((speed.extra_s / slow.extra_s - 1.0).abs() < 1e-6, "{speed:?}");
            assert!((speed.slower / slow.slower - 1.0).abs() < 1e-6, "{speed:?}");
            assert!((speed.fetch_s - slow.fetch_s).abs() < 1e-16, "{speed:?}");
            for (known, here) in known.iter().zip(here) {
                let normalised = speed.normalised(here, known.parameters);
                assert!((normalised / known.seconds - 1.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn models_far_from_those_that_are_known_keep_positive_seconds() {
        let known = known(&[7e-3, 8e-3, 9e-3, 10e-3, 11e-3, 12e-3]);
        let slow = Speed { extra_s: 0.9e-3, fetch_s: 2e-10, ..Speed::proportional(1.02) };
        let here: Vec<f64> = known.iter().map(|known| slow.seconds(known)).collect();
        let speed = Speed::of(&known, &here);
        let mut before = 0.0;
        for step in 1..2000 {
            let normalised = speed.normalised(f64::from(step) * 5e-6, 1e6);
            assert!(normalised > before, "{step}: {normalised} after {before}");
            before = normalised;
        }
        assert!(speed.normalised(1e-4, 1e9) > 0.0);
        assert!(speed.normalised(0.0, 1e6).abs() < 1e-12);
    }

    #[test]
    fn networks_of_one_latency_tell_a_factor_only() {
        let speed = Speed::of(&known(&[2.0; 4]), &[3.0; 4]);
        assert_eq!(speed, Speed::proportional(1.5));
    }
}
