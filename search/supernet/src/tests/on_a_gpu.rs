//! Training on a GPU against training on the CPU. `scripts/gpu-tests` runs this where there is a GPU.

use super::*;

const GPU: &str = "cuda:0";

#[test]
#[ignore = "needs a GPU"]
fn losses_are_those_of_the_cpu() {
    let _alone = alone();
    let gpu = crate::device(GPU).unwrap();
    crate::allow_tf32(false);
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
fn checkpoints_move_between_cpu_and_gpu() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for (name, steps) in [("cpu", 14), (GPU, 10), ("cpu", 5), (GPU, u64::MAX)] {
        let training = Training { device: name.to_owned(), ..training() };
        let mut trainer = Trainer::open(&tiny(), splits(96), &training, 11, folder.path()).unwrap();
        trainer.run_steps(steps, &mut |_| Ok(())).unwrap();
    }
    let finished = trainer(folder.path());
    assert!(finished.finished());
    assert!(finished.accuracy(&tiny().largest()).unwrap().is_finite());
}

#[test]
#[ignore = "needs a GPU"]
fn a_deterministic_training_is_the_same_each_time() {
    let _alone = alone();
    let weights = || {
        let folder = tempfile::tempdir().unwrap();
        let training = Training { device: GPU.to_owned(), deterministic: true, ..training() };
        let mut trainer = Trainer::open(&tiny(), splits(96), &training, 11, folder.path()).unwrap();
        trainer.run_steps(20, &mut |_| Ok(())).unwrap();
        let mut weights = netfit_export::Weights::new();
        trainer.supernet().save(&mut weights);
        weights
    };
    for ((name, a), (_, b)) in weights().iter().zip(weights().iter()) {
        assert!(a.data.iter().zip(&b.data).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
    }
}
