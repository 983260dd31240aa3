#!/usr/bin/env python3
"""What search strategies are worth: netfit compare on NAS-Bench-Macro, whose 6,561 accuracies are all known.

usage: benches/search_strategies.py [--out FOLDER] [--quantiles 0.25,0.5,0.75] [--evaluations N] [--seeds N] [--strategies LIST]

Latencies come from a table that is profiled on this machine at one thread (a table that is in FOLDER already is used
again). A budget at a quantile leaves that share of the space: it is the quantile of the upper end of the predictions'
intervals, which is what a budget binds. Random search stands there in closed form, too. Nothing else should run while
the table is measured. FOLDER also holds the JSON and the picture of each budget.
"""

import argparse
import json
import math
import os
import subprocess
import sys

from markdown import print_table

HERE = os.path.dirname(os.path.abspath(__file__))
NETFIT = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target")), "release", "netfit")
SPACE = "nas-bench-macro"
DATA = os.path.join(HERE, "..", "tests", "data", "nas-bench-macro.csv")
ACCURACY = f"csv:{DATA},genotype=arch,accuracy=mean_acc,unit=percent"
NEAR = 0.001


def netfit(*arguments):
    """Runs a command and returns its JSON; ends with its error where it fails."""
    done = subprocess.run([NETFIT, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        error = (done.stderr.strip().splitlines() or ["no message"])[-1]
        sys.exit(f"netfit {' '.join(map(str, arguments))}: {error}")
    return json.loads(done.stdout)


def walk(table, folder):
    """Accuracy and upper end of the predicted latency of every network, fastest first."""
    journal = os.path.join(folder, "walk.jsonl")
    if os.path.exists(journal):
        os.remove(journal)
    netfit("search", "--space", SPACE, "--table", table, "--accuracy", ACCURACY, "--budget", "1000s",
           "--strategy", "random", "--evaluations", 10**5, "--journal", journal)
    with open(journal) as lines:
        records = [json.loads(line) for line in lines][1:]
    return sorted((record["latency_interval_s"][1], record["accuracy"]) for record in records)


def closed_form(accuracies, draws):
    """Expected regret, and probability of coming near, of the best of draws without replacement."""
    best_first = sorted(accuracies, reverse=True)
    count, draws = len(best_first), min(draws, len(best_first))
    near = sum(best_first[0] - accuracy <= NEAR + 1e-12 for accuracy in best_first)
    ways = math.comb(count, draws)
    # The best has rank r where r is drawn and the other draws all rank below it.
    shares = (math.comb(count - 1 - rank, draws - 1) / ways for rank in range(count - draws + 1))
    expected = math.fsum(share * accuracy for share, accuracy in zip(shares, best_first))
    return best_first[0] - expected, 1 - math.comb(count - near, draws) / ways


def ranged(estimate, factor, sign=""):
    low, high = (factor * end for end in estimate["interval"] or (math.nan, math.nan))
    return f"{factor * estimate['value']:{sign}.3f} ({low:.3f} to {high:.3f})"


def rows(quantile, result, accuracies):
    budget = f"{100 * quantile:.0f} %, {1e3 * result['budget_s']:.3f} ms"
    for outcome in result["strategies"]:
        steps = outcome["evaluations_to_near"]
        verdict = outcome["verdict"] or result["note"] or "baseline"
        yield [
            budget, outcome["name"], str(outcome["evaluations"]), ranged(outcome["regret"], 100),
            f"{100 * outcome['share_near']:.1f} %", "-" if steps is None else f"{steps:.0f}",
            f"{100 * outcome['share_learnt']:.0f} %", f"{outcome['hypervolume']:.4f}", f"{100 * outcome['latency_gap']:.1f} %",
            ranged(outcome["relative_improvement"], 1, "+"), verdict,
        ]
        if outcome["name"].startswith("random"):
            regret, near = closed_form(accuracies, outcome["evaluations"])
            name = f"{outcome['name']}, closed form"
            yield [budget, name, str(outcome["evaluations"]), f"{100 * regret:.3f}", f"{100 * near:.1f} %", *["-"] * 6]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.path.join(HERE, "..", "target", "search-strategies"))
    parser.add_argument("--quantiles", default="0.25,0.5,0.75")
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--strategies", help="default: all")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    table = os.path.join(arguments.out, "table.json")
    if not os.path.exists(table):
        print(f"profiling {SPACE}", file=sys.stderr)
        netfit("profile", "--space", SPACE, "--device", "cpu:threads=1", "--out", table, "--restart")
    networks = walk(table, arguments.out)
    lines = [["budget", "strategy", "networks", "regret, points", "within 0.1 point", "networks to 0.1 point",
              "learnt", "hypervolume", "abs(LAT - T) / T", "over random, %", "verdict"]]
    for quantile in map(float, arguments.quantiles.split(",")):
        inside = networks[:max(1, math.ceil(quantile * len(networks)))]
        name = os.path.join(arguments.out, f"{100 * quantile:.0f}")
        print(f"comparing at the {100 * quantile:.0f} % quantile", file=sys.stderr)
        # A hair above the slowest that is to be inside, lest the unit's conversion cut it off.
        budget = f"{inside[-1][0] * 1e6 * (1 + 1e-12)!r}us"
        more = ["--strategies", arguments.strategies] if arguments.strategies else []
        result = netfit("compare", "--space", SPACE, "--table", table, "--accuracy", ACCURACY, "--budget", budget,
                        "--evaluations", arguments.evaluations, "--seeds", arguments.seeds, "--plot", name + ".svg", *more)
        with open(name + ".json", "w") as file:
            json.dump(result, file, indent=1)
        inside = [network for network in networks if network[0] <= result["budget_s"]]
        assert len(inside) == result["truth"]["networks"], "the walk and the comparison disagree on what is feasible"
        lines += rows(quantile, result, [accuracy for _, accuracy in inside])
    seeds = f"{arguments.seeds} seeds, {arguments.evaluations} networks each"
    print(f"NAS-Bench-Macro, {seeds}; ranges are 95 % bootstrap intervals over seeds\n")
    print_table(lines)


if __name__ == "__main__":
    main()
