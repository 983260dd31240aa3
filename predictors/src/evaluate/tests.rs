#![allow(clippy::unwrap_used)]

use super::*;

type Known = Vec<(Genotype, f64)>;

/// A sum of choices, and noise.
fn networks(count: usize) -> (Space, Known, Known) {
    let space = Space::preset("nas-bench-macro").unwrap();
    let mut random = Random::new(5, "evaluate");
    let (mut sums, mut noise) = (Vec::new(), Vec::new());
    let mut genotypes: Vec<_> = space.enumerate().collect();
    random.shuffle(&mut genotypes);
    for genotype in genotypes.into_iter().take(count) {
        let sum: u8 = genotype.values().iter().sum();
        sums.push((genotype.clone(), 0.5 + 0.02 * f64::from(sum)));
        noise.push((genotype, random.uniform()));
    }
    (space, sums, noise)
}

#[test]
fn a_learnable_function_is_ranked_and_noise_is_not() {
    let (space, sums, noise) = networks(90);
    let options = PredictorOptions::default();
    let judge = |known: &[_]| {
        cross_validate(Method::GaussianProcess, &space, known, &options, 3, 0).unwrap()
    };
    let judged = judge(&sums);
    assert!(judged.kendall_tau > 0.9 && judged.rmse < 0.02, "{judged:?}");
    assert_eq!((judged.networks, judged.folds), (90, 3));
    let judged = judge(&noise);
    assert!(judged.kendall_tau.abs() < 0.3 && judged.rmse > 0.2, "{judged:?}");
}

#[test]
fn too_few_networks_for_the_folds_are_refused() {
    let space = Space::preset("nas-bench-macro").unwrap();
    let known = vec![(space.smallest(), 0.1), (space.largest(), 0.2)];
    let options = PredictorOptions::default();
    let error = cross_validate(Method::Ensemble, &space, &known, &options, 2, 0).unwrap_err();
    assert!(error.to_string().contains("2 folds of 2 networks, found 2 folds"), "{error}");
}

#[test]
fn predictors_stand_beside_costs_and_more_networks_teach_more() {
    let (space, sums, _) = networks(150);
    let values = sums.iter().map(|(genotype, _)| f64::from(genotype.values()[0])).collect();
    let costs = [Cost { name: "first choice".to_owned(), values }];
    let mut options = EvaluateOptions {
        methods: vec![Method::Ridge, Method::SecondOrderRidge],
        sizes: vec![10, 60],
        repeats: 4,
        ..EvaluateOptions::default()
    };
    let mut fits = Vec::new();
    let mut run = |options: &EvaluateOptions| {
        evaluate(&space, &sums, &costs, options, &mut |done, total| fits.push((done, total)))
            .unwrap()
    };
    let mut one = run(&options);
    options.threads = 2;
    let mut two = run(&options);
    for scores in one.iter_mut().chain(&mut two).flat_map(|size| &mut size.rankers) {
        scores.fit_seconds = scores.fit_seconds.map(|_| 0.0);
    }
    assert_eq!(one, two, "whatever the number of threads");
    assert_eq!((fits[0], fits[7]), ((1, 8), (8, 8)));
    let [small, large] = &one[..] else { panic!("{one:?}") };
    assert_eq!((small.size, large.size), (10, 60));
    let names: Vec<_> = large.rankers.iter().map(|scores| scores.name.as_str()).collect();
    assert_eq!(names, ["ridge", "second-order-ridge", "first choice"]);
    for (few, many) in small.rankers.iter().zip(&large.rankers).take(2) {
        assert!(many.kendall_tau.value > few.kendall_tau.value, "{few:?} {many:?}");
    }
    let cost = &large.rankers[2];
    assert!(cost.rmse.is_none() && cost.kendall_tau.value < large.rankers[0].kendall_tau.value);
}

#[test]
fn sizes_that_leave_nothing_to_test_on_are_refused() {
    let (space, sums, _) = networks(20);
    let run = |options| evaluate(&space, &sums, &[], &options, &mut |_, _| {}).unwrap_err();
    for size in [1, 19] {
        let error = run(EvaluateOptions { sizes: vec![size], ..EvaluateOptions::default() });
        let expected = format!("from 2 to 18 of 20 networks, found {size}; hint: ");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    let error = run(EvaluateOptions { sizes: vec![5], repeats: 0, ..EvaluateOptions::default() });
    assert!(error.to_string().contains("at least one predictor, size, repeat"), "{error}");
}
