//! `netfit-torch`: trains and evaluates for `netfit`, or times networks on a GPU; they talk on a pipe.

use std::{io, process::ExitCode};

fn main() -> ExitCode {
    netfit_supernet::keep_large_buffers();
    let (input, output) = (io::stdin(), io::stdout());
    let served = if std::env::args().nth(1).as_deref() == Some("device-worker") {
        netfit_cuda::serve(&mut input.lock(), &mut output.lock()).is_ok()
    } else {
        netfit_supernet::serve(input.lock(), output.lock()).is_ok()
    };
    if served { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
