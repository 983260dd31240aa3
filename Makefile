# `make demo` and `make test` are all that a newcomer needs: both set up what is missing first.

export CARGO_TERM_PROGRESS_WHEN ?= never
programs = $${CARGO_TARGET_DIR:-target}

.PHONY: help demo test setup build lint gpu-check bench bench-peers bench-predictors bench-search bench-tables bench-training crash-test clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):[^#]*## /make \1\t/p' Makefile | expand -t 16

demo: ## Fashion-MNIST, from a budget to runs/demo/model.onnx (goes on where it was interrupted)
	@scripts/timed "set-up and compiling" $(MAKE) --no-print-directory build
	@scripts/timed "the demo" $(programs)/release/netfit run examples/fashion-mnist.toml --out runs/demo

test: setup ## the dependency check and all tests
	@scripts/timed "set-up and compiling" cargo test --locked --no-run
	@scripts/check-dependencies $(programs)/debug/netfit
	@scripts/timed "the tests" cargo test --locked
	@scripts/gpu-tests $(programs)/debug/netfit

setup: ## put libtorch, ONNX Runtime and Fashion-MNIST into .deps/
	@scripts/setup

build: setup ## compile netfit and netfit-torch for use
	cargo build --locked --release

lint: setup ## formatting and clippy; warnings are errors
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

gpu-check: setup ## everything that a GPU can tell, in 8 minutes at most: gpu-check.json
	cargo build --locked --release --bins
	cargo build --locked --release -p netfit-supernet --example training_step
	cargo build --locked --release -p netfit-cuda --example gpu_check
	@benches/gpu_check.py --out gpu-check.json

bench: bench-training bench-tables bench-search bench-peers bench-predictors ## all benchmarks

bench-tables: setup ## latency tables against 200 fresh networks, with all else switched off (two to five hours)
	cargo build --locked --release --bin netfit
	@benches/latency_tables.py

bench-training: setup ## one training step here and in Python's PyTorch, in turn
	cargo build --locked --release --bins
	cargo build --locked --release -p netfit-supernet --example training_step
	@benches/training_step

bench-search: setup ## search strategies on NAS-Bench-Macro, with all else switched off
	cargo build --locked --release --bin netfit
	@benches/search_strategies.py

bench-peers: setup ## evolution here and in the Python package ofa, in turn
	cargo build --locked --release --bin netfit
	cargo build --locked --release -p netfit-search --example search_speed
	@benches/peers.py

bench-predictors: setup ## accuracy predictors on NAS-Bench-Macro, from 50 to 1,000 training networks
	cargo build --locked --release --bin netfit
	@benches/predictors.py

crash-test: setup ## kill a profile at random moments: it must come to the same end
	cargo build --locked --release --bin netfit
	@scripts/crash-test

clean: ## remove what was compiled and set up; runs/ stays
	cargo clean
	rm -rf .deps
