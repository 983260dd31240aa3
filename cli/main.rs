//! `netfit`: the command line. It links no libtorch; training runs in `netfit-torch`.

mod args;
mod commands;
mod config;
mod format;
mod output;
mod plots;
mod progress;
mod run;
mod runtime;

use std::{io::Write as _, process::ExitCode};

use args::{Cli, Command};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(&cli) {
        Ok(code) => code,
        Err(error) => {
            // One line: the thing and its causes. A standard error that is closed leaves nothing to say.
            let _ = writeln!(std::io::stderr(), "error: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: &Cli) -> anyhow::Result<ExitCode> {
    let json = cli.json;
    match &cli.command {
        Command::Run(args) => return run::execute(args, json),
        Command::Devices => commands::devices::execute(json),
        Command::Space(args) => commands::space::execute(args, json),
        Command::Profile(args) => commands::profile::execute(args, json),
        Command::Validate(args) => commands::validate::execute(args, json),
        Command::Measure(args) => commands::measure::execute(args, json),
        Command::Train(args) => commands::train::execute(args, json),
        Command::Search(args) => commands::search::execute(args, json),
        Command::Export(args) => commands::export::execute(args, json),
        Command::DeviceWorker => runtime::serve_device(),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// An error and its causes on one line; a cause that its error already repeats is left out.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
