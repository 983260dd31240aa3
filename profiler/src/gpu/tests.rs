//! The driver's answers, where a library stands in for it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::*;

/// The driver that `stand_in.cpp` describes, compiled.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("libnvidia-ml.so.1");
    if library.exists() {
        return library;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gpu/stand_in.cpp");
    let status = Command::new("c++")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(status.success());
    library
}

/// That driver, with this `CUDA_VISIBLE_DEVICES`.
fn driver(folder: &TempDir, visible: Option<&str>) -> Driver {
    let path = library(folder.path());
    let nvml = Nvml::builder().lib_path(path.as_os_str()).init().unwrap();
    Driver { nvml, visible: visible.map(str::to_owned) }
}

/// Names of the GPUs that CUDA shows; `-` for one that does not answer.
fn names(visible: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let gpus = driver(&folder, visible).gpus().unwrap();
    let name = |gpu: Result<Gpu>| gpu.map_or_else(|_| "-".to_owned(), |gpu| gpu.name);
    gpus.into_iter().map(name).collect::<Vec<_>>().join(" | ")
}

#[test]
fn all_gpus_are_listed_and_one_that_does_not_answer_hides_no_other() {
    assert_eq!(names(None), "Stand-in A | Stand-in B | -");
    let folder = tempfile::tempdir().unwrap();
    let driver = driver(&folder, None);
    let gpus = driver.gpus().unwrap();
    let first = Gpu {
        index: 0,
        name: "Stand-in A".into(),
        memory_bytes: Some(40 << 30),
        compute_capability: (8, 0),
        driver: "999.88.77".into(),
    };
    assert_eq!(gpus[0].as_ref().unwrap(), &first);
    let lost = gpus[2].as_ref().unwrap_err().to_string();
    assert!(lost.contains("does not answer") && lost.contains("hint: "), "{lost}");
    assert_eq!(driver.version().as_deref(), Some("999.88.77"));
}

#[test]
fn gpus_have_the_numbers_that_cuda_gives_them() {
    for (visible, expected) in [
        ("1, 0", "Stand-in B | Stand-in A"),
        ("GPU-ab000000-0000", "Stand-in B"),
        // The beginning of an identifier is a name where it is that of one GPU.
        ("GPU-aa", "Stand-in A"),
        ("GPU-a", ""),
        ("MIG-ab000000-0001", "Stand-in B, a part"),
        // What means nothing ends the list.
        ("0,7,1", "Stand-in A"),
        ("-1", ""),
        ("", ""),
    ] {
        assert_eq!(names(Some(visible)), expected, "{visible}");
    }
}

#[test]
fn a_number_stands_for_a_whole_gpu() {
    let folder = tempfile::tempdir().unwrap();
    let all = driver(&folder, None);
    let chip = all.chip(0).unwrap();
    assert_eq!((chip.uuid.as_str(), chip.cores), ("GPU-aa000000-0000", 6912));
    let split = all.chip(1).unwrap_err();
    assert!(split.contains("GPU 1 is split into parts (MIG); hint: "), "{split}");
    assert!(all.chip(2).is_err());
    assert_eq!(all.chip(3).unwrap_err(), "the driver shows no GPU 3");
    assert_eq!(driver(&folder, Some("7,0")).chip(1).unwrap_err(), "the driver shows no GPU 1");
    let part = driver(&folder, Some("MIG-ab000000-0001")).chip(0).unwrap();
    assert_eq!((part.name.as_str(), part.cores), ("Stand-in B, a part", 0));
}

#[test]
fn a_clock_tells_its_own_gpu_and_what_slows_it_down() {
    let folder = tempfile::tempdir().unwrap();
    let read = |uuid: &str| GpuClock::new(driver(&folder, None), uuid.to_owned()).read();
    let limited = Reading { hertz: Some(1410e6), throttled: false };
    assert_eq!(read("GPU-aa000000-0000"), limited);
    let hot = Reading { hertz: Some(900e6), throttled: true };
    assert_eq!(read("GPU-ab000000-0000"), hot);
    // A part of a GPU has no clock of its own, and one that has gone none at all.
    for unknown in ["MIG-ab000000-0001", "GPU-gone"] {
        assert_eq!(read(unknown), Reading::default(), "{unknown}");
    }
}

/// With a driver its GPUs are told apart, without one the reason is.
#[test]
fn gpus_of_this_machine_are_listed_or_the_reason_is() {
    match Driver::open() {
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("NVIDIA driver") && message.contains("hint"), "{message}");
        }
        Ok(driver) => {
            for (index, gpu) in driver.gpus().unwrap().into_iter().enumerate() {
                let gpu = gpu.unwrap();
                assert!(gpu.index == index && !gpu.name.is_empty(), "{gpu:?}");
                assert!(gpu.compute_capability.0 > 0, "{gpu:?}");
            }
        }
    }
}

#[test]
fn heat_slows_a_gpu_down_and_a_limit_to_its_power_does_not() {
    let power = ThrottleReasons::SW_POWER_CAP | ThrottleReasons::GPU_IDLE;
    assert!(!slows_down(power) && !slows_down(ThrottleReasons::NONE));
    assert!(slows_down(power | ThrottleReasons::SW_THERMAL_SLOWDOWN));
    assert!(slows_down(ThrottleReasons::HW_SLOWDOWN));
}
