//! All integration tests in one program.
#![allow(missing_docs, clippy::unwrap_used)]

mod beside;
mod cli;
mod compare;
mod compare_runs;
mod devices;
mod gpu_check;
mod int8;
mod on_a_gpu;
mod predictors;
mod proxyless;
mod run;
mod spaces;
mod tables;
