#!/usr/bin/env python3
"""What latency tables are worth on this machine: tables against fresh whole networks that another process measured.

usage: benches/latency_tables.py [--out FOLDER] [--only NAME,...] [--networks N] [--seed S]

Four cases (ofa-mbv3 at 224 and at 32x32, 1 and 2 threads), then `multi` (five resolutions in one table), `gate` (a busy
loop on another core, started half-way through a profile) and `tails` (percentiles). Each case writes its JSON to FOLDER as
soon as it is done, and a case whose JSON is there is not measured again; a truth that was cut off goes on. Nothing else
should run meanwhile.
"""

import argparse
import collections
import json
import math
import os
import subprocess
import sys
import time

from markdown import print_table

HERE = os.path.dirname(os.path.abspath(__file__))
NETFIT = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target")), "release", "netfit")
SMALL = os.path.join(HERE, "ofa-mbv3-32.toml")

# name: space, threads, and of the truth: processes, rounds in each, and how far its halves may lie apart
CASES = {
    "224-1": ("ofa-mbv3", 1, 10, 5, 0.010),
    "224-2": ("ofa-mbv3", 2, 14, 5, 0.010),
    "32-1": (SMALL, 1, 24, 8, 0.016),
    "32-2": (SMALL, 2, 24, 8, 0.016),
}
# The networks of a truth: how many, and the seed they are drawn with.
Fresh = collections.namedtuple("Fresh", "networks seed")
# A truth that is too noisy gets up to so many times its processes.
LONGER = 2
BUSY = "while True: pass"
# Of the five processes in which a profile times whole networks.
HALF = 2


def outcome(command, meanwhile=None):
    """Of a command with --json its JSON, or none and the error. `meanwhile` is called several times a second."""
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while True:
        try:
            output, errors = running.communicate(timeout=0.1 if meanwhile else None)
            break
        except subprocess.TimeoutExpired:
            meanwhile()
    if running.returncode == 0:
        return json.loads(output), None
    return None, errors.strip().splitlines()[-1]


def netfit(*arguments):
    command = [NETFIT, *map(str, arguments), "--json"]
    found, error = outcome(command)
    if error:
        sys.exit(f"{' '.join(command)}: {error}")
    return found


def profiling(space, threads, table, *more):
    return ["profile", "--space", space, "--device", f"cpu:threads={threads}", "--out", table, "--restart", *more]


def profile(*arguments):
    return netfit(*profiling(*arguments))


def profile_once(space, threads, table):
    """As `profile`, but what was profiled before is kept: the truth beside the table may have been cut off."""
    told = f"{table}.profile"
    if not os.path.exists(told):
        write(told, profile(space, threads, table))
    with open(told) as file:
        return json.load(file)


def write(path, found):
    with open(path + ".part", "w") as file:
        json.dump(found, file, indent=1)
    os.rename(path + ".part", path)


def validate(space, table, fresh, processes, rounds, *more):
    place = ["--space", space] if os.path.sep in space else []
    truth = ["--processes", processes, "--rounds", rounds]
    return netfit("validate", table, *place, "--networks", fresh.networks, "--seed", fresh.seed, *truth, *more)


def validate_until(space, table, fresh, processes, rounds, floor):
    """Measures longer, until the halves of the truth agree."""
    most = LONGER * processes
    while True:
        judged = validate(space, table, fresh, processes, rounds, "--journal", f"{table}.truth")
        apart = judged["noise_floor_rmspe"]
        if apart <= floor or processes >= most:
            return judged
        # Their difference shrinks with the root of the number of processes.
        processes = min(most, math.ceil(1.05 * processes * (apart / floor) ** 2))
        print(f"the halves of the truth are {percent(apart)} apart: {processes} processes", file=sys.stderr)


def case(name, folder, fresh):
    space, threads, *truth = CASES[name]
    table = os.path.join(folder, f"{name}.table.json")
    made = profile_once(space, threads, table)
    began = time.time()
    judged = validate_until(space, table, fresh, *truth)
    return {"profile": made, "validation": judged, "truth_seconds": time.time() - began}


def multi(folder, _):
    made = profile("ofa-mbv3-multi", 1, os.path.join(folder, "multi.table.json"))
    return {"profile": made}


def tails(folder, _):
    table = os.path.join(folder, "tails.table.json")
    made = profile("ofa-mbv3", 1, table, "--percentiles", "95,99")
    return {"profile": made, "table": json.load(open(table))["tails"]}


class Disturbance:
    """A busy loop, from the moment when half of a profile's processes are over, for so many seconds or to its end."""

    def __init__(self, table, seconds):
        self.journal, self.seconds = f"{table}.journal", seconds
        self.loop = self.began = None

    def step(self):
        if not self.began and os.path.exists(self.journal):
            with open(self.journal) as file:
                over = sum('"record":"whole"' in line for line in file)
            if over >= HALF:
                self.loop, self.began = subprocess.Popen([sys.executable, "-c", BUSY]), time.time()
        elif self.loop and self.seconds and time.time() - self.began > self.seconds:
            self.end()

    def end(self):
        if not self.began:
            sys.exit("the profile was over before the loop began")
        if self.loop:
            self.loop.kill()
            self.loop.wait()
        self.loop = None


def gate(folder, fresh):
    """One profile undisturbed, one with a busy loop for a quarter of its time, one with a busy loop to its end: of small
    networks on two threads, which such a loop slows down most."""
    fresh = fresh._replace(networks=100)
    quiet = os.path.join(folder, "gate.quiet.json")
    made = profile("ofa-28", 2, quiet)
    result = {"quiet": {"profile": made, "validation": validate("ofa-28", quiet, fresh, 4, 10)}}
    for name, seconds in [("passing", made["seconds"] / 4), ("staying", None)]:
        table = os.path.join(folder, f"gate.{name}.json")
        loop = Disturbance(table, seconds)
        disturbed, error = outcome([NETFIT, *map(str, profiling("ofa-28", 2, table)), "--json"], loop.step)
        loop.end()
        result[name] = {"refused": error}
        if disturbed:
            result[name] = {"profile": disturbed, "validation": validate("ofa-28", table, fresh, 4, 10)}
    return result


def percent(x):
    return "-" if x is None else f"{100 * x:.2f} %"


def report(results):
    rows = [["case", "table", "RMSPE", "within 2 %", "within 5 %", "tau", "noise floor", "truth's error", "multiply-adds",
             "ratio", "interval", "covered", "source, correction"]]
    covered, halves, squares, count = 0.0, [], 0.0, 0
    for name in CASES:
        if name not in results:
            continue
        made, judged = results[name]["profile"], results[name]["validation"]
        half = made["calibration"]["interval"]
        rows.append([
            name, f"{made['seconds']:.0f} s", percent(judged["rmspe"]), percent(judged["within_2"]),
            percent(judged["within_5"]), f"{judged['kendall_tau']:.3f}", percent(judged["noise_floor_rmspe"]),
            percent(judged["standard_error"]), percent(judged["multiply_adds"]["rmspe"]),
            f"{judged['rmspe'] / judged['multiply_adds']['rmspe']:.2f}",
            "+-" + percent(half), percent(judged["interval_coverage"]),
            f"{made['source']}, {made['calibration']['correction']['kind']}",
        ])
        networks = judged["networks"]
        covered += judged["interval_coverage"] * networks
        squares += judged["rmspe"] ** 2 * networks
        halves += [half] * networks
        count += networks
    print_table(rows)
    if count:
        halves.sort()
        pooled = math.sqrt(squares / count)
        print(f"\nintervals: {percent(covered / count)} of {count} networks covered; median half-width "
              f"{percent(halves[count // 2])}, {halves[count // 2] / pooled:.2f} x the pooled RMSPE {percent(pooled)}")
    if "multi" in results:
        made = results["multi"]["profile"]
        print(f"five resolutions: {made['entries']} blocks in {made['seconds']:.0f} s, "
              f"RMSPE {percent(made['validation']['rmspe'])}")
    for tail in results.get("tails", {}).get("table", []):
        print(f"p{tail['percentile']:.0f}: RMSPE {percent(tail['validation']['rmspe'])}, within 5 % "
              f"{percent(tail['validation']['within_5'])}, noise floor {percent(tail['validation']['noise_floor_rmspe'])}")
    if "tails" in results:
        print(f"percentiles: table of {results['tails']['profile']['seconds']:.0f} s")
    for name, found in results.get("gate", {}).items():
        if "refused" in found and found["refused"]:
            print(f"gate, {name}: {found['refused']}")
        else:
            print(f"gate, {name}: RMSPE {percent(found['validation']['rmspe'])} on fresh networks; "
                  f"repeated {found['profile']['hygiene']['repeated_for']} in {found['profile']['seconds']:.0f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.path.join(HERE, "..", "target", "latency-tables"))
    parser.add_argument("--only", default="224-1,224-2,32-1,32-2,multi,gate,tails")
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=11, help="that the networks of the truths are drawn with")
    arguments = parser.parse_args()
    fresh = Fresh(arguments.networks, arguments.seed)
    os.makedirs(arguments.out, exist_ok=True)
    results = {}
    for name in arguments.only.split(","):
        path = os.path.join(arguments.out, f"{name}.json")
        if not os.path.exists(path):
            print(f"measuring {name}", file=sys.stderr)
            other = {"multi": multi, "gate": gate, "tails": tails}.get(name)
            found = other(arguments.out, fresh) if other else case(name, arguments.out, fresh)
            write(path, found)
        results[name] = json.load(open(path))
    report(results)


if __name__ == "__main__":
    main()
