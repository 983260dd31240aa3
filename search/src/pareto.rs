//! The Pareto front of accuracy (up) against latency (down).

use crate::Evaluated;

/// The places of the points that no other point dominates, in ascending order of latency (and so of accuracy). A
/// point is `(accuracy, latency)`; it dominates another one that it equals or betters in both and betters in one. Of
/// equal points the first counts. Points that are not finite do not count.
pub(crate) fn front(points: &[(f64, f64)]) -> Vec<usize> {
    let finite = |&place: &usize| points[place].0.is_finite() && points[place].1.is_finite();
    let mut order: Vec<usize> = (0..points.len()).filter(finite).collect();
    order.sort_by(|&a, &b| {
        points[a]
            .1
            .total_cmp(&points[b].1)
            .then(points[b].0.total_cmp(&points[a].0))
            .then(a.cmp(&b))
    });
    let mut best = f64::NEG_INFINITY;
    order.retain(|&place| {
        let better = points[place].0 > best;
        best = best.max(points[place].0);
        better
    });
    order
}

/// Networks that no other one dominates by its accuracy and its predicted latency, in ascending order of latency.
pub fn pareto(networks: &[Evaluated]) -> Vec<Evaluated> {
    let point = |network: &Evaluated| (network.accuracy, network.latency_s);
    let points: Vec<(f64, f64)> = networks.iter().map(point).collect();
    front(&points).into_iter().map(|place| networks[place].clone()).collect()
}

/// The area between the front of `points` and the reference `(accuracy, latency)`, which is worse than the points
/// that count: lower in accuracy, higher in latency.
pub fn hypervolume(points: &[(f64, f64)], reference: (f64, f64)) -> f64 {
    let mut area = 0.0;
    let mut floor = reference.0;
    for place in front(points) {
        let (accuracy, latency) = points[place];
        if latency < reference.1 && accuracy > floor {
            area += (accuracy - floor) * (reference.1 - latency);
            floor = accuracy;
        }
    }
    area
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Steps of 1 by 1: columns of height 1, 2, ..., n.
    #[test]
    fn a_staircase_has_the_area_of_its_columns() {
        let steps: Vec<(f64, f64)> = (1..=10).map(|n| (f64::from(n), f64::from(n))).collect();
        assert_eq!(front(&steps), (0..10).collect::<Vec<_>>());
        assert!((hypervolume(&steps, (0.0, 11.0)) - 55.0).abs() < 1e-12);
        assert!((hypervolume(&steps, (8.0, 10.5)) - (1.5 + 0.5)).abs() < 1e-12);
        assert!(hypervolume(&steps, (20.0, 11.0)).abs() < 1e-12);
    }

    #[test]
    fn of_equal_points_the_first_counts_and_holes_do_not() {
        let points = [(0.5, 1.0), (0.5, 1.0), (f64::NAN, 0.1), (0.9, f64::INFINITY), (0.5, 2.0)];
        assert_eq!(front(&points), [0]);
        assert!(front(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn no_point_of_a_front_is_dominated_and_all_others_are(
            points in prop::collection::vec((0_u8..12, 0_u8..12), 0..40)
        ) {
            let points: Vec<(f64, f64)> =
                points.into_iter().map(|(a, l)| (f64::from(a), f64::from(l))).collect();
            let kept = front(&points);
            let covers = |a: (f64, f64), b: (f64, f64)| a.0 >= b.0 && a.1 <= b.1;
            for (place, &point) in points.iter().enumerate() {
                let dominated = points.iter().any(|&other| covers(other, point) && other != point);
                if kept.contains(&place) {
                    prop_assert!(!dominated);
                } else {
                    prop_assert!(kept.iter().any(|&other| covers(points[other], point)));
                }
            }
            let on_front: Vec<_> = kept.iter().map(|&place| points[place]).collect();
            let (all, few) = (hypervolume(&points, (-1.0, 13.0)), hypervolume(&on_front, (-1.0, 13.0)));
            prop_assert!((all - few).abs() < 1e-9);
        }
    }
}
