//! Profiles and validations that go on from their journals.

use super::*;

/// A device that fails for good after so many requests, as if the process were killed there.
struct Cut<'a> {
    device: &'a mut FakeDevice,
    left: usize,
}

impl Device for Cut<'_> {
    fn fingerprint(&self) -> netfit_latency_tables::Fingerprint {
        self.device.fingerprint()
    }
    fn restart(&mut self) -> Result<()> {
        self.device.restart()
    }
    fn load(&mut self, model: Model<'_>) -> Result<usize> {
        self.device.load(model)
    }
    fn time(&mut self, bursts: &[crate::Burst]) -> Result<Vec<crate::Ran>> {
        self.left = self.left.checked_sub(1).ok_or(Error::Refused("killed".into()))?;
        self.device.time(bursts)
    }
    fn trace(&mut self, model: usize) -> Result<crate::BlockTimes> {
        self.device.trace(model)
    }
}

#[test]
fn a_profile_goes_on_wherever_it_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::preset("ofa-28").unwrap();
    let run = |cuts: &[usize], name: &str| {
        let journal = Some(folder.path().join(name));
        let options = ProfileOptions { journal, percentiles: vec![95.0], ..options() };
        let mut device = FakeDevice::new(0);
        for &left in cuts {
            let mut cut = Cut { device: &mut device, left };
            let error = profile(&space, &mut cut, &options, &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains("killed"), "{error}");
            // The last line was half-way to the disk.
            let path = options.journal.as_ref().unwrap();
            let mut text = std::fs::read_to_string(path).unwrap();
            text.push_str("{\"record\":\"round\",\"sta");
            std::fs::write(path, text).unwrap();
        }
        let mut count = Cut { device: &mut device, left: 100_000 };
        let table = profile(&space, &mut count, &options, &mut |_| {}).unwrap();
        (LatencyTable { seconds: 0.0, ..table }, 100_000 - count.left)
    };
    let (whole, requests) = run(&[], "whole");
    let cuts = [3, 10, 30, 40, 15, 25, 200, 70];
    let (mended, rest) = run(&cuts, "mended");
    // A cut costs the part or the round that it falls into, and the next process's first round.
    let lost = cuts.iter().sum::<usize>() + rest - requests;
    assert!(lost < 60 * cuts.len(), "{lost} of {requests} requests were lost");
    assert_eq!(mended.hygiene.bursts, whole.hygiene.bursts);
    assert_eq!(mended.tail_networks.len(), whole.tail_networks.len());
    let samples = |table: &LatencyTable| {
        table.calibration_networks.iter().map(|timing| timing.ratios.len()).collect::<Vec<_>>()
    };
    assert_eq!(samples(&mended), samples(&whole));
    // Without noise the times are the same, whatever was cut.
    for (a, b) in mended.calibration_networks.iter().zip(&whole.calibration_networks) {
        assert!((a.seconds / b.seconds - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_validation_goes_on_beside_the_same_table_only() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::preset("ofa-28").unwrap();
    let mut device = FakeDevice::new(0);
    let first = table(&mut device, &options()).unwrap();
    let journal = Some(folder.path().join("journal"));
    let options = ProfileOptions { journal, ..options() };
    let mut judge = |table: &LatencyTable, networks: usize, left: usize| {
        let mut cut = Cut { device: &mut device, left };
        crate::validate(table, &space, &mut cut, networks, &options, &mut |_| {})
    };
    let refusal =
        |judged: Result<(Validation, crate::TimedNetworks)>| judged.unwrap_err().to_string();
    assert!(refusal(judge(&first, 10, 12)).contains("killed"));
    let (mended, _) = judge(&first, 10, 100_000).unwrap();
    // All of it is in the journal now.
    let (again, timed) = judge(&first, 10, 0).unwrap();
    assert_eq!((again, timed.networks[0].processes_s.len()), (mended, 5));
    let message = refusal(judge(&first, 11, 0));
    assert!(message.contains("its networks is `10`, here it is `11`"), "{message}");
    let other = LatencyTable { seed: 7, ..first };
    let message = refusal(judge(&other, 10, 0));
    assert!(message.contains("its table is"), "{message}");
}

#[test]
fn more_processes_go_on_with_a_validation_s_journal() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::preset("ofa-28").unwrap();
    let mut device = FakeDevice::new(0);
    let table = table(&mut device, &options()).unwrap();
    let mut requests = |processes: usize, name: &str| {
        let journal = Some(folder.path().join(name));
        let options = ProfileOptions { processes, journal, ..options() };
        let mut count = Cut { device: &mut device, left: 100_000 };
        let judged = crate::validate(&table, &space, &mut count, 10, &options, &mut |_| {});
        assert_eq!(judged.unwrap().1.networks[0].processes_s.len(), processes);
        100_000 - count.left
    };
    let (at_once, five, two_more) =
        (requests(7, "at once"), requests(5, "later"), requests(7, "later"));
    assert_eq!(five + two_more, at_once);
}

/// Otherwise the same journal would be refused for ever.
#[test]
fn what_was_refused_is_measured_again_when_the_machine_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Some(folder.path().join("journal"));
    let options = ProfileOptions { journal, ..options() };
    let mut device = FakeDevice::new(0);
    device.noise = 0.01;
    device.loads = vec![(2_500..1_000_000, 1.0)];
    assert!(matches!(table(&mut device, &options).unwrap_err(), Error::Disturbed { .. }));
    device.loads = Vec::new();
    assert_eq!(table(&mut device, &options).unwrap().hygiene.verdict, Verdict::Clean);
}

#[test]
fn a_journal_of_another_profile_is_refused_by_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let first = ProfileOptions { journal: Some(path.clone()), ..options() };
    let made = table(&mut FakeDevice::new(0), &first).unwrap();
    let own = Space::preset("ofa-28").unwrap();
    let judged = crate::validate(&made, &own, &mut FakeDevice::new(0), 10, &first, &mut |_| {});
    let message = judged.map(drop).unwrap_err().to_string();
    assert!(message.contains("expected one of a validation, found one of a profile"), "{message}");
    let other = ProfileOptions { seed: 7, ..first.clone() };
    let message = table(&mut FakeDevice::new(0), &other).unwrap_err().to_string();
    assert!(message.contains("its seed is `0`, here it is `7`"), "{message}");
    assert!(message.contains("--restart"), "{message}");
    let space = Space::preset("nas-bench-macro").unwrap();
    let error = profile(&space, &mut FakeDevice::new(0), &first, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("its space is"), "{error}");
    // What is no journal stays as it is, whether its last line has an end or not.
    for other in ["{\"shopping\": \"list\"}\n", "{\"shopping\": \"list\"}"] {
        std::fs::write(&path, other).unwrap();
        let message = table(&mut FakeDevice::new(0), &first).unwrap_err().to_string();
        assert!(message.contains("line 1"), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
    }
    // Nor is one that another process is writing.
    let writer = std::fs::File::open(&path).unwrap();
    writer.lock().unwrap();
    let message = table(&mut FakeDevice::new(0), &first).unwrap_err().to_string();
    assert!(message.contains("in use by another process"), "{message}");
    drop(writer);
    // A journal whose first line was half-way to the disk begins anew.
    std::fs::write(&path, "{\"record\":\"hea").unwrap();
    table(&mut FakeDevice::new(0), &first).unwrap();
}
