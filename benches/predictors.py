#!/usr/bin/env python3
"""What accuracy predictors are worth: netfit predictor evaluate on NAS-Bench-Macro, whose 6,561 accuracies are all known.

usage: benches/predictors.py [--out FOLDER] [--sizes 50,100,200,500,1000] [--repeats N] [--seed N] [--predictors LIST]

Every predictor is fitted on random networks and judged on all others. Multiply-adds and parameters stand beside them;
latency, too, where FOLDER holds a table.json of the space. FOLDER also holds the JSON and the learning curve.
"""

import argparse
import json
import os
import subprocess
import sys

from markdown import print_table

HERE = os.path.dirname(os.path.abspath(__file__))
NETFIT = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target")), "release", "netfit")
DATA = os.path.join(HERE, "..", "tests", "data", "nas-bench-macro.csv")
ACCURACY = f"csv:{DATA},genotype=arch,accuracy=mean_acc,unit=percent"
ALL = "ensemble,ranked-mlp,gaussian-process,second-order-ridge,kernels,mlp,ridge,random-forest"
# What the default predictor has to reach at these sizes.
REQUIRED = {50: 0.82, 100: 0.875, 200: 0.90, 500: 0.92, 1000: 0.93}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=os.path.join(HERE, "..", "target", "predictors"))
    parser.add_argument("--sizes", default="50,100,200,500,1000")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--predictors", default=ALL)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    command = [NETFIT, "predictor", "evaluate", "--space", "nas-bench-macro", "--data", ACCURACY, "--predictor",
               arguments.predictors, "--sizes", arguments.sizes, "--repeats", str(arguments.repeats), "--seed",
               str(arguments.seed), "--plot", os.path.join(arguments.out, "learning.svg"), "--json"]
    table = os.path.join(arguments.out, "table.json")
    if os.path.exists(table):
        command += ["--table", table]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(done.returncode)
    result = json.loads(done.stdout)
    with open(os.path.join(arguments.out, "predictors.json"), "w") as file:
        json.dump(result, file, indent=1)
    sizes = result["sizes"]
    print(f"NAS-Bench-Macro, {result['repeats']} splits, seed {result['seed']}; mean over splits on all other networks\n")
    for key, title, factor, decimals in [("kendall_tau", "Kendall tau", 1, 3), ("rmse", "RMSE, points", 100, 2),
                                         ("regret", "regret of the predicted best, points", 100, 2),
                                         ("top_overlap", f"overlap of the best {result['top']}", 1, 2),
                                         ("fit_seconds", "seconds of a fit", 1, 2)]:
        lines = [[title] + [f"n = {size['size']}" for size in sizes]]
        for index, ranker in enumerate(sizes[0]["rankers"]):
            values = [size["rankers"][index][key] for size in sizes]
            if values[0] is None:
                continue
            numbers = [value if key == "fit_seconds" else value["value"] for value in values]
            lines.append([ranker["name"]] + [f"{factor * number:.{decimals}f}" for number in numbers])
        print_table(lines)
        print()
    for size in sizes:
        required = REQUIRED.get(size["size"])
        if required is not None and size["rankers"][0]["name"] == "ensemble":
            tau = size["rankers"][0]["kendall_tau"]
            low, high = tau["interval"] or (tau["value"], tau["value"])
            verdict = "reached" if tau["value"] >= required else "MISSED"
            print(f"ensemble at n = {size['size']}: tau {tau['value']:.4f} ({low:.4f} to {high:.4f}), required {required}: {verdict}")


if __name__ == "__main__":
    main()
