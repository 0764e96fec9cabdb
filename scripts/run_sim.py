#!/usr/bin/python3
"""Runs many seeds of the simulator on all cores; last line "N passed, N failed".

    scripts/run_sim.py BINARY --seeds N [--first S] [--fail-fast] [other arguments of the simulator]

A simulation runs on one thread, so this starts one process per core, each with a share of the seeds (`--first S
--seeds K`). Only exit codes count: 0 all passed, 2 wrong usage, anything else (a violated invariant, an abort by a
check, a run that does not end) is a failure, and then the seeds of that share are run one by one to name the bad ones.
--fail-fast stops at the first share that fails. "first failing seed: S" is printed when there is one.

The sum of what was simulated is printed in the end, and how often the rare paths of the program were taken
(src/base/rare_path.h): in a run of at least RARE_PATH_SEEDS seeds each must have been.
"""

import argparse
import collections
import concurrent.futures
import os
import subprocess
import sys
import threading
import time

SEED_LIMIT_S = int(os.environ.get("TENURE_SIM_SEED_LIMIT", "120"))  # of one seed; a share has that for each
RARE_PATH_SEEDS = 10000
USAGE = 2
TAIL = 25

stop = threading.Event()


def run(command, limit):
    """(exit code or None when it did not end, output)"""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        return None, (e.stdout or b"").decode(errors="replace")


class Sum:
    """Of the lines "totals: ..." and "rare: ..." of all shares that ended."""

    def __init__(self):
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.totals = collections.Counter()
        self.rare = collections.Counter()

    def add(self, output):
        with self.lock:
            for line in output.splitlines():
                if line.startswith("totals: "):
                    for item in line.split()[1:]:
                        name, value = item.split("=")
                        self.totals[name] += float(value)
                elif line.startswith("rare: "):
                    _, hits, name = line.split(None, 2)
                    self.rare[name] += int(hits)

    def report(self):
        """The rare paths that were never taken."""
        t = self.totals
        if t["core_s"] > 0:
            print(f"{t['seeds']:.0f} seeds, {t['runs']:.0f} runs: {t['simulated_min'] / 60:.1f} simulated hours, "
                  f"{t['events']:.0f} events, {t['databases']:.0f} databases created and dropped, "
                  f"{t['undecided']:.0f} registers undecided; "
                  f"{time.monotonic() - self.began:.0f} s, {t['core_s']:.0f} core seconds: "
                  f"{t['simulated_min'] / t['core_s']:.1f} cluster-minutes per core second")
        never = sorted(name for name, hits in self.rare.items() if hits == 0)
        print(f"rare paths: {len(self.rare) - len(never)} of {len(self.rare)} taken")
        for name in never:
            print(f"  never taken: {name}")
        return never


def share(command, first, count, total):
    """{seed: (exit code, output)} of the seeds that failed; None when it was not started."""
    if stop.is_set():
        return None
    code, output = run([*command, "--first", str(first), "--seeds", str(count)], SEED_LIMIT_S * count)
    total.add(output)
    if code == 0:
        return {}
    if code == USAGE or count == 1:
        return {first: (code, output)}
    failed = {}
    for seed in range(first, first + count):
        one, text = run([*command, "--first", str(seed), "--seeds", "1"], SEED_LIMIT_S)
        if one != 0:
            failed[seed] = (one, text)
    # Each seed alone is well, together they are not: state leaks from one run into the next.
    return failed or {first: (code, output + f"\nseeds {first}..{first + count - 1} fail together, none fails alone\n")}


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("binary")
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--fail-fast", action="store_true")
    options, rest = parser.parse_known_args()

    command = [options.binary, "--rare-paths", *rest]
    total = Sum()
    cores = os.cpu_count() or 1
    size = max(1, min(20, options.seeds // (cores * 4)))
    end = options.first + options.seeds
    shares = [(s, min(size, end - s)) for s in range(options.first, end, size)]

    failed, ran, shown = {}, 0, 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=cores) as pool:
        futures = [(pool.submit(share, command, s, n, total), n) for s, n in shares]
        for future, n in futures:
            result = future.result()
            if result is None:
                continue
            ran += n
            failed.update(result)
            for seed, (code, output) in result.items():
                if code == USAGE:
                    stop.set()
                    pool.shutdown(cancel_futures=True)
                    print(output.rstrip())
                    return USAGE
                if shown < 5:
                    how = "did not end" if code is None else f"signal {-code}" if code < 0 else f"exit {code}"
                    print(f"---- seed {seed}: {how}")
                    lines = [line for line in output.splitlines() if not line.startswith("rare: ")]
                    print("\n".join(lines[-TAIL:]))
                    shown += 1
            sys.stdout.flush()
            if failed and options.fail_fast:
                stop.set()
    if failed:
        print("failed seeds:", *sorted(failed))
        print("first failing seed:", min(failed))
        print("again: ./dev sim --seed", min(failed), *rest, "--trace")
    never = total.report()
    if never and ran >= RARE_PATH_SEEDS and not failed:
        print(f"simulation: {ran} passed, {len(never)} failed")
        return 1
    print(f"simulation: {ran - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
