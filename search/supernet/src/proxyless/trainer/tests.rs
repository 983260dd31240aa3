//! Training on a tiny space: resumption, what latency does, what is refused.
#![allow(clippy::unwrap_used)]

use netfit_export::Weights;
use netfit_search::job::{LatencyLoss, Precision, Update};

use super::*;
use crate::tests::{alone, equal, splits};

const TINY: &str = r#"
name = "tiny-candidates"
input = "1x9x9"
classes = 3
stem = ["conv k3 s2 relu6 o8"]
head = ["conv k1 s1 relu6 o16", "pool", "linear"]

[[stages]]
width = 8
stride = 1
depth = [2]
ops = ["skip", "mbconv k3 e2 relu6", "mbconv k5 e3 relu6"]

[[stages]]
width = 12
stride = 2
depth = [2]
ops = ["skip", "mbconv k3 e2 relu6", "mbconv k5 e3 relu6"]
"#;

fn space() -> Space {
    Space::from_toml("tiny", TINY).unwrap()
}

fn training() -> Training {
    Training { dropout: 0.0, ..crate::tests::training() }
}

/// Options of 0, 1 and 2 ms over a millisecond that is fixed: 1 to 9 ms, the third choice without a skip.
fn latency(target_s: f64) -> ChoiceLatency {
    let all = vec![0.0, 1e-3, 2e-3];
    let third = vec![1e-3, 2e-3];
    ChoiceLatency { fixed_s: 1e-3, options_s: vec![all.clone(), all.clone(), third, all], target_s }
}

fn options() -> Proxyless {
    Proxyless {
        warmup_epochs: 1.0,
        epochs: 6.0,
        rest_epochs: 0.5,
        interval: 2,
        warmup_learning_rate: 0.05,
        learning_rate: 0.03,
        architecture_learning_rate: 0.1,
        architecture_images: 0.25,
        ..Proxyless::default()
    }
}

fn trainer(options: &Proxyless, target_s: f64, folder: &Path) -> Result<ProxylessTrainer> {
    open(&training(), options, target_s, 5, folder)
}

fn open(
    training: &Training,
    options: &Proxyless,
    target_s: f64,
    seed: u64,
    folder: &Path,
) -> Result<ProxylessTrainer> {
    let told = (options, &latency(target_s));
    ProxylessTrainer::open(&space(), &splits(192), training, told, seed, folder)
}

fn run(options: &Proxyless, target_s: f64) -> ProxylessFound {
    run_seeded(options, target_s, 5)
}

fn run_seeded(options: &Proxyless, target_s: f64, seed: u64) -> ProxylessFound {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = open(&training(), options, target_s, seed, folder.path()).unwrap();
    trainer.run_steps(u64::MAX, &mut |_| Ok(())).unwrap();
    assert!(trainer.finished());
    trainer.derived().unwrap()
}

/// Weights at the end of a search, which are the same where it was broken off.
fn weights_of_resumed(precision: Precision, update: Update) -> Weights {
    let options = Proxyless { update, epochs: 3.0, networks: 3, ..options() };
    let folder = tempfile::tempdir().unwrap();
    let (unbroken, broken) = (folder.path().join("unbroken"), folder.path().join("broken"));
    let training = Training { precision, ..training() };
    let open = |folder: &Path| open(&training, &options, 5e-3, 5, folder).unwrap();
    // 9 steps of warm-up, then 27.
    let mut whole = open(&unbroken);
    whole.run_steps(u64::MAX, &mut |_| Ok(())).unwrap();
    for steps in [5, 4, 8, 9] {
        open(&broken).run_steps(steps, &mut |_| Ok(())).unwrap();
    }
    let mut resumed = open(&broken);
    resumed.run_steps(u64::MAX, &mut |_| Ok(())).unwrap();
    assert_eq!(resumed.place, whole.place);
    assert!(whole.learnt.updates > 5);
    assert_eq!(resumed.learnt.architecture, whole.learnt.architecture, "{update:?}");
    assert_eq!(resumed.price.lambda.to_bits(), whole.price.lambda.to_bits());
    let weights = |trainer: &ProxylessTrainer| {
        let parameters = trainer.candidates.supernet().parameters();
        let mut weights = Weights::new();
        parameters.save(parameters.values(), "", &mut weights);
        weights
    };
    equal(&weights(&whole), &weights(&resumed));
    weights(&whole)
}

#[test]
fn a_resumed_search_equals_an_unbroken_one_bit_for_bit() {
    let _alone = alone();
    for update in [Update::FullV2, Update::Two, Update::Reinforce] {
        weights_of_resumed(Precision::Fp32, update);
    }
}

#[test]
fn steps_of_the_weights_are_in_mixed_precision_where_it_is_asked_for() {
    let _alone = alone();
    let [exact, mixed] = [Precision::Fp32, Precision::Bf16]
        .map(|precision| weights_of_resumed(precision, Update::FullV2));
    assert!(exact.iter().zip(mixed.iter()).any(|((_, a), (_, b))| a.data != b.data));
    assert!(mixed.iter().all(|(_, tensor)| tensor.data.iter().all(|x| x.is_finite())));
}

#[test]
fn the_expected_latency_falls_as_the_price_rises() {
    let _alone = alone();
    for update in [Update::FullV2, Update::Two] {
        let expected: Vec<f64> = [0.0, 0.3, 3.0]
            .into_iter()
            .map(|lambda| {
                let loss = LatencyLoss::Add;
                run(&Proxyless { update, loss, lambda, ..options() }, 5e-3).expected_s
            })
            .collect();
        assert!(expected.windows(2).all(|pair| pair[0] > pair[1]), "{update:?}: {expected:?}");
    }
}

#[test]
fn the_dual_form_reaches_targets_from_both_sides_and_mul_and_rewards_know_latency() {
    let _alone = alone();
    for (target_s, seed) in [(3e-3, 5), (3e-3, 6), (6e-3, 5), (6e-3, 6)] {
        let rate = 0.05;
        let long = Proxyless {
            epochs: 14.0,
            damping: 10.0,
            architecture_learning_rate: rate,
            ..options()
        };
        let found = run_seeded(&long, target_s, seed);
        let off = found.expected_s / target_s - 1.0;
        assert!(off.abs() < 0.07, "{target_s}: {} s, lambda {}", found.expected_s, found.lambda);
        // Whole milliseconds: the target itself is in the window.
        let near = latency(1.02 * target_s);
        let path = derive(&found.probabilities, &near, 0.05).unwrap();
        assert!((near.of(&path) / target_s - 1.0).abs() < 1e-9, "{path:?}");
    }
    let mul = |exponent| {
        let loss = LatencyLoss::Mul;
        run(&Proxyless { loss, mul_exponent: exponent, ..options() }, 5e-3).expected_s
    };
    assert!(mul(3.0) < mul(0.0));
    let rewarded = |exponent| {
        let update = Update::Reinforce;
        run(&Proxyless { update, reward_exponent: exponent, ..options() }, 5e-3).expected_s
    };
    assert!(rewarded(2.0) < rewarded(0.0));
}

#[test]
fn what_cannot_be_trained_is_named() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let message = |options: &Proxyless, target_s: f64| {
        let opened = trainer(options, target_s, folder.path());
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let wrong = Proxyless { epochs: 0.5, ..options() };
    assert!(
        message(&wrong, 5e-3).contains("`[proxyless] epochs`: expected more than `rest_epochs`")
    );
    let never = Proxyless { interval: 1000, ..options() };
    assert!(message(&never, 5e-3).contains("found 1000, with 54 steps of the weights"));
    let few = Proxyless { architecture_images: 0.01, ..options() };
    assert!(message(&few, 5e-3).contains("one batch of 16 images for the architecture, found 3"));
    assert!(message(&options(), 0.0).contains("a target above 0"));
    trainer(&options(), 5e-3, folder.path()).unwrap().run_steps(2, &mut |_| Ok(())).unwrap();
    assert!(
        message(&options(), 4e-3).contains("another `[proxyless]` table, latency table or budget")
    );
    let other = Proxyless { eta: 0.2, ..options() };
    assert!(message(&other, 5e-3).contains("`[proxyless]`"));
    assert_eq!(message(&options(), 5e-3), "");
}
