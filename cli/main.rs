//! `netfit`: the command line. It links no libtorch; training runs in `netfit-torch`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod budgets;
mod commands;
mod config;
mod device;
mod format;
mod output;
mod plots;
mod progress;
mod report;
mod run;
mod runtime;
mod table;

use std::{io::Write as _, process::ExitCode};

use args::{Cli, Command};
use clap::Parser as _;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => execute(&cli).unwrap_or_else(|error| fail(&one_line(&error))),
        // The help and the version.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => fail(&usage(&error.to_string())),
    }
}

fn fail(message: &str) -> ExitCode {
    // A standard error that is closed leaves nothing to say.
    let _ = writeln!(std::io::stderr(), "error: {message}");
    ExitCode::FAILURE
}

fn execute(cli: &Cli) -> anyhow::Result<ExitCode> {
    let json = cli.json;
    match &cli.command {
        Command::Run(args) => return run::execute(args, json),
        Command::Devices => commands::devices::execute(json),
        Command::Space(args) => commands::space::execute(args, json),
        Command::Profile(args) => commands::profile::execute(args, json),
        Command::Validate(args) => commands::validate::execute(args, json),
        Command::Table(args) => commands::table::execute(&args.command, json),
        Command::Measure(args) => commands::measure::execute(args, json),
        Command::Train(args) => commands::train::execute(args, json),
        Command::Search(args) => commands::search::execute(args, json),
        Command::Compare(args) => commands::compare::execute(args, json),
        Command::Predictor(args) => commands::predictor::execute(&args.command, json),
        Command::Report(args) => commands::report::execute(args, json),
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
    words(&text)
}

/// What clap says of a wrong command line, on one line. Its own exit status, 2, would read as a missed budget.
fn usage(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let (what, usage) = message.split_once("Usage: ").unwrap_or((message, ""));
    let what = words(what.split("For more information").next().unwrap_or(what));
    match usage.lines().next() {
        Some(usage) => format!("{what}; hint: {usage}"),
        None => format!("{what}; hint: see --help"),
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_are_one_line_with_a_hint() {
        for (arguments, expected) in [
            (
                &["run"][..],
                "required arguments were not provided: <CONFIG>; hint: netfit run <CONFIG>",
            ),
            (&["frobnicate"], "unrecognized subcommand 'frobnicate'; hint: netfit"),
            (&["measure", "x", "--threads", "0"], "0 is not in 1..=1024; hint: see --help"),
        ] {
            let arguments = std::iter::once(&"netfit").chain(arguments);
            let message = usage(&Cli::try_parse_from(arguments).unwrap_err().to_string());
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains('\n') && !message.starts_with("error"), "{message}");
        }
    }
}
