use netfit_spaces::{Network, Space};

use super::*;
use crate::FakeDevice;

fn loaded(device: &mut FakeDevice, count: usize) -> (Vec<Network>, Vec<usize>) {
    let space = Space::preset("ofa-28").unwrap();
    let mut random = Random::new(3, "networks");
    let networks: Vec<Network> =
        (0..count).map(|_| space.network(&space.sample(&mut random))).collect();
    let numbers =
        networks.iter().map(|network| device.load(Model::Network(network)).unwrap()).collect();
    (networks, numbers)
}

fn measure(device: &mut FakeDevice, models: &[usize], protocol: &Protocol) -> Sitting {
    let random = &mut Random::new(0, "order");
    protocol.measure(device, models, Vec::new(), random, &mut |_| Ok(()), &mut |_, _| {}).unwrap()
}

/// Largest relative error of a network's time against that of the first one.
fn error(sitting: &Sitting, device: &FakeDevice, networks: &[Network]) -> f64 {
    let truth = |n: usize| device.network_s(&networks[n]) / device.network_s(&networks[0]);
    let found = |n: usize| (sitting.split.models[n] - sitting.split.models[0]).exp();
    (0..networks.len()).map(|n| (found(n) / truth(n) - 1.0).abs()).fold(0.0, f64::max)
}

#[test]
fn rounds_end_when_times_are_exact_enough() {
    let mut device = FakeDevice::new(1);
    let (networks, models) = loaded(&mut device, 12);
    let (rounds, most_rounds, precision) = (5, 15, 0.01);
    let protocol = Protocol { rounds, most_rounds, precision, ..Protocol::default() };
    let exact = measure(&mut device, &models, &protocol);
    assert_eq!(exact.samples.len(), 12 * 5);
    device.noise = 0.035;
    let short = Protocol { enough_s: 0.01, ..protocol.clone() };
    assert_eq!(measure(&mut device, &models, &short).samples.len(), 12 * 5);
    let noisy = measure(&mut device, &models, &protocol);
    assert!((12 * 6..=12 * 15).contains(&noisy.samples.len()), "{}", noisy.samples.len());
    assert!(error(&noisy, &device, &networks) < 0.04);
    assert_eq!((noisy.disturbed, noisy.load), (0, Some(0.0)));
}

#[test]
fn slow_bursts_are_found_and_repeated() {
    let mut device = FakeDevice::new(1);
    device.noise = 0.01;
    let (networks, models) = loaded(&mut device, 12);
    // Every 30th burst; 12 bursts a round.
    device.disturbances = (1..100).map(|n| (20 * n..20 * n + 1, 1.3)).collect();
    let sitting = measure(&mut device, &models, &Protocol::default());
    assert!(sitting.repeated["outlier"] >= 3, "{:?}", sitting.repeated);
    assert_eq!(sitting.disturbed, 0);
    assert!(error(&sitting, &device, &networks) < 0.015);
}

#[test]
fn a_machine_that_slows_down_as_a_whole_has_drifted() {
    let mut device = FakeDevice::new(1);
    device.noise = 0.01;
    let (networks, models) = loaded(&mut device, 12);
    device.disturbances = vec![(36..60, 1.5)];
    let sitting = measure(&mut device, &models, &Protocol::default());
    assert!((20..30).contains(&sitting.repeated["drift"]), "{:?}", sitting.repeated);
    assert_eq!(sitting.disturbed, 0);
    assert!(error(&sitting, &device, &networks) < 0.015);
}

#[test]
fn bursts_count_at_both_speeds_of_a_drift_that_lasts() {
    let mut device = FakeDevice::new(1);
    device.noise = 0.01;
    let (networks, models) = loaded(&mut device, 12);
    device.disturbances = vec![(36..100_000, 1.5)];
    let protocol = Protocol { settle_s: 0.5, ..Protocol::default() };
    let sitting = measure(&mut device, &models, &protocol);
    assert_eq!(sitting.disturbed, 0, "{:?}", sitting.repeated);
    let slow = |sample: &&Sample| sample.seconds > 1.25 * device.network_s(&networks[sample.model]);
    let slow = sitting.samples.iter().filter(slow).count();
    // The two rounds before it and the one after, but for bursts beside the step.
    assert!(slow >= 10 && sitting.samples.len() - slow >= 20, "{slow}");
    let bursts = |model| sitting.samples.iter().filter(|sample| sample.model == model).count();
    assert!((0..12).all(|model| bursts(model) >= 3));
    assert!(error(&sitting, &device, &networks) < 0.02);
}

/// As two threads that share a core every now and then.
#[test]
fn a_drift_that_comes_and_goes_is_repeated_and_leaves_no_trace() {
    let mut device = FakeDevice::new(1);
    device.noise = 0.01;
    let (networks, models) = loaded(&mut device, 12);
    device.disturbances = (0..1000).map(|n| (40 * n + 26..40 * n + 40, 1.6)).collect();
    let protocol = Protocol { rounds: 8, most_rounds: 8, settle_s: 0.5, ..Protocol::default() };
    let sitting = measure(&mut device, &models, &protocol);
    assert_eq!(sitting.disturbed, 0, "{:?}", sitting.repeated);
    let slow = |sample: &&Sample| sample.seconds > 1.25 * device.network_s(&networks[sample.model]);
    assert_eq!(sitting.samples.iter().filter(slow).count(), 0, "{:?}", sitting.repeated);
    assert!(error(&sitting, &device, &networks) < 0.015);
}

#[test]
fn load_by_others_is_found_though_it_slows_nothing_down() {
    let mut device = FakeDevice::new(1);
    let (_, models) = loaded(&mut device, 12);
    let protocol = Protocol { rounds: 4, ..Protocol::default() };
    device.loads = vec![(48..96, 1.0)];
    let sitting = measure(&mut device, &models, &protocol);
    assert!(sitting.repeated["load"] >= 48, "{:?}", sitting.repeated);
    assert_eq!(sitting.disturbed, 0);
    assert!(sitting.load.unwrap() <= 0.15);
    device.loads = vec![(0..100_000, 1.0)];
    let sitting = measure(&mut device, &models, &protocol);
    assert_eq!(sitting.disturbed, sitting.bursts);
}

/// As a GPU that is hot: nothing of it shows in one burst beside the others.
#[test]
fn other_frequencies_and_throttling_are_waited_out() {
    let mut device = FakeDevice::new(1);
    let (networks, models) = loaded(&mut device, 12);
    let protocol = Protocol { rounds: 4, wait_s: 1.0, ..Protocol::default() };
    // Longer than three repetitions of what is disturbed, which is all that an outlier gets.
    device.frequencies = vec![(48..160, 0.8)];
    device.disturbances = vec![(48..160, 1.02)];
    let sitting = measure(&mut device, &models, &protocol);
    assert!(sitting.repeated["frequency"] >= 48, "{:?}", sitting.repeated);
    assert_eq!((sitting.disturbed, sitting.frequency_change), (0, Some(0.0)));
    assert!(error(&sitting, &device, &networks) < 1e-9);

    let mut device = FakeDevice::new(1);
    let (networks, models) = loaded(&mut device, 12);
    device.throttled.push(20..160);
    device.disturbances = vec![(20..160, 1.02)];
    let sitting = measure(&mut device, &models, &protocol);
    assert!(sitting.repeated["throttling"] >= 48, "{:?}", sitting.repeated);
    assert_eq!(sitting.disturbed, 0);
    assert!(error(&sitting, &device, &networks) < 1e-9);
    device.throttled.push(0..100_000);
    let sitting = measure(&mut device, &models, &protocol);
    assert_eq!(sitting.disturbed, sitting.bursts);
}

#[test]
fn each_model_is_called_once_before_it_is_timed_even_where_bursts_have_no_warm_up() {
    let mut device = FakeDevice::new(1);
    let (_, models) = loaded(&mut device, 12);
    // The first bursts of the device warm up; they are no part of what is measured.
    device.disturbances = vec![(0..12, 10.0)];
    let protocol = Protocol { warm_up: 0, burst_s: 0.0, ..Protocol::default() };
    let sitting = measure(&mut device, &models, &protocol);
    assert!(sitting.repeated.is_empty(), "{:?}", sitting.repeated);
    assert_eq!(device.warmed_up(), 12);
}

#[test]
fn bursts_on_a_shared_core_are_waited_out() {
    let mut device = FakeDevice::new(1);
    let (networks, models) = loaded(&mut device, 12);
    let protocol = Protocol { rounds: 4, ..Protocol::default() };
    // Slow by so little that nothing else would tell.
    device.shared.push(24..84);
    device.disturbances.push((24..84, 1.02));
    let sitting = measure(&mut device, &models, &protocol);
    assert!(sitting.repeated["shared core"] >= 36, "{:?}", sitting.repeated);
    assert_eq!((sitting.disturbed, sitting.shared), (0, 0));
    assert!(error(&sitting, &device, &networks) < 1e-9);
    device.shared.push(0..100_000);
    let sitting = measure(&mut device, &models, &protocol);
    assert_eq!((sitting.disturbed, sitting.shared), (0, sitting.bursts));
}

#[test]
fn what_was_measured_before_a_cut_counts_once() {
    let mut device = FakeDevice::new(1);
    let (networks, models) = loaded(&mut device, 6);
    let protocol = Protocol { rounds: 8, most_rounds: 8, ..Protocol::default() };
    let mut kept: Vec<Sample> = Vec::new();
    let cut = protocol.measure(
        &mut device,
        &models,
        Vec::new(),
        &mut Random::new(0, "order"),
        &mut |fresh| {
            kept.extend_from_slice(fresh);
            if kept.len() == 18 { Err(Error::Refused("cut".into())) } else { Ok(()) }
        },
        &mut |_, _| {},
    );
    assert!(cut.is_err());
    let mut more = 0;
    let sitting = protocol
        .measure(
            &mut device,
            &models,
            kept,
            &mut Random::new(1, "order"),
            &mut |fresh| {
                more += fresh.len();
                Ok(())
            },
            &mut |_, _| {},
        )
        .unwrap();
    assert_eq!((more, sitting.samples.len()), (30, 48));
    assert!((0..6).all(|m| sitting.samples.iter().filter(|s| s.model == m).count() == 8));
    assert!(error(&sitting, &device, &networks) < 1e-9);
}
