//! `netfit-torch`: trains and evaluates for `netfit`, which talks to it on a pipe.

use std::{io, process::ExitCode};

fn main() -> ExitCode {
    netfit_supernet::keep_large_buffers();
    match netfit_supernet::serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
