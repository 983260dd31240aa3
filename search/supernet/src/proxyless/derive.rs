//! The network that an architecture stands for: its most probable path of a given latency.

use netfit_search::job::ChoiceLatency;

/// Latencies are rounded up to this share of the target, so that no sum is above it.
const PARTS: usize = 4000;

/// The most probable path, each choice for itself: the first of equals.
pub(crate) fn most_probable(probabilities: &[Vec<f64>]) -> Vec<usize> {
    let best =
        |p: &Vec<f64>| (0..p.len()).rev().max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap_or(0);
    probabilities.iter().map(best).collect()
}

/// The most probable path within the target that stays below it by the share `slack` at most; where there is none, the
/// most probable one within the target; None where none keeps to it.
///
/// The authors take [`most_probable`]. After a short search probabilities are not near 0 and 1 yet, and its latency is
/// then not the expected one, at which the search aimed.
pub(crate) fn derive(
    probabilities: &[Vec<f64>],
    latency: &ChoiceLatency,
    slack: f64,
) -> Option<Vec<usize>> {
    let best = Best::new(probabilities, latency);
    let least = ((1.0 - slack) * PARTS as f64).floor().max(0.0) as usize;
    best.path(least).or_else(|| best.path(0)).or_else(|| {
        let fastest = fastest(latency);
        (latency.of(&fastest) <= latency.target_s).then_some(fastest)
    })
}

fn fastest(latency: &ChoiceLatency) -> Vec<usize> {
    let least = |s: &Vec<f64>| (0..s.len()).min_by(|&a, &b| s[a].total_cmp(&s[b])).unwrap_or(0);
    latency.options_s.iter().map(least).collect()
}

/// By dynamic programming over latencies in [`PARTS`] of what the target leaves: the log-probability of the best path
/// of the first choices that takes so many parts, and its last option.
struct Best {
    steps: Vec<Vec<Option<(f64, usize)>>>,
    costs: Vec<Vec<usize>>,
    fixed: usize,
}

impl Best {
    fn new(probabilities: &[Vec<f64>], latency: &ChoiceLatency) -> Self {
        let part = latency.target_s / PARTS as f64;
        let parts = |seconds: f64| (seconds / part - 1e-9).ceil().max(0.0) as usize;
        let costs: Vec<Vec<usize>> = latency
            .options_s
            .iter()
            .map(|options| options.iter().map(|&seconds| parts(seconds)).collect())
            .collect();
        let fixed = parts(latency.fixed_s);
        let mut last = vec![None; PARTS + 1];
        if fixed <= PARTS {
            last[fixed] = Some((0.0, 0));
        }
        let mut steps = vec![last];
        for (p, costs) in probabilities.iter().zip(&costs) {
            let before = &steps[steps.len() - 1];
            let mut after: Vec<Option<(f64, usize)>> = vec![None; PARTS + 1];
            for (taken, entry) in before.iter().enumerate() {
                let Some((log, _)) = entry else { continue };
                for (option, (p, cost)) in p.iter().zip(costs).enumerate() {
                    let value = log + p.max(f64::MIN_POSITIVE).ln();
                    let Some(place) = after.get_mut(taken + cost) else { continue };
                    if place.is_none_or(|(known, _)| value > known) {
                        *place = Some((value, option));
                    }
                }
            }
            steps.push(after);
        }
        Self { steps, costs, fixed }
    }

    /// The most probable path that takes at least so many parts.
    fn path(&self, at_least: usize) -> Option<Vec<usize>> {
        let last = self.steps.last()?;
        let found = (at_least..=PARTS).filter_map(|taken| last[taken].map(|(log, _)| (taken, log)));
        let (mut taken, _) = found.max_by(|a, b| a.1.total_cmp(&b.1))?;
        let mut path = Vec::new();
        for (entries, costs) in self.steps[1..].iter().zip(&self.costs).rev() {
            let (_, option) = entries[taken]?;
            path.push(option);
            taken -= costs[option];
        }
        debug_assert_eq!(taken, self.fixed, "a path begins with what is fixed");
        path.reverse();
        Some(path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::Random;

    use super::*;

    fn paths(sizes: &[usize]) -> Vec<Vec<usize>> {
        sizes.iter().fold(vec![Vec::new()], |paths, &size| {
            let longer = |path: &Vec<usize>| {
                let path = path.clone();
                (0..size).map(move |option| [&path[..], &[option]].concat())
            };
            paths.iter().flat_map(longer).collect()
        })
    }

    /// Against every path of random small searches.
    #[test]
    fn the_derived_path_is_the_most_probable_one_in_its_window() {
        let mut random = Random::new(4, "derive");
        let sizes = [3, 4, 2, 4, 3];
        for _ in 0..20 {
            let mut draw = |size: &usize| (0..*size).map(|_| random.uniform()).collect::<Vec<_>>();
            let options_s: Vec<Vec<f64>> = sizes.iter().map(&mut draw).collect();
            let probabilities: Vec<Vec<f64>> = sizes.iter().map(&mut draw).collect();
            let latency = ChoiceLatency { fixed_s: 0.3, options_s, target_s: 2.8 };
            let log = |path: &[usize]| {
                path.iter().zip(&probabilities).map(|(&o, p)| p[o].ln()).sum::<f64>()
            };
            let slack = 0.1;
            let found = derive(&probabilities, &latency, slack).unwrap();
            let seconds = latency.of(&found);
            assert!(seconds <= 2.8 && seconds >= 2.8 * (1.0 - slack - 0.01), "{seconds}");
            let in_window = |path: &&Vec<usize>| {
                // Rounding up takes a path at the very edge out.
                (2.8 * (1.0 - slack)..=2.8 * 0.998).contains(&latency.of(path))
            };
            let best =
                paths(&sizes).iter().filter(in_window).map(|p| log(p)).fold(f64::MIN, f64::max);
            assert!(log(&found) >= best - 1e-9);
        }
    }

    #[test]
    fn without_a_path_near_the_target_a_faster_one_is_taken_and_without_any_none() {
        let latency = |target_s| ChoiceLatency {
            fixed_s: 1.0,
            options_s: vec![vec![0.0, 1.0], vec![0.5, 3.0]],
            target_s,
        };
        let p = [vec![0.1, 0.9], vec![0.4, 0.6]];
        assert_eq!(most_probable(&p), [1, 1]);
        assert_eq!(derive(&p, &latency(5.0), 0.05), Some(vec![1, 1]));
        assert_eq!(derive(&p, &latency(3.2), 0.05), Some(vec![1, 0]));
        assert_eq!(derive(&p, &latency(1.5), 0.05), Some(vec![0, 0]));
        assert_eq!(derive(&p, &latency(1.4), 0.05), None);
        assert_eq!(derive(&p, &latency(0.9), 0.05), None);
    }
}
