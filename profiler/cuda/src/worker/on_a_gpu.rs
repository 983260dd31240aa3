//! Timing on a GPU. `scripts/gpu-tests` runs this where there is one.

use netfit_profiler::{Burst, CudaDevice, CudaOptions, Device as _, Model};
use netfit_spaces::{Network, Space};

use super::serve;

const CALLS: usize = 20;

fn network() -> Network {
    let space = Space::preset("ofa-28").unwrap();
    space.network(&space.smallest())
}

fn burst(model: usize) -> Burst {
    let (warm_up, warm_up_s, seconds, patience_s) = (5, 3600.0, 0.0, 0.0);
    Burst { model, warm_up, warm_up_s, calls: CALLS, seconds, patience_s }
}

#[test]
#[ignore = "needs a GPU"]
fn events_agree_with_the_host_in_every_precision_with_a_warm_and_a_cold_cache() {
    let network = network();
    for &precision in CudaOptions::PRECISIONS {
        for flush in [false, true] {
            let options = CudaOptions { gpu: 0, batch: 8, precision, flush };
            let mut device = CudaDevice::in_thread(serve, options).unwrap();
            assert_eq!(device.fingerprint().precision, precision.long_name());
            device.load(Model::Network(&network)).unwrap();
            device.load(Model::Traced(&network)).unwrap();
            let ran = device.time(&[burst(0), burst(1)]).unwrap();
            for ran in &ran {
                let sum: f64 = ran.calls.iter().sum();
                assert!(ran.calls.len() == CALLS && ran.calls.iter().all(|call| *call > 0.0));
                assert!(sum < ran.elapsed_s, "{precision:?}: {sum} of {}", ran.elapsed_s);
                assert!(ran.launch_bound.is_some());
            }
            // Events are told in steps of half a microsecond.
            let times = device.trace(1).unwrap();
            for (call, whole) in ran[1].calls.iter().enumerate() {
                let blocks: f64 = times.blocks.iter().map(|block| block[call]).sum();
                let steps = 1e-6 * (times.blocks.len() + 1) as f64;
                assert!((blocks - whole).abs() < steps, "{precision:?}: {blocks} of {whole}");
            }
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn what_does_not_fit_says_so_and_the_device_goes_on() {
    let space = Space::preset("ofa-mbv3").unwrap();
    // A quarter of a million images of 224 x 224: 150 GB for one of the activations.
    let options = CudaOptions { batch: 1 << 18, ..CudaOptions::default() };
    let mut device = CudaDevice::in_thread(serve, options).unwrap();
    let message = device
        .load(Model::Network(&space.network(&space.largest())))
        .and_then(|model| device.time(&[burst(model)]))
        .unwrap_err()
        .to_string();
    assert!(message.contains("out of memory") && message.contains("hint"), "{message}");
}
