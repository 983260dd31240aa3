//! Programs of a few lines of shell stand in for the training process.

use std::os::unix::fs::PermissionsExt as _;

use netfit_data::DataSpec;
use netfit_spaces::Space;

use netfit_predictors::Accuracy as _;

use super::*;
use crate::{SupernetAccuracy, job::Training};

const DONE: &str = r#"echo '{"event":"done"}'"#;

fn start(script: &str) -> Result<TorchProcess> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("netfit-torch");
    // Written by another program: a file that this one had open for writing may still be busy in a fork of it.
    let text = format!("#!/bin/sh\nread -r open\n{script}\n");
    let copy = "cat > \"$0\"; chmod 755 \"$0\"";
    let mut writer = std::process::Command::new("sh")
        .args(["-c", copy])
        .arg(&program)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    assert_eq!(std::fs::metadata(&program).unwrap().permissions().mode() & 0o111, 0o111);
    let open = Open {
        space: Space::preset("ofa-28").unwrap().spec().clone(),
        data: serde_json::from_str::<DataSpec>(r#"{"format":"idx","path":"data"}"#).unwrap(),
        training: Training::default(),
        run: "run".into(),
        seed: 0,
    };
    TorchProcess::start(&program, open)
}

#[test]
fn progress_is_passed_on_and_values_are_returned() {
    let script = format!(
        r#"{DONE}
        read -r request
        echo '{{"event":"progress","stage":"depth","done":1,"total":3,"note":"loss 0.5"}}'
        {DONE}
        read -r request
        echo '{{"event":"done","value":{{"accuracies":[0.25,0.5]}}}}'
        read -r request
        echo "$request" | grep -q '"images":1' && echo '{{"event":"done","value":{{"logits":[[1.5,-2]]}}}}'"#
    );
    let mut torch = start(&script).unwrap();
    let mut steps = Vec::new();
    torch.train(&mut |step| steps.push(step)).unwrap();
    let step = Progress { stage: "depth".into(), done: 1, total: 3, note: "loss 0.5".into() };
    assert_eq!(steps, [step]);
    let space = Space::preset("ofa-28").unwrap();
    let asked = [space.smallest(), space.largest()];
    let mut ignore = |_| {};
    let mut supernet = SupernetAccuracy { process: &mut torch, progress: &mut ignore };
    assert_eq!(supernet.accuracies(&asked).unwrap(), [0.25, 0.5]);
    let logits = torch.logits(&asked[0], Path::new("weights"), 1).unwrap();
    assert_eq!(logits, [[1.5, -2.0]]);
}

#[test]
fn a_death_becomes_one_line_with_the_last_words() {
    let script = format!(
        "{DONE}\nread -r request\nfor i in $(seq 3000); do echo \"line $i\" >&2; done\nkill -6 $$"
    );
    let mut torch = start(&script).unwrap();
    let message = torch.train(&mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("died of signal 6 (aborted) during `train`"), "{message}");
    assert!(message.contains("line 2999 | line 3000") && !message.contains("line 2900"));
    assert!(message.contains("hint:") && !message.contains('\n'), "{message}");
    let again = torch.train(&mut |_| {}).unwrap_err().to_string();
    assert!(again.contains("died of signal 6"), "{again}");
}

#[test]
fn a_very_long_line_keeps_its_beginning_and_pushes_nothing_out() {
    let script = format!(
        "{DONE}\nread -r request\n(echo before; printf 'long '; seq -s '#' 20000; echo after) >&2\nkill -6 $$"
    );
    let message = start(&script).unwrap().train(&mut |_| {}).unwrap_err().to_string();
    assert!(
        message.contains(": before | long 1#2#3#") && message.contains(" | after;"),
        "{message}"
    );
    assert!(!message.contains("#200#") && message.len() < 1000, "{message}");
}

#[test]
fn a_missing_library_says_how_to_get_it() {
    let words =
        "error while loading shared libraries: libtorch_cpu.so: cannot open shared object file";
    let message = start(&format!("echo '{words}' >&2; exit 127")).err().unwrap().to_string();
    assert!(message.contains("libtorch_cpu.so") && message.contains("status 127"), "{message}");
    assert!(message.contains("`make setup`"), "{message}");
    let error = Process::start(Path::new("/no/such/netfit-torch")).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn failures_are_told_in_the_processs_own_words() {
    let script = r#"echo '{"event":"failed","message":"no images in `data`; hint: fetch them"}'"#;
    let message = start(script).err().unwrap().to_string();
    assert_eq!(message, "no images in `data`; hint: fetch them");
}

#[test]
fn answers_outside_the_protocol_are_refused() {
    for (answer, reason) in [
        ("echo hello", "with `hello`"),
        (r#"echo '{"event":"party"}'"#, "unknown variant"),
        (r#"printf '{"event":"do'"#, "ended with status 0"),
    ] {
        let message = start(answer).err().unwrap().to_string();
        assert!(message.contains(reason), "{answer}: {message}");
    }
    let wrong = format!(
        "{DONE}\nread -r request\n{}",
        r#"echo '{"event":"done","value":{"accuracies":[0.5,1.5]}}'"#
    );
    let mut torch = start(&wrong).unwrap();
    let space = Space::preset("ofa-28").unwrap();
    let asked = [space.smallest(), space.largest()];
    let message = torch.evaluate(&asked, &mut |_| {}).unwrap_err().to_string();
    assert!(message.contains("expected 2 shares of 1"), "{message}");
}

#[test]
fn a_dropped_process_is_killed() {
    let torch = start(&format!("{DONE}\nexec sleep 1000")).unwrap();
    let id = torch.process.id();
    drop(torch);
    let alive = std::process::Command::new("kill").args(["-0", &id.to_string()]).output().unwrap();
    assert!(!alive.status.success());
}
