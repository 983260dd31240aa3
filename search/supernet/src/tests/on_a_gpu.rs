//! Training on a GPU against training on the CPU. `scripts/gpu-tests` runs this where there is a GPU.
//!
//! Each test first asks for the GPU, which opens libtorch's CUDA part: libtorch keeps its first answer about CUDA.

use super::{
    checkpoints::{moves_to, saved},
    mixed::losses,
    *,
};
use crate::{context, feed};

const GPU: &str = "cuda:0";

#[test]
#[ignore = "needs a GPU"]
fn losses_are_those_of_the_cpu() {
    let gpu = crate::device(GPU).unwrap();
    let _alone = alone();
    crate::allow_tf32(false);
    context::deterministic(false);
    let expected = losses(Device::Cpu, Precision::Fp32);
    for (precision, tolerance) in [(Precision::Fp32, 1e-3), (Precision::Bf16, 0.1)] {
        for (found, expected) in losses(gpu, precision).iter().zip(&expected) {
            let error = (found / expected - 1.0).abs();
            assert!(error < tolerance, "{precision:?}: {found} and {expected}");
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn batches_are_those_of_the_cpu_bit_for_bit() {
    let gpu = crate::device(GPU).unwrap();
    let _alone = alone();
    feed::tests::batches_are_those_of_the_cpu(gpu);
}

#[test]
#[ignore = "needs a GPU"]
fn a_gpu_tells_its_memory() {
    let gpu = crate::device(GPU).unwrap();
    let _alone = alone();
    let kept = Tensor::zeros([1 << 20], (Kind::Float, gpu));
    assert!(context::peak_memory(gpu).unwrap() >= 4 << 20);
    assert!(context::free_memory(gpu).unwrap() > 1 << 20);
    drop(kept);
}

#[test]
#[ignore = "needs a GPU"]
fn checkpoints_move_between_cpu_and_gpu() {
    let _gpu = crate::device(GPU).unwrap();
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    trainer(folder.path()).run_steps(14, &mut |_| Ok(())).unwrap();
    for (device, steps) in [(GPU, 10), ("cpu", 5), (GPU, u64::MAX)] {
        moves_to(device, folder.path()).run_steps(steps, &mut |_| Ok(())).unwrap();
    }
    let finished = moves_to("cpu", folder.path());
    assert!(finished.finished());
    assert!(finished.accuracy(&tiny().largest()).unwrap().is_finite());
}

#[test]
#[ignore = "needs a GPU"]
fn a_deterministic_training_is_the_same_each_time() {
    let _gpu = crate::device(GPU).unwrap();
    let _alone = alone();
    let weights = || {
        let folder = tempfile::tempdir().unwrap();
        let training = Training { device: GPU.to_owned(), deterministic: true, ..training() };
        let mut trainer = Trainer::open(&tiny(), splits(96), &training, 11, folder.path()).unwrap();
        trainer.run_steps(20, &mut |_| Ok(())).unwrap();
        saved(folder.path())
    };
    equal(&weights(), &weights());
}
