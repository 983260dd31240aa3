#![allow(clippy::unwrap_used)]

use netfit_latency_tables::kendall_tau;
use netfit_spaces::Random;

use super::*;
use crate::METHODS;

fn quick() -> PredictorOptions {
    let mut options = PredictorOptions::default();
    for mlp in [&mut options.mlp, &mut options.ranked_mlp] {
        (mlp.layers, mlp.epochs, mlp.batch) = (vec![48, 48], 60, 16);
    }
    options
}

fn known(space: &Space, count: usize, seed: u64) -> Vec<(Genotype, f64)> {
    let mut random = Random::new(seed, "predictor");
    let mut draw = |_| {
        let genotype = space.sample(&mut random);
        let value = |at: usize| f64::from(genotype.values()[at]);
        let accuracy = 0.5 + 0.05 * value(0) + 0.02 * value(2) * value(5) + 0.03 * value(7);
        (genotype, accuracy)
    };
    (0..count).map(&mut draw).collect()
}

#[test]
fn every_method_ranks_networks_that_it_has_not_seen() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let train = known(&space, 100, 1);
    let (fresh, truth): (Vec<_>, Vec<_>) = known(&space, 300, 2).into_iter().unzip();
    let mean = truth.iter().sum::<f64>() / 300.0;
    let spread: f64 = truth.iter().map(|t| (t - mean).powi(2)).sum();
    for method in METHODS {
        let predictor = Predictor::fit(method, &space, &train, &quick()).unwrap();
        let predicted = predictor.predict(&fresh).unwrap();
        let tau = kendall_tau(&predicted, &truth);
        let error: f64 = predicted.iter().zip(&truth).map(|(p, t)| (p - t).powi(2)).sum();
        let (least, most) = if method == Method::RandomForest { (0.6, 0.4) } else { (0.78, 0.12) };
        assert!(tau > least && error < most * spread, "{method}: tau {tau}, {}", error / spread);
    }
}

#[test]
fn an_ensemble_is_the_mean_of_its_members_and_says_how_far_apart_they_are() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let train = known(&space, 40, 3);
    let asked: Vec<Genotype> = space.enumerate().step_by(97).collect();
    let fit = |method| Predictor::fit(method, &space, &train, &quick()).unwrap();
    let ensemble = fit(Method::Ensemble).predictions(&asked).unwrap();
    let members: Vec<Vec<f64>> =
        Method::Ensemble.members().into_iter().map(|m| fit(m).predict(&asked).unwrap()).collect();
    for (at, prediction) in ensemble.iter().enumerate() {
        let own = [members[0][at], members[1][at], members[2][at]];
        let mean = own.iter().sum::<f64>() / 3.0;
        let variance = own.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / 3.0;
        assert!((prediction.spread - variance.sqrt()).abs() < 1e-12);
        let (low, high) =
            (own.iter().copied().fold(1.0, f64::min), own.iter().copied().fold(0.0, f64::max));
        assert!(prediction.accuracy > low - 0.02 && prediction.accuracy < high + 0.02);
    }
    assert!(fit(Method::Mlp).predictions(&asked).unwrap().iter().all(|p| p.spread == 0.0));
}

#[test]
fn the_seed_fixes_predictions_whatever_the_threads_and_the_company() {
    let space = Space::preset("ofa-28").unwrap();
    let mut random = Random::new(4, "predictor");
    let train: Vec<_> =
        (0..30).map(|at| (space.sample(&mut random), 0.8 + 0.003 * f64::from(at % 11))).collect();
    let asked: Vec<Genotype> = (0..150).map(|_| space.sample(&mut random)).collect();
    for method in METHODS {
        let fit = |seed| {
            let mut options = PredictorOptions::seeded(seed);
            (options.mlp.layers, options.ranked_mlp.layers) = (vec![24], vec![24]);
            Predictor::fit(method, &space, &train, &options).unwrap()
        };
        let expected = fit(1).predictions(&asked).unwrap();
        let threads = fit(1).with_threads(&Threads::new(3).unwrap());
        assert_eq!(threads.predictions(&asked).unwrap(), expected, "{method}");
        assert_eq!(threads.predictions(&asked[77..79]).unwrap(), expected[77..79], "{method}");
        let accuracies = threads.clone().accuracies(&asked).unwrap();
        assert_eq!(accuracies, threads.predict(&asked).unwrap());
    }
}

#[test]
fn two_networks_are_enough_and_equal_accuracies_are_predicted_for_all() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let two = [(space.smallest(), 0.6), (space.largest(), 0.9)];
    let equal: Vec<_> = known(&space, 10, 5).into_iter().map(|(g, _)| (g, 0.7)).collect();
    let asked: Vec<Genotype> = space.enumerate().step_by(500).collect();
    for method in METHODS {
        let predictor = Predictor::fit(method, &space, &two, &quick()).unwrap();
        let predicted = predictor.predict(&asked).unwrap();
        assert!(predicted.iter().all(|accuracy| accuracy.is_finite()), "{method}: {predicted:?}");
        let ends = predictor.predict(&[space.smallest(), space.largest()]).unwrap();
        assert!(ends[0] <= ends[1], "{method}: {ends:?}");
        let predictor = Predictor::fit(method, &space, &equal, &quick()).unwrap();
        for prediction in predictor.predictions(&asked).unwrap() {
            assert!((prediction.accuracy - 0.7).abs() < 1e-12 && prediction.spread == 0.0);
        }
    }
}

#[test]
fn unusable_data_and_unknown_methods_are_refused() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let mut holed = known(&space, 5, 6);
    holed[3].1 = f64::NAN;
    for method in METHODS {
        let fit =
            |known: &[_]| Predictor::fit(method, &space, known, &quick()).unwrap_err().to_string();
        let message = fit(&holed);
        assert!(
            message.contains("is NaN") && message.contains(&holed[3].0.to_string()),
            "{message}"
        );
        assert!(fit(&holed[..1]).contains("at least 2 networks, found 1"));
        assert_eq!(method.name().parse::<Method>().unwrap(), method);
    }
    let message = "boosting".parse::<Method>().unwrap_err().to_string();
    assert!(message.starts_with("unknown predictor `boosting`; hint: predictors are ensemble, "));
}
