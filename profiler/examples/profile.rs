//! Profiles a space on this machine's CPU: `cargo run --release -p netfit-profiler --example profile -- ofa-28 1 table.json`.
//! Prints what the table says about itself. Also the program that such a profile needs: `profile device-worker`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{io, path::Path};

use netfit_profiler::{Device as _, OrtDevice, OrtOptions, ProfileOptions, profile, worker};
use netfit_spaces::Space;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["device-worker"] => Ok(worker::serve(io::stdin().lock(), io::stdout().lock())?),
        [space, threads, out] => run(space, threads.parse()?, Path::new(out)),
        _ => Err("usage: profile SPACE THREADS OUT".into()),
    }
}

fn run(space: &str, threads: usize, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let space = Space::load(space)?;
    let program = std::env::current_exe()?;
    let options = OrtOptions { threads, ..OrtOptions::default() };
    let mut device = OrtDevice::start(&program, &["device-worker"], options)?;
    println!("{}", serde_json::to_string_pretty(&device.fingerprint())?);
    let options = ProfileOptions { accept_noise: true, ..ProfileOptions::default() };
    let mut stage = String::new();
    let table = profile(&space, &mut device, &options, &mut |progress| {
        if progress.stage != stage {
            eprintln!("{}", progress.stage);
            stage = progress.stage;
        }
    })?;
    table.save(out)?;
    println!("calibration {}", serde_json::to_string_pretty(&table.calibration)?);
    println!("validation {}", serde_json::to_string_pretty(&table.validation)?);
    println!("hygiene {}", serde_json::to_string(&table.hygiene)?);
    println!("reference {:?}", table.reference.processes_s);
    println!("overhead {}", serde_json::to_string(&table.sources["in-place"].overhead)?);
    println!("{} entries in {:.1} s", table.entries().count(), table.seconds);
    Ok(())
}
