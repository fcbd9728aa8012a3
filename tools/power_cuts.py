#!/usr/bin/env python3
"""Simulated power cuts through the whole broker, a seed each: a million unless told otherwise.

Usage: tools/power_cuts.py [--seeds N] [--from SEED]

Runs `server_test` of the release build on all cores, shows how far it is, and ends at the first seed that fails, saying
how to repeat it. Exit status: 0 all passed, 1 one failed.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEST = ROOT / "build" / "bin" / "server_test"
FILTER = "PowerCut.OneAfterTheOther*"
PART = 500  # seeds of one process


def run(first, count):
    done = subprocess.run([TEST, f"--gtest_filter={FILTER}", "--gtest_brief=1"], capture_output=True, text=True,
                          check=False, env={**os.environ, "PRONTO_POWER_SEEDS": f"{first}:{count}"})
    return count, done.returncode, done.stdout + done.stderr


def show(done, all_of_them, started):
    share = done / all_of_them
    took = time.monotonic() - started
    left = took / share - took if share else 0
    if sys.stderr.isatty():
        bar = "#" * round(30 * share)
        print(f"\r[{bar:<30}] {done:,} of {all_of_them:,} power cuts' seeds, {left:,.0f} s left  ",
              end="", file=sys.stderr, flush=True)
    elif done == all_of_them or done // PART % 200 == 0:
        print(f"{done:,} of {all_of_them:,} seeds, {took:,.0f} s", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1_000_000)
    parser.add_argument("--from", type=int, default=1, dest="first")
    options = parser.parse_args()
    subprocess.run([ROOT / "tools" / "build.sh", "release", "test"], check=True)
    parts = [(at, min(PART, options.first + options.seeds - at))
             for at in range(options.first, options.first + options.seeds, PART)]
    started, done = time.monotonic(), 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        waiting = [workers.submit(run, *part) for part in parts]
        for one in concurrent.futures.as_completed(waiting):
            count, status, output = one.result()
            if status != 0:
                workers.shutdown(wait=False, cancel_futures=True)
                print(f"\n{output}", file=sys.stderr)
                seed = re.search(r"PRONTO_POWER_SEED=(\d+)", output)
                if seed:
                    print(f"repeat it: {seed[0]} {TEST.relative_to(ROOT)} --gtest_filter='{FILTER}'", file=sys.stderr)
                return 1
            done += count
            show(done, options.seeds, started)
    print(f"\n{done:,} seeds passed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
