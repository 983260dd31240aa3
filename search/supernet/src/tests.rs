//! Exactness of the supernet and of its training, on tiny spaces.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use netfit_data::{Dataset, Normalization, Splits};
use netfit_export::Weights;
use netfit_search::job::{Precision, Training};
use netfit_spaces::{ChoiceKind, Genotype, Random, Shape, Slot, Space};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{Error, Mode, Standalone, Supernet, checkpoint::Place, layout, training::Trainer};

mod checkpoints;
mod mixed;
mod on_a_gpu;

/// One stage with squeeze-and-excite and kernels 3 to 7, one without and with another activation.
const TINY: &str = r#"
name = "tiny"
input = "1x9x9"
classes = 3
stem = ["conv k3 s2 hswish o8", "dsconv k3 s1 relu o8"]
head = ["conv k1 s1 hswish o16", "pool", "linear nobias hswish o8", "linear"]

[[stages]]
width = 8
stride = 1
depth = [1, 2]
kernel = [3, 5, 7]
expand = [2, 3, 4]
squeeze = 0.25
activation = "hswish"

[[stages]]
width = 16
stride = 2
depth = [1, 2, 3]
kernel = [3, 5]
expand = [2, 4]
activation = "relu"
"#;

/// libtorch has one generator a process: a test that draws from it, or is seeded, runs alone.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tiny() -> Space {
    Space::from_toml("tiny", TINY).unwrap()
}

/// A supernet whose every parameter is random, transformation matrices and normalisations included.
fn random_supernet(space: &Space) -> Supernet {
    let supernet = Supernet::new(space, Device::Cpu, 5).unwrap();
    tch::manual_seed(5);
    no_grad(|| {
        for number in 0..supernet.parameters().len() {
            let mut tensor = supernet.parameters().get(number).shallow_clone();
            let noise = Tensor::randn(tensor.size(), (Kind::Float, Device::Cpu));
            tensor += noise * 0.15;
        }
    });
    supernet
}

fn images(count: i64) -> Tensor {
    layout::channels_last(&Tensor::randn([count, 1, 9, 9], (Kind::Float, Device::Cpu)), Device::Cpu)
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// The largest genotype but for the expansion ratios, which are the second largest.
fn expand_second(space: &Space) -> Genotype {
    let values = space.choices().iter().map(|choice| {
        let expand = matches!(choice.kind, ChoiceKind::Expand { .. });
        char::from_digit(choice.size as u32 - if expand { 2 } else { 1 }, 36).unwrap()
    });
    space.parse(&values.collect::<String>()).unwrap()
}

fn train_logits(supernet: &Supernet, genotype: &Genotype, images: &Tensor) -> Tensor {
    no_grad(|| supernet.logits(images, genotype, &mut Mode::Train { dropout: 0.0 }))
}

#[test]
fn sorting_leaves_the_full_network_and_elastic_groups_unchanged() {
    let _alone = alone();
    // Each width has a squeeze of its own.
    let space = Space::from_toml("tiny", &TINY.replace("squeeze = 0.25", "squeeze = 1.0")).unwrap();
    let (supernet, images) = (random_supernet(&space), images(16));
    let largest = space.largest();
    let before = train_logits(&supernet, &largest, &images);
    let slot = Slot::Layer { stage: 0, layer: 0 };
    let name = format!("{slot}.project.weight");
    let weight = |supernet: &Supernet| layout::to_host(supernet.parameters().named(&name).unwrap());
    let unsorted = weight(&supernet);
    supernet.sort_channels(1);
    let sorted = weight(&supernet);
    assert_ne!(unsorted.data, sorted.data, "random channels are not in order");
    assert!(difference(&before, &train_logits(&supernet, &largest, &images)) < 1e-5);
    let [outputs, inputs, ..] = sorted.shape[..] else { panic!("{:?}", sorted.shape) };
    let norm = |c: usize| (0..outputs).map(|o| sorted.data[o * inputs + c].abs()).sum::<f32>();
    let norms: Vec<f32> = (0..inputs).map(norm).collect();
    assert!(norms.windows(2).all(|pair| pair[0] >= pair[1] - 1e-6), "{norms:?}");
    // With the two largest widths elastic, the second largest keeps its channels: its network is unchanged, also where
    // training has changed their order since.
    no_grad(|| {
        for name in [&name, &format!("{slot}.se.expand.weight")] {
            let weight = supernet.parameters().named(name).unwrap();
            weight.shallow_clone().copy_(&weight.flip([1]));
        }
    });
    let second = expand_second(&space);
    let before = train_logits(&supernet, &second, &images);
    let turned = weight(&supernet);
    supernet.sort_channels(2);
    assert_ne!(turned.data, weight(&supernet).data, "the order was turned round");
    assert!(difference(&before, &train_logits(&supernet, &second, &images)) < 1e-5);
}

/// `w3 = M53 centre3(M75 centre5(w7))`, written out with loops.
#[test]
fn a_smaller_kernel_is_the_transformed_centre() {
    let _alone = alone();
    let space = tiny();
    let supernet = random_supernet(&space);
    let host = |name: &str| {
        layout::to_host(
            supernet.parameters().named(&format!("stages.0.0.depthwise.{name}")).unwrap(),
        )
    };
    let (weight, to5, to3) = (host("weight"), host("transform.7to5"), host("transform.5to3"));
    let shrink = |kernel: &[f32], side: usize, matrix: &[f32]| -> Vec<f32> {
        let small = side - 2;
        let centre: Vec<f32> =
            (0..small * small).map(|i| kernel[(i / small + 1) * side + i % small + 1]).collect();
        let row =
            |r: usize| (0..centre.len()).map(|c| matrix[r * centre.len() + c] * centre[c]).sum();
        (0..centre.len()).map(row).collect()
    };
    // Smallest kernels, full depth and width.
    let mut values: Vec<char> = space.largest().to_string().chars().collect();
    for (value, choice) in values.iter_mut().zip(space.choices()) {
        if matches!(choice.kind, ChoiceKind::Kernel { .. }) {
            *value = '0';
        }
    }
    let genotype = space.parse(&values.iter().collect::<String>()).unwrap();
    let statistics = supernet.calibrate(&genotype, [images(8)]);
    let weights = supernet.extract(&genotype, &statistics);
    let cut = weights.get("b02_mbconv.depthwise.weight").unwrap();
    assert_eq!(cut.shape, [32, 1, 3, 3]);
    for channel in 0..32 {
        let kernel = &weight.data[channel * 49..(channel + 1) * 49];
        let expected = shrink(&shrink(kernel, 7, &to5.data), 5, &to3.data);
        for (found, expected) in cut.data[channel * 9..].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "channel {channel}");
        }
    }
}

#[test]
fn a_subnet_cut_out_gives_the_logits_of_the_supernet() {
    let _alone = alone();
    cut_out_gives_the_logits_of(&tiny());
}

/// As MobileNetV3 mixes its features behind the pool.
#[test]
fn a_convolution_may_follow_the_pool() {
    let _alone = alone();
    let text = TINY.replace("\"pool\", ", "\"pool\", \"conv k1 s1 hswish o12\", ");
    cut_out_gives_the_logits_of(&Space::from_toml("mixed", &text).unwrap());
}

fn cut_out_gives_the_logits_of(space: &Space) {
    let (supernet, images) = (random_supernet(space), images(32));
    let mut random = Random::new(1, "subnets");
    let sampled: Vec<Genotype> = (0..12).map(|_| space.sample(&mut random)).collect();
    for genotype in sampled.into_iter().chain([space.smallest(), space.largest()]) {
        let statistics = supernet.calibrate(&genotype, [images.shallow_clone()]);
        let inside =
            no_grad(|| supernet.logits(&images, &genotype, &mut Mode::Calibrated(&statistics)));
        let weights = supernet.extract(&genotype, &statistics);
        let network = space.network(&genotype);
        weights.check(&network).unwrap();
        let alone = Standalone::new(&network, &weights, Device::Cpu).unwrap();
        assert!(difference(&inside, &alone.logits(&images)) <= 1e-4, "{genotype}");
        assert!(difference(&inside, &alone.folded().logits(&images)) <= 1e-4, "{genotype}");
        // Re-calibrated on these images, the network normalises as in training.
        let trained = train_logits(&supernet, &genotype, &images);
        assert!(difference(&inside, &trained) < 1e-2, "{genotype}");
    }
}

#[test]
fn a_smaller_depth_keeps_the_first_blocks() {
    let _alone = alone();
    let space = tiny();
    let (supernet, images) = (random_supernet(&space), images(8));
    let shallow = space.smallest();
    let before = train_logits(&supernet, &shallow, &images);
    supernet.parameters().clear_gradients();
    supernet
        .logits(&images, &shallow, &mut Mode::Train { dropout: 0.0 })
        .sum(Kind::Float)
        .backward();
    let parameters = supernet.parameters();
    let taking_part = supernet.taking_part(&space.blocks(&shallow));
    for (number, takes_part) in taking_part.into_iter().enumerate() {
        let deeper = ["stages.0.1.", "stages.1.1.", "stages.1.2."];
        let deeper = deeper.iter().any(|prefix| parameters.name(number).starts_with(prefix));
        assert_eq!(takes_part, !deeper, "{}", parameters.name(number));
        if deeper {
            let gradient = parameters.get(number).grad().abs().sum(Kind::Float).double_value(&[]);
            assert!(gradient.abs() < f64::MIN_POSITIVE, "{}", parameters.name(number));
            let _ = no_grad(|| parameters.get(number).shallow_clone().fill_(9.0));
        }
    }
    assert!(difference(&before, &train_logits(&supernet, &shallow, &images)) < f64::MIN_POSITIVE);
}

/// Three classes of 9x9 images that a bright row tells apart.
pub(crate) fn splits(count: usize) -> Splits {
    let mut random = Random::new(2, "images");
    let mut dataset = |count: usize| {
        let targets: Vec<u16> = (0..count).map(|i| (i % 3) as u16).collect();
        let pixel = |i: usize| {
            let bright = (i % 81) / 27 == usize::from(targets[i / 81]);
            random.below(120) as u8 + if bright { 120 } else { 0 }
        };
        let images = (0..count * 81).map(pixel).collect();
        let labels = ["a", "b", "c"].map(str::to_owned).to_vec();
        Dataset { shape: Shape::new(1, 9, 9), labels, images, targets }
    };
    let (train, holdout, test) = (dataset(count), dataset(count / 4), dataset(count / 4));
    let normalization = Normalization::of(&train).unwrap();
    Splits { train, holdout, test, normalization }
}

pub(crate) fn training() -> Training {
    Training {
        batch: 16,
        full_epochs: 2.0,
        shrink_epochs: 3.5,
        full_learning_rate: 0.05,
        shrink_learning_rate: 0.02,
        threads: 1,
        calibration_images: 64,
        checkpoint_steps: 7,
        ..Training::default()
    }
}

fn trainer(run: &Path) -> Trainer {
    Trainer::open(&tiny(), splits(96), &training(), 11, run).unwrap()
}

#[test]
fn a_resumed_training_equals_an_unbroken_one_bit_for_bit() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (unbroken, broken) = (folder.path().join("unbroken"), folder.path().join("broken"));
    // 12 steps of the full network, then 21 of progressive shrinking: the breaks lie in four phases.
    let mut whole = trainer(&unbroken);
    whole.run_steps(33, &mut |_| Ok(())).unwrap();
    for steps in [10, 10, 9, 4] {
        trainer(&broken).run_steps(steps, &mut |_| Ok(())).unwrap();
    }
    let resumed = trainer(&broken);
    assert_eq!(resumed.place, whole.place);
    assert!(whole.place > Place { phase: 3, step: 0 }, "{:?}", whole.place);
    let tensors = |trainer: &Trainer| {
        let parameters = trainer.supernet().parameters();
        let mut weights = Weights::new();
        parameters.save(parameters.values(), "", &mut weights);
        weights
    };
    equal(&tensors(&whole), &tensors(&resumed));
}

/// The same tensors, bit for bit.
pub(crate) fn equal(a: &Weights, b: &Weights) {
    assert_eq!(a.iter().count(), b.iter().count());
    for ((name, a), (other, b)) in a.iter().zip(b.iter()) {
        assert_eq!((name, &a.shape), (other, &b.shape));
        assert!(a.data.iter().zip(&b.data).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
    }
}

#[test]
fn training_learns_and_every_subnet_is_judged_after_recalibration() {
    let _alone = alone();
    for precision in [Precision::Fp32, Precision::Bf16] {
        let folder = tempfile::tempdir().unwrap();
        let long = Training { full_epochs: 8.0, shrink_epochs: 8.0, precision, ..training() };
        let mut trainer = Trainer::open(&tiny(), splits(192), &long, 3, folder.path()).unwrap();
        trainer.run(&mut |_| Ok(())).unwrap();
        assert!(trainer.finished());
        for genotype in [tiny().largest(), tiny().smallest()] {
            let accuracy = trainer.accuracy(&genotype).unwrap();
            assert!(accuracy > 0.6, "{precision:?}, {genotype}: {accuracy} where chance is 0.33");
            assert!((trainer.accuracy(&genotype).unwrap() - accuracy).abs() < 1e-12);
        }
    }
}

#[test]
fn settings_that_are_new_leave_the_identity_of_runs_as_it_was() {
    let text = serde_json::to_string(&Training::default()).unwrap();
    assert!(!text.contains("precision") && !text.contains("deterministic"), "{text}");
    let mixed = Training { precision: Precision::Bf16, ..Training::default() };
    assert_ne!(mixed.fixed(), Training::default().fixed());
    let kept = Training { deterministic: true, ..Training::default() };
    assert_eq!(kept.fixed(), Training::default().fixed());
}

#[test]
fn a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path());
    trainer.run_steps(5, &mut |_| Ok(())).unwrap();
    let place = trainer.place;
    let _ = no_grad(|| {
        let parameters = trainer.supernet().parameters();
        parameters.get(0).shallow_clone().fill_(f64::NAN)
    });
    let message = trainer.run(&mut |_| Ok(())).unwrap_err().to_string();
    assert!(
        message.contains("full network") && message.contains("full_learning_rate"),
        "{message}"
    );
    assert_eq!(self::trainer(folder.path()).place, place);
}

#[test]
fn what_cannot_be_trained_is_named() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let open = |space: &Space, training: &Training| {
        let opened = Trainer::open(space, splits(96), training, 0, folder.path());
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let listed = Space::preset("nas-bench-macro").unwrap();
    assert!(matches!(Supernet::new(&listed, Device::Cpu, 0), Err(Error::NotElastic { .. })));
    assert!(open(&Space::preset("ofa-28").unwrap(), &training()).contains("images of 1x28x28"));
    let gpu = Training { device: "cuda:7".to_owned(), ..training() };
    let message = open(&tiny(), &gpu);
    assert!(message.contains("cuda:7") && message.contains("`--train-device cpu`"), "{message}");
    let wrong = Training { batch: 1, ..training() };
    assert!(open(&tiny(), &wrong).contains("`[training] batch`: expected at least 2, found 1"));
    let short = Training { full_epochs: 0.001, ..training() };
    assert!(open(&tiny(), &short).contains("`[training] full_epochs`: expected at least one step"));
    let large = Training { batch: 97, ..training() };
    assert!(open(&tiny(), &large).contains("one batch of 97"));
}
