#!/usr/bin/env python3
"""Everything that a GPU can tell about netfit, in 8 minutes at most, as one JSON file.

usage: benches/gpu_check.py [--out FILE] [--gpu N] [--programs FOLDER] [--only PART]...

Devices; CUDA events against the host's clock; five training steps on the CPU and on the GPU; parity of logits with ONNX
Runtime; images a second of training and its peak memory, and those of the same step in Python's PyTorch; a table of
ofa-28 at batch 8 with 50 fresh networks. What fails, or has no time left, is written down as its error, and the exit
status is 1: nothing is skipped.

Programs that were built elsewhere (netfit, netfit-torch and examples/ of target/release) can be carried to a machine
without a network: where this checkout has no .deps, they take libtorch and ONNX Runtime from the packages torch and
onnxruntime of the Python that runs this.
"""

import argparse
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEP = Path(__file__).with_name("training_step.py")
END = time.monotonic() + 8 * 60
# Seconds that are left for the table while training still has another round to go.
TABLE = 240
# Largest relative difference of a training step's loss on the CPU and on the GPU.
LOSSES = 1e-3


def package(name):
    """The folder of a Python package that is installed."""
    found = importlib.util.find_spec(name)
    return Path(found.submodule_search_locations[0]) if found else None


def environment():
    """GPUs by the numbers that the driver's tools show; for carried programs where libraries are."""
    found = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    if (ROOT / ".deps").exists():
        return found
    if torch := package("torch"):
        folders = [torch / "lib", *sorted(torch.parent.glob("nvidia/*/lib"))]
        found["LD_LIBRARY_PATH"] = ":".join(map(str, [*folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]))
    if runtime := package("onnxruntime"):
        for library in sorted(runtime.glob("capi/libonnxruntime.so*")):
            found.setdefault("ORT_DYLIB_PATH", str(library))
    return found


def run(command, job=None):
    """The JSON that a program prints."""
    text = json.dumps(job) if job else None
    left = max(END - time.monotonic(), 0.1)
    done = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, timeout=left,
                          env=environment())
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}")
    return json.loads(done.stdout)


class Check:
    def __init__(self, programs, gpu, folder, parts):
        self.parts = parts
        self.netfit, self.torch = programs / "netfit", programs / "netfit-torch"
        self.step, self.check = programs / "examples/training_step", programs / "examples/gpu_check"
        self.gpu, self.folder, self.failed = gpu, folder, False

    def devices(self):
        return run([self.netfit, "devices", "--json"])["devices"]

    def clocks(self):
        """A call by CUDA events is never longer than by the host's clock."""
        rows = run([self.check, "clocks", self.torch, self.gpu])
        if not all(0 < row["events_s"] < row["host_s"] for row in rows):
            raise ValueError(f"CUDA events contradict the host's clock: {rows}")
        return rows

    def table(self):
        path = self.folder / "gpu-check.table.json"
        device = f"cuda:{self.gpu},batch=8"
        made = run([self.netfit, "profile", "--space", "ofa-28", "--device", device, "--out", path, "--restart", "--json"])
        judged = run([self.netfit, "validate", path, "--networks", 50, "--gpu", self.gpu, "--json"])
        judged.pop("results", None)
        return {"profile": made, "validation": judged}

    def losses(self):
        """Five steps of the full network from the same weights on the same images."""
        job = {"space": "ofa-28", "genotype": self.middle("ofa-28"), "batch": 64, "steps": 5, "warm_up": 0, "threads": 2}
        cpu, gpu = (run([self.step], {**job, "device": device})["losses"] for device in ("cpu", f"cuda:{self.gpu}"))
        # What is no number is null in JSON.
        relative = [abs(a / b - 1) if a is not None and b else math.inf for a, b in zip(gpu, cpu, strict=True)]
        found = {"cpu": cpu, "gpu": gpu, "relative": max(relative)}
        if found["relative"] > LOSSES:
            raise ValueError(f"losses differ by more than {LOSSES}: {found}")
        return found

    def training(self):
        """Each network and precision here and in PyTorch, in turn: 3 rounds, or as many as there is time for, one at least."""
        cases = [(space, batch, precision) for space, batch in (("ofa-28", 512), ("ofa-mbv3", 128))
                 for precision in ("fp32", "bf16")]
        found = {case: {side: {"full": [], "subnet": [], "peak_memory_bytes": []} for side in ("netfit", "PyTorch")}
                 for case in cases}
        for number in range(3):
            began = time.monotonic()
            for case in cases:
                self.steps(case, found[case])
            reserve = TABLE if "table" in self.parts else 0
            if END - time.monotonic() - reserve < 1.2 * (time.monotonic() - began):
                break
        summaries = {f"{space} {precision}": {side: self.summary(batch, told) for side, told in found[case].items()}
                     for case in cases for space, batch, precision in [case]}
        return {"rounds": number + 1, **summaries}

    def steps(self, case, found):
        """Seconds of training steps on both sides; they are added to those that were found before."""
        space, batch, precision = case
        largest, middle = self.space(space)["largest"], self.middle(space)
        job = {"space": space, "genotype": middle, "full": self.blocks(space, largest), "subnet": self.blocks(space, middle),
               "side": 28 if space == "ofa-28" else 224, "batch": batch, "steps": 8, "warm_up": 3, "threads": 2,
               "device": f"cuda:{self.gpu}", "precision": precision}
        sides = {"netfit": [self.step], "PyTorch": [os.environ.get("BENCH_PYTHON", sys.executable), STEP]}
        for side, command in sides.items():
            try:
                told = run(command, job)
            except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                found[side]["error"], self.failed = str(error), True
                continue
            found[side]["full"] += told["full"]
            found[side]["subnet"] += told["subnet"]
            found[side]["peak_memory_bytes"].append(told["peak_memory_bytes"])

    def summary(self, batch, told):
        """Images a second of each step, and the most memory."""
        speeds = {f"{step}_images_per_s": batch / statistics.median(told[step]) for step in ("full", "subnet") if told[step]}
        memory = {"peak_memory_bytes": max(told["peak_memory_bytes"])} if told["peak_memory_bytes"] else {}
        return speeds | memory | ({"error": told["error"]} if "error" in told else {})

    def parity(self):
        return run([self.check, "parity", self.gpu])

    def space(self, space):
        return run([self.netfit, "space", space, "--json"])

    def middle(self, space):
        """All layers, the second of each layer's kernels and widths: the networks of both sides have the same blocks.

        Nine choices a stage; its depth is the first.
        """
        largest = self.space(space)["largest"]
        return "".join(digit if place % 9 == 0 else "1" for place, digit in enumerate(largest))

    def blocks(self, space, genotype):
        return run([self.netfit, "space", space, "--network", genotype, "--json"])["blocks"]


PARTS = ("devices", "clocks", "losses", "parity", "training", "table")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--programs", type=Path,
                        default=Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may be given several times")
    arguments = parser.parse_args()
    parts = [name for name in PARTS if name in (arguments.only or PARTS)]
    check = Check(arguments.programs, arguments.gpu, arguments.out.resolve().parent, parts)
    results = {}
    for name in parts:
        print(f"checking {name}", file=sys.stderr, flush=True)
        began = time.time()
        try:
            results[name] = getattr(check, name)()
        except Exception as error:  # Whatever it is, the other parts have something to tell.
            results[name], check.failed = {"error": f"{type(error).__name__}: {error}"}, True
            print(f"  {name} failed: {error}", file=sys.stderr)
        results.setdefault("seconds", {})[name] = round(time.time() - began, 1)
        arguments.out.write_text(json.dumps(results, indent=1))
    print(arguments.out)
    sys.exit(1 if check.failed else 0)


main()
