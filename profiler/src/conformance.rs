//! What every device must do.

use std::collections::BTreeMap;

use netfit_spaces::Network;

use crate::{
    Burst, Device, Error, FakeDevice, Model, OrtDevice, OrtOptions, Precision, Provider, library,
};

fn network(width: usize) -> Network {
    format!(
        "conv k3 s2 hswish 1x16x16 -> {width}x8x8\n\
         mbconv k5 m{middle} s1 se8 hswish res {width}x8x8 -> {width}x8x8\n\
         pool {width}x8x8 -> {width}x1x1\nlinear {width}x1x1 -> 10x1x1",
        middle = 4 * width
    )
    .parse()
    .unwrap()
}

fn conforms(device: &mut dyn Device) {
    let (small, large) = (network(16), network(64));
    device.restart().unwrap();
    assert_eq!(device.load(Model::Network(&small)).unwrap(), 0);
    let more = [Model::Network(&large), Model::Traced(&small), Model::Traced(&large)];
    assert_eq!(device.load_all(&more, &mut |_| {}).unwrap(), [1, 2, 3]);
    let burst = |model, calls| {
        let (warm_up, warm_up_s, seconds, patience_s) = (2, 0.0, 0.0, 0.01);
        Burst { model, warm_up, warm_up_s, calls, seconds, patience_s }
    };
    let bursts = [burst(0, 3), burst(1, 5), burst(2, 0), burst(2, 4), burst(2, 2)];
    let ran = device.time(&bursts).unwrap();
    let lengths: Vec<usize> = ran.iter().map(|ran| ran.calls.len()).collect();
    assert_eq!(lengths, [3, 5, 0, 4, 2]);
    let calls = ran.iter().flat_map(|ran| &ran.calls);
    assert!(calls.into_iter().all(|seconds| seconds.is_finite() && *seconds > 0.0));
    assert!(ran.iter().all(|ran| ran.elapsed_s >= ran.calls.iter().sum::<f64>() * 0.999));
    assert!(device.time(&[burst(7, 1)]).is_err(), "there is no model 7");

    let traced = device.trace(2).unwrap();
    assert_eq!(traced.blocks.len(), small.blocks().len());
    assert!(traced.blocks.iter().chain([&traced.overhead]).all(|samples| samples.len() == 6));
    assert!(traced.blocks[..2].iter().flatten().all(|seconds| *seconds > 0.0));
    assert!(device.trace(2).is_err(), "its record has been read");
    assert!(device.trace(1).is_err(), "it was not traced");
    assert!(device.trace(3).unwrap().blocks.iter().all(Vec::is_empty), "it was not timed");

    let (fingerprint, dimensions) = (device.fingerprint(), BTreeMap::new());
    device.restart().unwrap();
    assert_eq!(device.fingerprint(), fingerprint);
    assert!(device.time(&[burst(0, 1)]).is_err(), "a restart forgets all models");
    let path = std::path::Path::new("no/such/model.onnx");
    let message =
        device.load(Model::File { path, dimensions: &dimensions }).unwrap_err().to_string();
    assert!(message.contains("no/such/model.onnx") && !message.contains('\n'), "{message}");
    assert_eq!(device.load(Model::Network(&small)).unwrap(), 0, "a failed load takes no number");
}

/// The CPU device, or none with the reason printed where ONNX Runtime is missing.
#[allow(clippy::print_stderr)]
fn cpu() -> Option<OrtDevice> {
    match library() {
        Ok(_) => Some(OrtDevice::in_thread(OrtOptions::default()).unwrap()),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

#[test]
fn the_fake_device_conforms() {
    conforms(&mut FakeDevice::new(0));
}

#[test]
fn the_cpu_device_conforms() {
    if let Some(mut device) = cpu() {
        assert_eq!(device.fingerprint().provider, "CPUExecutionProvider");
        conforms(&mut device);
    }
}

#[test]
fn dynamic_dimensions_and_foreign_files_are_named() {
    let Some(mut device) = cpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (path, dimensions) = (folder.path().join("text.onnx"), BTreeMap::new());
    std::fs::write(&path, "this is no model").unwrap();
    let load =
        |device: &mut OrtDevice| device.load(Model::File { path: &path, dimensions: &dimensions });
    let message = load(&mut device).unwrap_err().to_string();
    assert!(message.contains("text.onnx") && message.contains("hint"), "{message}");

    let network = network(16);
    let model = model(&network);
    std::fs::write(&path, &model).unwrap();
    load(&mut device).unwrap();
    // The third dimension of the images is not dynamic.
    for name in ["height", "images.2", "imgaes.0"] {
        let foreign = BTreeMap::from([(name.to_owned(), 3)]);
        let message = device.load(Model::File { path: &path, dimensions: &foreign }).unwrap_err();
        let message = message.to_string();
        assert!(message.contains(&format!("no dynamic dimension `{name}`")), "{message}");
        assert!(message.contains("hint: it has batch"), "{message}");
    }
    // The same model with another name for its dynamic dimension.
    let renamed: Vec<u8> = {
        let at = |from: usize| model[from..].windows(5).position(|window| window == b"batch");
        let mut bytes = model.clone();
        let mut from = 0;
        while let Some(found) = at(from) {
            bytes[from + found..from + found + 5].copy_from_slice(b"burst");
            from += found + 5;
        }
        bytes
    };
    std::fs::write(&path, renamed).unwrap();
    let message = load(&mut device).unwrap_err().to_string();
    assert!(message.contains("--dimension burst=SIZE"), "{message}");
}

/// The bytes of a model with random weights.
fn model(network: &Network) -> Vec<u8> {
    let weights = netfit_export::Weights::random(network, &mut netfit_spaces::Random::new(0, "w"));
    let info = netfit_export::ModelInfo::unlabelled(network);
    netfit_export::to_onnx(network, &weights, &info).unwrap()
}

#[test]
fn the_processor_conforms_in_8_bits() {
    if cpu().is_some() {
        let provider = Provider::Cpu { precision: Precision::Int8 };
        let options = OrtOptions { provider, ..OrtOptions::default() };
        let mut device = OrtDevice::in_thread(options).unwrap();
        assert_eq!(device.fingerprint().precision, "int8");
        conforms(&mut device);
    }
}

#[test]
fn a_session_tells_the_range_of_each_output() {
    if cpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, network) = (folder.path().join("model.onnx"), network(16));
    let (observable, names) = netfit_export::observable(&model(&network)).unwrap();
    std::fs::write(&path, observable).unwrap();
    let mut session = crate::Session::open(&path, 1).unwrap();
    let images: Vec<f32> = (0..2 * 256).map(|n| (n % 7) as f32 - 3.0).collect();
    let ranges = session.ranges(&images, &[2, 1, 16, 16]).unwrap();
    let logits = session.logits(&images, &[2, 1, 16, 16]).unwrap();
    assert_eq!(ranges[0], ("logits".to_owned(), crate::extremes(&logits)));
    let found: Vec<&String> = ranges[1..].iter().map(|(name, _)| name).collect();
    assert_eq!(found, names.iter().collect::<Vec<_>>());
    let (_, after_relu) = ranges.iter().find(|(name, _)| name.contains("relu")).unwrap();
    assert!(after_relu[0] >= 0.0 && after_relu[1] > 0.0);
    assert!(crate::extremes(&[0.5, f32::NAN, 1.0])[0].is_nan());
}

#[test]
fn a_session_gives_one_row_of_logits_an_image() {
    if cpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, network) = (folder.path().join("model.onnx"), network(16));
    std::fs::write(&path, model(&network)).unwrap();
    let mut session = crate::Session::open(&path, 1).unwrap();
    let images: Vec<f32> = (0..2 * 256).map(|n| (n % 7) as f32 - 3.0).collect();
    let both = session.logits(&images, &[2, 1, 16, 16]).unwrap();
    let first = session.logits(&images[..256], &[1, 1, 16, 16]).unwrap();
    assert_eq!((both.len(), first.len()), (20, 10));
    assert!(both.iter().zip(&first).all(|(a, b)| (a - b).abs() < 1e-4), "{both:?} {first:?}");
    let message = session.logits(&images, &[1, 1, 16, 16]).unwrap_err().to_string();
    assert!(message.contains("found 512"), "{message}");
}

#[test]
fn any_onnx_file_is_measured() {
    let Some(mut device) = cpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (path, network) = (folder.path().join("model.onnx"), network(16));
    std::fs::write(&path, model(&network)).unwrap();
    let options = crate::MeasureOptions { samples: 60, warm_up_s: 0.0, ..Default::default() };
    let measured = crate::measure(&path, &mut device, &options, &mut |_| {}).unwrap();
    assert_eq!((measured.samples, measured.processes_s.len()), (60, 3));
    assert!(0.0 < measured.median_s && measured.median_s <= measured.p99_s, "{measured:?}");
    assert_eq!(measured.fingerprint.runtime, "onnxruntime");
}

#[test]
fn wrong_requests_are_answered_and_end_nothing() {
    let input = "nonsense\n{\"request\":\"trace\",\"model\":3}\n\
                 {\"request\":\"load\",\"files\":[{\"path\":\"x\",\"dimensions\":{},\"record\":null,\"optimized\":null}]}\n";
    let mut output = Vec::new();
    crate::worker::serve(input.as_bytes(), &mut output).unwrap();
    let output = String::from_utf8(output).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.contains("\"answer\":\"failed\"")), "{lines:?}");
    assert!(lines[2].contains("`open` first"), "{lines:?}");
}

#[test]
fn programs_that_are_missing_or_die_are_named_with_their_last_words() {
    if cpu().is_none() {
        return;
    }
    let start = |program: &str, arguments: &[&str]| {
        OrtDevice::start(std::path::Path::new(program), arguments, OrtOptions::default())
            .unwrap_err()
    };
    let missing = start("no/such/program", &[]);
    assert!(matches!(missing, Error::Worker { .. }), "{missing}");
    assert!(missing.to_string().contains("`no/such/program` cannot be started"), "{missing}");
    let dead = start("/bin/sh", &["-c", "echo out of luck >&2; exit 3"]).to_string();
    assert!(dead.contains("out of luck"), "{dead}");
    let zero = OrtDevice::in_thread(OrtOptions { threads: 0, ..OrtOptions::default() })
        .unwrap_err()
        .to_string();
    assert!(zero.contains("threads: expected at least 1, found 0"), "{zero}");
}

/// The runtime that `make setup` installs has neither; the processor does not take their place.
#[test]
fn a_provider_that_is_missing_is_an_error() {
    if cpu().is_none() {
        return;
    }
    let (gpu, precision) = (99, Precision::Tf32);
    for provider in [Provider::Cuda { gpu, precision }, Provider::TensorRt { gpu, precision }] {
        let options = OrtOptions { provider, ..OrtOptions::default() };
        let message = OrtDevice::in_thread(options).unwrap_err().to_string();
        assert!(message.contains(provider.name()) && message.contains("hint"), "{message}");
    }
    let provider = Provider::Cuda { gpu: 0, precision: Precision::Fp16 };
    let options = OrtOptions { provider, ..OrtOptions::default() };
    let message = OrtDevice::in_thread(options).unwrap_err().to_string();
    assert!(message.contains("does not compute in fp16"), "{message}");
}
