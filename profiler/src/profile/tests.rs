//! Whole profiles on the device without a clock.

use std::ops::Range;

use netfit_latency_tables::{Correction, Verdict};

use super::*;
use crate::{FakeDevice, IN_PLACE, NEIGHBOURS};

mod journals;

fn options() -> ProfileOptions {
    ProfileOptions::default()
}

fn table(device: &mut FakeDevice, options: &ProfileOptions) -> Result<LatencyTable> {
    profile(&Space::preset("ofa-28").unwrap(), device, options, &mut |_| {})
}

#[test]
fn the_planted_calibration_is_recovered() {
    let mut device = FakeDevice::new(0);
    let table = table(&mut device, &options()).unwrap();
    assert_eq!(table.calibration.source, IN_PLACE);
    let Correction::Affine(line) = table.calibration.correction else {
        panic!("{:?}", table.calibration.candidates)
    };
    assert!((line.intercept_s / device.intercept_s - 1.0).abs() < 1e-6, "{line:?}");
    assert!((line.slope / device.slope - 1.0).abs() < 1e-6, "{line:?}");
    let validation = table.validation.unwrap();
    assert!(validation.errors.rmspe < 1e-9 && validation.noise_floor_rmspe.unwrap() < 1e-9);
    assert!(validation.multiply_adds.rmspe > 0.005, "the baseline knows no kernels");
}

#[test]
fn blocks_between_neighbours_have_their_own_time_without_them() {
    let space = Space::preset("ofa-28").unwrap();
    let mut device = FakeDevice::new(0);
    let table = table(&mut device, &options()).unwrap();
    let entries = &table.sources[NEIGHBOURS].entries;
    for block in space.distinct_blocks() {
        let found = entries[&block.to_string()].timing.median_s;
        let expected = device.slope * FakeDevice::block_s(&block);
        let first_or_last = block.kind() == "conv" && block.input() == space.inputs()[0]
            || block.kind() == "linear";
        // These have one neighbour: half a call's fixed cost stays with them.
        let kept = if first_or_last { device.intercept_s / 2.0 } else { 0.0 };
        assert!((found - kept - expected).abs() < 1e-9, "{block}: {found} {expected}");
    }
}

/// As a GPU in ONNX Runtime, whose record has the host's times.
#[test]
fn a_device_that_cannot_trace_has_tables_from_blocks_between_neighbours() {
    let mut device = FakeDevice::new(0);
    device.traces = false;
    let table = table(&mut device, &options()).unwrap();
    assert_eq!(table.sources.keys().collect::<Vec<_>>(), [NEIGHBOURS]);
    assert!(table.validation.unwrap().errors.rmspe < 1e-6);
}

#[test]
fn what_the_record_of_a_kernel_costs_is_taken_away() {
    let mut device = FakeDevice::new(0);
    device.kernel_s = 5e-6;
    let table = table(&mut device, &options()).unwrap();
    let of = |source: &str, correction: &str| {
        let found = table.calibration.candidates.iter();
        let mut found = found.filter(|c| c.source == source && c.correction == correction);
        found.next().unwrap().rmspe
    };
    assert!(of(IN_PLACE, "recorded") < 1e-9 && of(IN_PLACE, "affine") > 1e-3);
    assert!(table.validation.unwrap().errors.rmspe < 1e-9);
}

#[test]
fn intervals_cover_fresh_networks_in_spite_of_noise() {
    let space = Space::preset("ofa-28").unwrap();
    let (mut agreeing, mut covered) = (0.0, 0.0);
    for seed in 0..6 {
        let mut device = FakeDevice::new(seed);
        device.noise = 0.02;
        device.process_noise = 0.05;
        let options = ProfileOptions { seed, ..options() };
        let table = table(&mut device, &options).unwrap();
        let fresh = ProfileOptions { seed: seed + 100, ..options };
        let judge = |device: &mut FakeDevice| {
            crate::validate(&table, &space, device, 40, &fresh, &mut |_| {}).unwrap().0
        };
        let validation = judge(&mut device);
        assert!(validation.errors.rmspe < 0.02, "{validation:?}");
        agreeing += validation.interval_agreement.unwrap() / 6.0;
        // The latencies themselves.
        device.noise = 0.0;
        covered += judge(&mut device).interval_coverage / 6.0;
    }
    assert!(agreeing >= 0.9 && covered >= 0.9, "{agreeing} {covered}");
}

#[test]
fn the_same_seed_makes_the_same_table() {
    let make = || {
        let mut device = FakeDevice::new(5);
        device.noise = 0.02;
        LatencyTable { seconds: 0.0, ..table(&mut device, &options()).unwrap() }
    };
    assert_eq!(make(), make());
}

#[test]
fn a_disturbed_machine_is_refused_unless_noise_is_accepted() {
    let disturbed = || {
        let mut device = FakeDevice::new(0);
        device.noise = 0.01;
        // Every fifth burst of the whole run.
        device.disturbances = (0..20_000).map(|n| (5 * n..5 * n + 1, 1.5)).collect();
        device.loads = device.disturbances.iter().map(|(at, _)| (at.clone(), 2.0)).collect();
        device
    };
    let options = options();
    let error = table(&mut disturbed(), &options).unwrap_err();
    assert!(matches!(error, Error::Disturbed { .. }), "{error}");
    let options = ProfileOptions { accept_noise: true, ..options };
    let table = table(&mut disturbed(), &options).unwrap();
    assert_eq!(table.hygiene.verdict, Verdict::NoiseAccepted);
}

#[test]
fn calibration_and_validation_share_no_network() {
    let table = table(&mut FakeDevice::new(0), &options()).unwrap();
    let all = table.calibration_networks.iter().chain(&table.validation_networks);
    let distinct: HashSet<_> = all.map(|timing| &timing.genotype).collect();
    assert_eq!(distinct.len(), 56);
}

/// A busy loop on another core that starts half-way and stays.
#[test]
fn a_load_that_stays_is_refused_and_named() {
    let mut device = FakeDevice::new(0);
    device.noise = 0.01;
    device.loads = vec![(2_500..1_000_000, 1.0)];
    device.disturbances = vec![(2_500..1_000_000, 1.4)];
    let message = table(&mut device, &options()).unwrap_err().to_string();
    assert!(message.contains("for load") && message.contains("--accept-noise"), "{message}");
}

/// The same load for a while: what it touched is measured again, and tables are as good as without it.
/// Longer than what is measured first waits, and shorter than it is tried.
#[test]
fn blocks_that_were_disturbed_are_measured_again_before_a_profile_is_refused() {
    let made = |bursts: usize| {
        let mut device = FakeDevice::new(0);
        device.loads = vec![(0..bursts, 1.0)];
        let protocol = Protocol { wait_s: 0.0, ..Protocol::default() };
        table(&mut device, &ProfileOptions { protocol, ..options() })
    };
    let passed = made(150).unwrap();
    assert_eq!(passed.hygiene.verdict, Verdict::Clean);
    assert_eq!(passed.validation, made(0).unwrap().validation);
    assert!(matches!(made(100_000).unwrap_err(), Error::Disturbed { .. }));
}

#[test]
fn a_load_that_passes_leaves_no_trace() {
    let space = Space::preset("ofa-28").unwrap();
    let error = |load: &[(std::ops::Range<usize>, f64)]| {
        let (mut predicted, mut truth) = (Vec::new(), Vec::new());
        for seed in 0..30 {
            let mut device = FakeDevice::new(seed);
            device.noise = 0.02;
            device.loads = load.to_vec();
            device.disturbances = load.iter().map(|(range, _)| (range.clone(), 1.4)).collect();
            let table = table(&mut device, &options()).unwrap();
            assert_eq!(table.hygiene.verdict, Verdict::Clean);
            let repeated = table.hygiene.repeated_for.get("load").copied().unwrap_or(0);
            assert_eq!(repeated > 200, !load.is_empty(), "{:?}", table.hygiene);
            let mut random = Random::new(9, "fresh");
            for _ in 0..50 {
                let network = space.network(&space.sample(&mut random));
                predicted.push(table.predict(&network).unwrap().median_s);
                truth.push(device.network_s(&network));
            }
        }
        netfit_latency_tables::rmspe(&predicted, &truth)
    };
    let (quiet, loaded) = (error(&[]), error(&[(1_500..1_900, 1.0), (3_300..3_600, 1.0)]));
    assert!(loaded <= 1.3 * quiet, "{loaded} {quiet}");
}

/// Three processes take turns: blocks in place, between neighbours, and whole networks.
#[test]
fn a_table_is_of_one_state_of_the_machine() {
    let together: &[(Range<usize>, f64)] = &[(3..6, 1.6)];
    let apart: &[(Range<usize>, f64)] = &[(3..4, 1.6), (7..8, 1.6), (11..12, 1.6)];
    let steady = table(&mut FakeDevice::new(0), &options()).unwrap();
    for states in [together, apart] {
        let mut device = FakeDevice::new(0);
        device.states = states.to_vec();
        one_state(&table(&mut device, &options()).unwrap(), &steady);
    }
}

/// The other state is gone without a trace, with one process of each kind.
fn one_state(changed: &LatencyTable, steady: &LatencyTable) {
    assert_eq!(changed.hygiene.processes_at_another_speed, 3);
    assert_eq!(changed.reference.processes_s.len(), 5);
    assert!((changed.reference.median_s / steady.reference.median_s - 1.0).abs() < 1e-9);
    for (name, source) in &steady.sources {
        for (block, entry) in &source.entries {
            let found = &changed.sources[name].entries[block].timing;
            assert!((found.mean_s / entry.timing.mean_s - 1.0).abs() < 1e-9, "{block}");
            assert_eq!(5 * found.samples, 4 * entry.timing.samples, "{block}");
        }
    }
}

#[test]
fn percentiles_are_predicted_with_an_error_of_their_own() {
    let space = Space::preset("ofa-28").unwrap();
    let mut device = FakeDevice::new(0);
    device.noise = 0.05;
    let options = ProfileOptions { percentiles: vec![95.0, 99.0], ..options() };
    let table = table(&mut device, &options).unwrap();
    let network = space.network(&space.largest());
    let median_s = table.predict(&network).unwrap().median_s;
    for (percentile, deviations) in [(95.0, 1.645), (99.0, 2.326)] {
        let found = table.predict_percentile(&network, percentile).unwrap().median_s / median_s;
        let expected = (0.05_f64 * deviations).exp();
        assert!((found / expected - 1.0).abs() < 0.02, "{percentile}: {found} {expected}");
        let validation = table.tail(percentile).unwrap().validation.as_ref().unwrap();
        assert!(validation.errors.rmspe < 0.03 && validation.noise_floor_rmspe.is_some());
    }
    // Twenty calls in each of five rows in each of five processes.
    assert_eq!(table.tail_networks[0].calls, 500);
}

/// A fake device beside which others run during some of its rows of single calls.
struct LoadedRows {
    device: FakeDevice,
    rows: Range<usize>,
    seen: usize,
}

impl Device for LoadedRows {
    fn fingerprint(&self) -> netfit_latency_tables::Fingerprint {
        self.device.fingerprint()
    }

    fn restart(&mut self) -> Result<()> {
        self.device.restart()
    }

    fn load(&mut self, model: crate::Model<'_>) -> Result<usize> {
        self.device.load(model)
    }

    fn time(&mut self, bursts: &[crate::Burst]) -> Result<Vec<crate::Ran>> {
        // Nothing else is so patient.
        let row = bursts.iter().any(|burst| burst.patience_s > 0.4);
        let loaded = row && self.rows.contains(&self.seen);
        self.seen += usize::from(row);
        self.device.loads = if loaded { vec![(0..usize::MAX, 1.0)] } else { Vec::new() };
        self.device.time(bursts)
    }

    fn trace(&mut self, model: usize) -> Result<crate::BlockTimes> {
        self.device.trace(model)
    }
}

#[test]
fn a_round_of_single_calls_beside_which_others_run_does_not_count() {
    let made = |rows: Range<usize>, accept_noise: bool| {
        let mut device = LoadedRows { device: FakeDevice::new(0), rows, seen: 0 };
        let options = ProfileOptions { percentiles: vec![95.0], accept_noise, ..options() };
        let table = profile(&Space::preset("ofa-28").unwrap(), &mut device, &options, &mut |_| {});
        (table, device.seen)
    };
    let (quiet, rows) = made(0..0, false);
    let round = rows / 25;
    assert_eq!(quiet.unwrap().hygiene.repeated_for.get("load"), None);
    // The first round once, the third until its three attempts are over.
    let (repeated, seen) = made(0..round, false);
    let repeated = repeated.unwrap();
    assert_eq!((seen, repeated.hygiene.repeated_for["load"]), (rows + round, 1));
    assert_eq!((repeated.hygiene.verdict, repeated.hygiene.disturbed), (Verdict::Clean, 0));
    let (spoilt, seen) = made(2 * round..5 * round, false);
    let spoilt = spoilt.unwrap();
    assert_eq!((seen, spoilt.hygiene.disturbed), (rows + 2 * round, 1));
    assert_eq!(spoilt.tail_networks[0].calls, 480);
    let (refused, _) = made(0..usize::MAX, false);
    assert!(matches!(refused, Err(Error::Disturbed { .. })));
    let (marked, seen) = made(0..usize::MAX, true);
    let marked = marked.unwrap();
    assert_eq!((seen, marked.hygiene.verdict), (rows, Verdict::NoiseAccepted));
    assert_eq!(marked.tail_networks[0].calls, 500);
}

/// As of images so large that few networks fit beside each other.
#[test]
fn a_table_is_the_same_where_few_networks_fit_into_a_process() {
    let made = |bytes: u64| {
        let mut device = FakeDevice::new(0);
        device.bytes = bytes;
        let options = ProfileOptions { percentiles: vec![95.0], ..options() };
        (table(&mut device, &options).unwrap(), device.most_loaded())
    };
    let ((together, all), (apart, few)) = (made(1), made(300 << 20));
    // The anchors are beside what fits.
    assert!(all > 50 && few < 20, "{all}, {few}");
    let errors = |table: &LatencyTable| table.validation.as_ref().unwrap().errors.rmspe;
    assert!(errors(&together) < 1e-6 && errors(&apart) < 1e-6);
    for (one, other) in together.entries().zip(apart.entries()) {
        assert_eq!(one.0, other.0);
        assert!((one.1.timing.median_s / other.1.timing.median_s - 1.0).abs() < 1e-9);
    }
    for (one, other) in together.tail_networks.iter().zip(&apart.tail_networks) {
        assert_eq!((&one.genotype, one.calls), (&other.genotype, other.calls));
    }
}

/// Blocks by themselves are shorter than whole networks, and always bound by their launch here.
#[test]
fn a_table_tells_how_many_whole_networks_a_gpu_waits_for_its_host_in() {
    let space = Space::preset("ofa-28").unwrap();
    let mut device = FakeDevice::new(0);
    let options = ProfileOptions { validation: 0, ..ProfileOptions::of_gpu() };
    let between = |share: f64| {
        let smallest = device.network_s(&space.network(&space.smallest()));
        let largest = device.network_s(&space.network(&space.largest()));
        smallest + share * (largest - smallest)
    };
    let (none, some, all) = (between(-0.1), between(0.4), between(1.1));
    let mut share = |launch_s| {
        device.launch_s = Some(launch_s);
        let table = table(&mut device, &options).unwrap();
        let networks = table.calibration_networks;
        let bound = networks.iter().filter(|network| network.seconds < launch_s).count();
        (table.hygiene.launch_bound.unwrap(), bound as f64 / networks.len() as f64)
    };
    assert_eq!((share(none).0, share(all).0), (0.0, 1.0));
    // The reference network is one more.
    let (told, expected) = share(some);
    assert!((told - expected).abs() < 0.03 && (0.1..0.9).contains(&told), "{told}, {expected}");
    device.launch_s = None;
    assert_eq!(table(&mut device, &options).unwrap().hygiene.launch_bound, None);
}

#[test]
fn senseless_settings_and_small_spaces_are_refused() {
    let few = ProfileOptions { calibration: 5, ..options() };
    let message = table(&mut FakeDevice::new(0), &few).unwrap_err().to_string();
    assert!(message.contains("at least 19, found 5"), "{message}");
    let space = Space::preset("nas-bench-macro").unwrap();
    let many = draw(&space, 7000, &HashSet::new(), &mut Random::new(0, "many"));
    let message = many.unwrap_err().to_string();
    assert!(message.contains("of the 7000 that were asked for"), "{message}");
}
