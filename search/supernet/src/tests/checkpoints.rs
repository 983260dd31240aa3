//! Checkpoints: whose they are, and where they go on.

use super::*;

#[test]
fn checkpoints_of_another_run_are_refused() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    trainer(folder.path()).run_steps(2, &mut |_| Ok(())).unwrap();
    let message = |training: &Training, seed: u64| {
        let opened = Trainer::open(&tiny(), splits(96), training, seed, folder.path());
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(message(&training(), 12).contains("another seed"));
    let other = Training { momentum: 0.8, ..training() };
    assert!(message(&other, 11).contains("another `[training]` table"));
    let threads = Training { threads: 2, checkpoint_steps: 9, ..training() };
    assert_eq!(message(&threads, 11), "");
    // As many images, of which two have changed their classes.
    let mut others = splits(96);
    others.train.targets.swap(0, 1);
    assert_ne!(others.train.targets, splits(96).train.targets);
    let opened = Trainer::open(&tiny(), others, &training(), 11, folder.path());
    let message_of = |error: crate::Error| error.to_string();
    assert!(opened.err().map(message_of).unwrap().contains("another data set"));
    std::fs::write(folder.path().join("checkpoints/state.json"), "{").unwrap();
    assert!(message(&training(), 11).contains("state.json"));
}

/// All tensors of the last checkpoint in a run folder, velocities included.
pub(super) fn saved(run: &Path) -> Weights {
    let folder = run.join("checkpoints");
    let state = std::fs::read_to_string(folder.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    Weights::load(&folder.join(state["tensors"].as_str().unwrap())).unwrap()
}

/// Opens a run on a device and saves what was read there: it is what was saved before.
pub(super) fn moves_to(device: &str, run: &Path) -> Trainer {
    let before = saved(run);
    let training = Training { device: device.to_owned(), ..training() };
    let mut trainer = Trainer::open(&tiny(), splits(96), &training, 11, run).unwrap();
    trainer.run_steps(0, &mut |_| Ok(())).unwrap();
    equal(&saved(run), &before);
    trainer
}

#[test]
fn a_checkpoint_of_a_gpu_goes_on_on_a_cpu() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (unbroken, broken) = (folder.path().join("unbroken"), folder.path().join("broken"));
    trainer(&unbroken).run_steps(18, &mut |_| Ok(())).unwrap();
    trainer(&broken).run_steps(14, &mut |_| Ok(())).unwrap();
    let state = broken.join("checkpoints/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(text.contains(r#""device": "cpu""#), "{text}");
    std::fs::write(&state, text.replace(r#""device": "cpu""#, r#""device": "cuda:0""#)).unwrap();
    let mut moved = moves_to("cpu", &broken);
    assert_eq!(moved.place, Place { phase: 1, step: 2 });
    moved.run_steps(4, &mut |_| Ok(())).unwrap();
    equal(&saved(&broken), &saved(&unbroken));
}

/// Earlier versions kept running statistics of batch normalisation, which nothing depends on.
#[test]
fn a_checkpoint_with_running_statistics_goes_on() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    trainer(folder.path()).run_steps(5, &mut |_| Ok(())).unwrap();
    let mut weights = saved(folder.path());
    let mean = netfit_export::Tensor { shape: vec![2], data: vec![f32::NAN; 2] };
    weights.insert("stem.0.conv.norm.mean", mean);
    let tensors = folder.path().join("checkpoints/phase-0-step-5.safetensors");
    assert!(tensors.is_file());
    weights.save(&tensors).unwrap();
    let mut resumed = trainer(folder.path());
    assert_eq!(resumed.place, Place { phase: 0, step: 5 });
    resumed.run_steps(1, &mut |_| Ok(())).unwrap();
    assert!(saved(folder.path()).get("stem.0.conv.norm.mean").is_err());
}
