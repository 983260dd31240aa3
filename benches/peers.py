#!/usr/bin/env python3
"""Once-for-All's own evolutionary search and ten of netfit's, in turn in one run: networks scored a second, and the ratio.

Both search with a predictor 3x400 over 128 inputs (60 kernel, 60 expansion, 8 resolution) of arbitrary weights, a full
latency table, a budget at the median of their space's latency, a population of 100, 500 generations and 2 threads.
Once-for-All's side is EvolutionFinder, AccuracyPredictor and LatencyTable of the Python package ofa as they are, but
for the table's content, which its constructor would download: every entry is computed from multiply-adds beforehand.

What differs: Once-for-All draws from 5 of the 8 resolutions, netfit from all 8; Once-for-All scores networks that it
has scored before again and counts them here, netfit scores each network once and counts these alone.

The same program then times that predictor's matrix products alone at the population's batch (numpy, PyTorch, the
crate gemm) and names the fastest.

Python's side goes into a throw-away environment (about 5 GB) that is kept in .deps/bench-peers, unless BENCH_PYTHON
names a Python that has torch, torchvision, ofa, gdown, pyyaml and tqdm.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
SPACE = ROOT / "benches" / "ofa-mbv3-128.toml"
POPULATION, GENERATIONS, WIDTH, HIDDEN = 100, 500, 128, 400
# Of netfit's, for one of Once-for-All's; their mean rate is that of all of them together.
SEARCHES = 10
PACKAGES = ["torch==2.11.0", "torchvision==0.26.0", "numpy", "gdown", "pyyaml", "tqdm", "ofa==0.1.0.post202307202001"]


def python():
    if "BENCH_PYTHON" in os.environ:
        return os.environ["BENCH_PYTHON"]
    folder = ROOT / ".deps" / "bench-peers"
    if not (folder / "ready").exists():
        print("installing PyTorch and ofa into .deps/bench-peers", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return folder / "bin/python"


def peer_search(threads):
    """In the Python that has ofa: one search of Once-for-All's, as JSON."""
    import random
    import time

    import numpy as np
    import torch
    from ofa.tutorial.accuracy_predictor import AccuracyPredictor
    from ofa.tutorial.evolution_finder import ArchManager, EvolutionFinder
    from ofa.tutorial.latency_table import LatencyEstimator, LatencyTable

    class Entries(dict):
        """An entry for every key that is asked for: milliseconds by multiply-adds."""

        def __missing__(self, key):
            fields = dict(part.split(":") for part in key.split("-") if ":" in part)
            milliseconds = 1.0
            if "expand" in fields:
                (height, width, channels) = map(int, fields["input"].split("x"))
                (rows, columns, outputs) = map(int, fields["output"].split("x"))
                middle, kernel = int(fields["expand"]), int(fields["kernel"])
                work = height * width * channels * middle + rows * columns * middle * (kernel * kernel + outputs)
                milliseconds = work / 1e7
            self[key] = {"mean": milliseconds}
            return self[key]

    torch.set_num_threads(threads)
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)
    table = object.__new__(LatencyTable)
    table.latency_tables = {}
    for resolution in ArchManager().resolutions:
        estimator = object.__new__(LatencyEstimator)
        estimator.lut = Entries()
        table.latency_tables[resolution] = estimator
    # This also fills the table.
    budget = statistics.median(table.predict_efficiency(ArchManager().random_sample()) for _ in range(20_000))
    predictor = AccuracyPredictor(pretrained=False, device="cpu")
    finder = EvolutionFinder("note10", budget, table, predictor, population_size=POPULATION, max_time_budget=GENERATIONS)
    start = time.perf_counter()
    finder.run_evolution_search()
    seconds = time.perf_counter() - start
    print(json.dumps({"networks_per_second": POPULATION * (GENERATIONS + 1) / seconds}))


def peer_products(threads, seconds):
    """In the same Python: networks a second of the products alone, by library."""
    import time

    import numpy as np
    import torch

    torch.set_num_threads(threads)
    widths = [WIDTH, HIDDEN, HIDDEN, HIDDEN, 1]
    pairs = list(zip(widths, widths[1:]))
    layers = torch.nn.Sequential(*[module for pair in pairs for module in (torch.nn.Linear(*pair), torch.nn.ReLU())])
    batch = np.random.default_rng(0).random((POPULATION, WIDTH), dtype=np.float32)
    weights = [np.random.default_rng(1).random(pair, dtype=np.float32) - 0.5 for pair in pairs]
    tensor = torch.from_numpy(batch)

    def by_numpy():
        values = batch
        for weight in weights:
            values = np.maximum(values @ weight, 0)

    def rate(call):
        for _ in range(50):
            call()
        start, calls = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            call()
            calls += 1
        return POPULATION * calls / (time.perf_counter() - start)

    with torch.no_grad():
        print(json.dumps({"numpy": rate(by_numpy), "PyTorch": rate(lambda: layers(tensor))}))


def called(command, threads):
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={**os.environ, **limits})
    if done.returncode != 0:
        sys.exit(f"{command[0]}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def shown(name, samples):
    low, middle, high = min(samples), statistics.median(samples), max(samples)
    print(f"  {name:34} {middle:9,.0f} networks/s  (from {low:,.0f} to {high:,.0f})")
    return middle


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="for which each product is timed")
    parser.add_argument("--peer", choices=["search", "products"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    threads, seconds = arguments.threads, arguments.seconds
    if arguments.peer == "search":
        return peer_search(threads)
    if arguments.peer == "products":
        return peer_products(threads, seconds)
    peer = [python(), __file__, "--threads", threads, "--seconds", seconds, "--peer"]
    helper = PROGRAMS / "examples" / "search_speed"
    searches = {"Once-for-All": [], "netfit": []}
    products = {"numpy": [], "PyTorch": [], "gemm": []}
    predictor = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = called([helper, "prepare", SPACE, folder], threads)
        assert prepared["encoding_width"] == WIDTH, prepared
        ours = [PROGRAMS / "netfit", "search", "--space", SPACE, "--table", f"{folder}/table.json",
                "--accuracy", f"predictor:{folder}/predictor.safetensors", "--budget", f"{prepared['budget_s']!r}s",
                "--strategy", "evolution", "--evaluations", POPULATION * (GENERATIONS + 1), "--threads", threads, "--json"]
        for _ in range(arguments.repeats):
            searches["Once-for-All"].append(called([*peer, "search"], threads)["networks_per_second"])
            # A search of netfit's is over in a third of a second, and a machine's speed changes from one to the next.
            rates = [called(ours, threads)["networks_per_second"] for _ in range(SEARCHES)]
            searches["netfit"].append(statistics.harmonic_mean(rates))
            for name, rate in called([*peer, "products"], threads).items():
                products[name].append(rate)
            rate = called([helper, "products", WIDTH, threads, POPULATION, seconds], threads)
            products["gemm"].append(rate["networks_per_second"])
            rate = called([helper, "predictor", SPACE, folder, threads, POPULATION, seconds], threads)
            predictor.append(rate["networks_per_second"])
    print(f"searches, population {POPULATION}, {GENERATIONS} generations, {threads} threads; medians of {arguments.repeats}")
    rates = {name: shown(name, samples) for name, samples in searches.items()}
    # Both of a pair ran within half a minute: what slows the machine for longer slows both.
    ratios = [ours / theirs for ours, theirs in zip(searches["netfit"], searches["Once-for-All"])]
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"netfit / Once-for-All: {middle:.1f} x  (median of the pairs; from {low:.1f} to {high:.1f})")
    print(f"the predictor's matrix products alone, {POPULATION} networks at a time")
    alone = {name: shown(name, samples) for name, samples in products.items()}
    fastest = max(alone, key=alone.get)
    shown("netfit's predictor, encoding included", predictor)
    print(f"netfit's search / the fastest products ({fastest}): {100 * rates['netfit'] / alone[fastest]:.0f} %")


main()
