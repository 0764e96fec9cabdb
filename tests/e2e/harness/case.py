"""What a case is given: a directory, ports, the binaries, and checks that say what they saw."""

import json
import os
import pathlib
import re
import subprocess
import time

from harness import cluster as clusters
from harness import system

FULL = os.environ.get("E2E_DOSE") == "full"


class Result:
    """Of a program that has ended."""

    def __init__(self, command, code, out, err, seconds):
        self.command, self.code, self.out, self.err, self.seconds = command, code, out, err, seconds

    def __str__(self):
        return (f"$ {' '.join(map(str, self.command))}\nexit {self.code} after {self.seconds:.1f} s\n"
                f"stdout: {self.out.strip()[-2000:]}\nstderr: {self.err.strip()[-2000:]}")

    @property
    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as e:
            raise AssertionError(f"stdout is no JSON ({e}):\n{self}") from None

    @property
    def refusal(self):
        """The object that --output json puts on stderr."""
        try:
            return json.loads(self.err)
        except ValueError as e:
            raise AssertionError(f"stderr is no JSON ({e}):\n{self}") from None


class Case:
    def __init__(self, name, directory, binaries, shared_cluster=None):
        self.name = name
        self.directory = pathlib.Path(directory)
        self.binaries = pathlib.Path(binaries)
        self.shared_cluster = shared_cluster
        self.clusters = []  # all that the case has made
        self.full = FULL

    # ---- programs ----

    def binary(self, name):
        path = self.binaries / name
        assert path.exists(), f"{path} does not exist: set TENURE_BIN, or ./dev build release"
        return str(path)

    def run(self, *command, timeout=30, stdin=None, env=None):
        """Runs a program to its end; a hang is a failure."""
        begin = time.monotonic()
        try:
            done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, timeout=timeout,
                                  text=True, errors="replace", env={**os.environ, **(env or {})})
        except subprocess.TimeoutExpired as e:
            raise AssertionError(f"still running after {timeout} s: {' '.join(map(str, command))}\n"
                                 f"stdout: {e.stdout}\nstderr: {e.stderr}") from None
        return Result(command, done.returncode, done.stdout, done.stderr, time.monotonic() - begin)

    def start(self, *command, **options):
        """A program in the background; the suite ends it with the case if nobody does before."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([str(c) for c in command], text=True, **options)

    def tenure(self, *arguments, expect=0, controllers=None, env=None, **options):
        env = {**(env or {}), **({"TENURE_CONTROLLERS": controllers} if controllers else {})}
        result = self.run(self.binary("tenure"), *arguments, env=env, **options)
        if expect is not None:
            assert result.code == expect, f"expected exit {expect}:\n{result}"
        return result

    # ---- clusters ----

    def new_cluster(self, name="data", **options):
        """A cluster of the case's own, not yet running."""
        self.clusters.append(clusters.Cluster(self, self.directory / name, system.find_base_port(), **options))
        return self.clusters[-1]

    def cluster(self, **options):
        """A running one: the suite's for cases with shared=True, else the case's own."""
        if self.shared_cluster is not None:
            directory, base = pathlib.Path(self.shared_cluster["directory"]), self.shared_cluster["base"]
            self.clusters.append(clusters.Cluster(self, directory, base))
            return self.clusters[-1]
        cluster = self.new_cluster(**options)
        cluster.up()
        return cluster

    def check_logs(self):
        """After every case: no process may have found a broken invariant."""
        complaints = [line for cluster in self.clusters for line in cluster.complaints()]
        assert not complaints, "in the logs:\n" + "\n".join(complaints[:10])

    # ---- checks ----

    def note(self, text):
        """Shown below the case's line."""
        print(f"note: {text}", flush=True)

    def equal(self, seen, wanted, what=""):
        assert seen == wanted, f"{what + ': ' if what else ''}{seen!r}, should be {wanted!r}"

    def matches(self, text, pattern, what=""):
        assert re.search(pattern, text, re.I | re.S), f"{what + ': ' if what else ''}{text!r} does not match {pattern!r}"

    def error_line(self, result, pattern, code=1):
        """Exit code and the one line on stderr that docs/cli.md promises."""
        assert result.code == code, f"expected exit {code}:\n{result}"
        lines = result.err.strip().splitlines()
        assert len(lines) == 1 and re.match(r"error: [A-Z_]+: \S", lines[0]), f"no single error line:\n{result}"
        self.matches(lines[0], pattern, str(result))
