#!/usr/bin/python3
"""Shrinks a failing run of the simulator to a scenario with as few faults and as little else as still fails.

    scripts/minimize_sim.py BINARY (--seed S | --scenario FILE) [--output FILE]

The run is written down as a scenario (tenure-sim --print-scenario) and then, as long as it goes on to fail in the
same way: faults are taken out, in halves first and then one by one; what is drawn besides is set back to its default;
there are fewer clients, the faults that are left are shorter and the run ends sooner. "In the same way" is the same
violated invariant, or the same failed check. Prints the scenario and what it violates; exit 0 when it was shrunk, 1
when the run does not fail, 2 for wrong usage.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib

LIMIT_S = int(os.environ.get("TENURE_SIM_SEED_LIMIT", "120"))


def render(scenario):
    """TOML of what FormatScenario (sim/scenario.cc) prints: numbers, booleans, tables and faults."""
    def value(v):
        if isinstance(v, bool):
            return "true" if v else "false"
        return f'"{v}"' if isinstance(v, str) else str(v)

    lines = [f"seed = {scenario['seed']}"]
    for name, table in scenario.items():
        if isinstance(table, dict) and table:
            lines += ["", f"[{name}]", *(f"{k} = {value(v)}" for k, v in table.items())]
    for fault in scenario.get("fault", []):
        lines += ["", "[[fault]]", *(f"{k} = {value(v)}" for k, v in fault.items())]
    return "\n".join(lines) + "\n"


class Runs:
    def __init__(self, binary):
        self.binary = binary
        self.count = 0
        self.directory = tempfile.mkdtemp(prefix="tenure-minimize-")
        self.file = os.path.join(self.directory, "scenario.toml")

    def of(self, scenario):
        """(how it fails or None if it does not, output)"""
        self.count += 1
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(render(scenario))
        try:
            done = subprocess.run([self.binary, "--scenario", self.file], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return "does not end", ""
        output = done.stdout.decode(errors="replace")
        if done.returncode in (0, 2):
            return None, output
        violated = re.search(r"violated: ([^:]*):", output)
        check = re.search(r"CHECK failed at (\S+:\d+)", output)
        return (violated or check).group(1) if violated or check else f"exit {done.returncode}", output


def without(scenario, key, value):
    return {**scenario, key: value}


class Minimizer:
    def __init__(self, runs, scenario, how):
        self.runs, self.best, self.how = runs, scenario, how

    def attempt(self, candidate):
        if candidate == self.best or self.runs.of(candidate)[0] != self.how:
            return False
        self.best = candidate
        return True

    def fewer_faults(self):
        size = max(1, len(self.best["fault"]) // 2)
        while self.best["fault"]:
            taken, at = False, 0
            while at < len(self.best["fault"]):
                faults = self.best["fault"]
                if self.attempt(without(self.best, "fault", faults[:at] + faults[at + size:])):
                    taken = True
                else:
                    at += size
            if size == 1 and not taken:
                return
            size = max(1, size // 2)

    def defaults(self):
        for name in [k for k, v in self.best.items() if isinstance(v, dict)]:
            for key in list(self.best[name]):
                table = {k: v for k, v in self.best[name].items() if k != key}
                self.attempt(without(self.best, name, table))
        workload = self.best.get("workload", {})
        for key in ("key_clients", "entry_clients", "registers"):
            self.attempt(without(self.best, "workload", {**workload, key: 1}))
            workload = self.best.get("workload", {})
        self.attempt(without(self.best, "cluster", {**self.best.get("cluster", {}), "regions": 1}))

    def shorter(self):
        for i, fault in enumerate(self.best["fault"]):
            while fault.get("length_ms", 0) > 50:
                fault = {**fault, "length_ms": fault["length_ms"] // 2}
                faults = self.best["fault"]
                if not self.attempt(without(self.best, "fault", faults[:i] + [fault] + faults[i + 1:])):
                    break
        end = max([f["at_ms"] + f.get("length_ms", 0) for f in self.best["fault"]], default=0)
        run = self.best.get("run", {})
        for phase in (end + 500, end + 2000, end + 8000):
            if phase < run.get("fault_phase_ms", 40000) and self.attempt(
                    without(self.best, "run", {**run, "fault_phase_ms": max(1000, phase)})):
                return


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("binary")
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("--seed", type=int)
    one.add_argument("--scenario")
    parser.add_argument("--output")
    options = parser.parse_args()
    if options.scenario:
        with open(options.scenario, encoding="utf-8") as file:
            text = file.read()
    else:
        text = subprocess.run([options.binary, "--seed", str(options.seed), "--print-scenario"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
    scenario = tomllib.loads(text)
    scenario.setdefault("fault", [])
    runs = Runs(options.binary)
    how, output = runs.of(scenario)
    if how is None:
        print(output.rstrip())
        print("the run does not fail")
        return 1
    print(f"fails by: {how}; {len(scenario['fault'])} faults", flush=True)
    minimizer = Minimizer(runs, scenario, how)
    minimizer.fewer_faults()
    print(f"{len(minimizer.best['fault'])} faults are left after {runs.count} runs", flush=True)
    minimizer.defaults()
    minimizer.shorter()
    minimizer.fewer_faults()
    print(runs.of(minimizer.best)[1].rstrip())
    text = render(minimizer.best)
    print(f"---- shrunk to {len(minimizer.best['fault'])} faults by {runs.count} runs")
    print(text, end="")
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"---- again: build/sim/bin/tenure-sim --scenario {options.output} --trace")
    os.remove(runs.file)
    os.rmdir(runs.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
