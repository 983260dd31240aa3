//! Mixed precision against 32 bits.

use std::sync::Arc;

use super::*;
use crate::{Sgd, context::Autocast, feed::Feed, ops};

/// Losses of the largest network's first steps.
pub(super) fn losses(device: Device, precision: Precision) -> Vec<f64> {
    let (space, training) = (tiny(), training());
    let supernet = Supernet::new(&space, device, 3).unwrap();
    let mut feed = Feed::new(Arc::new(splits(96)), 11, device);
    let blocks = space.blocks(&space.largest());
    let parameters = supernet.parameters();
    let mut sgd = Sgd::new(parameters, 0.9, 3e-5);
    let mut step = |step: u64| {
        let (images, targets) = feed.batch(&training, 0, step);
        parameters.clear_gradients();
        let mut mode = Mode::Train { dropout: 0.0 };
        let autocast = Autocast::new(precision, device);
        let logits = autocast.run(|| supernet.forward(&images, &blocks, &mut mode));
        let loss = ops::cross_entropy(&logits, &targets, 0.1);
        loss.backward();
        sgd.step(parameters, &vec![true; parameters.len()], 0.05);
        loss.double_value(&[])
    };
    (0..5).map(&mut step).collect()
}

#[test]
fn mixed_precision_stays_near_32_bits() {
    let _alone = alone();
    let [exact, mixed] =
        [Precision::Fp32, Precision::Bf16].map(|precision| losses(Device::Cpu, precision));
    assert_ne!(exact, mixed);
    for (mixed, exact) in mixed.iter().zip(&exact) {
        assert!((mixed / exact - 1.0).abs() < 0.05, "{mixed} and {exact}");
    }
}

/// What a teacher that is rounded once gives is what it gives where each step rounds it.
#[test]
fn a_teacher_of_16_bits_says_what_one_of_32_says_in_mixed_precision() {
    let _alone = alone();
    let space = tiny();
    let (supernet, images) = (random_supernet(&space), images(32));
    let network = space.network(&space.largest());
    let statistics = supernet.calibrate(&space.largest(), [images.shallow_clone()]);
    let weights = supernet.extract(&space.largest(), &statistics);
    let teacher = || Standalone::new(&network, &weights, Device::Cpu).unwrap().folded();
    let autocast = Autocast::new(Precision::Bf16, Device::Cpu);
    let [each_step, once] = [teacher(), teacher().of_kind(Kind::BFloat16)]
        .map(|teacher| autocast.run(|| teacher.logits(&images)));
    assert_eq!((each_step.kind(), once.kind()), (Kind::BFloat16, Kind::BFloat16));
    assert!(each_step.equal(&once));
    assert!(!each_step.to_kind(Kind::Float).equal(&teacher().logits(&images)));
}
