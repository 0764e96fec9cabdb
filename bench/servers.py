"""Servers that the benchmarks start: a Tenure cluster, an etcd cluster, a redis-server. All on loopback, all data below
one temporary directory (so on one disk), everything ended and removed with it."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("TENURE_BIN", ROOT / "build" / "bin")).absolute()
RESULTS = ROOT / "build" / "bench"


def fail(text):
    sys.exit(f"bench: {text}")


def program(name):
    """One of ours, or a Debian package's."""
    own = BIN / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        fail(f"{name} is neither in {BIN} nor in PATH; ./dev bench builds and installs what is needed")
    return found


def free_ports(count):
    """The first of `count` free ports in a row, below the range of outgoing connections."""
    for _ in range(100):
        first = random.randrange(12000, 31000, 100)
        sockets = []
        try:
            for port in range(first, first + count):
                sockets.append(socket.create_server(("127.0.0.1", port)))
            return first
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()
    fail("no free ports between 12000 and 31000")


def answers(url, unless=None):
    """200, or a refusal that says `unless`."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        return unless is not None and unless in error.read().decode(errors="replace")


def wait_until(condition, seconds, what, interval=0.05):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, ValueError, KeyError, subprocess.SubprocessError):
            pass
        if time.monotonic() > deadline:
            fail(f"{what}: not within {seconds} s")
        time.sleep(interval)


class Workspace:
    """A temporary directory and what was started in it; leave it and all of that is gone."""

    def __init__(self):
        self.path = None
        self.at_end = []

    def __enter__(self):
        # A signal must not leave servers behind.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="tenure-bench-"))
        return self

    def __exit__(self, *_):
        for action in reversed(self.at_end):
            action()
        shutil.rmtree(self.path, ignore_errors=True)

    def start(self, name, *command):
        log = open(self.path / f"{name}.log", "wb")
        process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

        def stop():
            process.kill()
            process.wait()

        self.at_end.append(stop)
        return process


class Tenure:
    """Three processes, both roles, as `tenure up` makes them; with `separate_nodes`, three controllers and so many nodes."""

    name = "tenure"

    def __init__(self, workspace, separate_nodes=0):
        self.workspace = workspace
        self.prefix = "c" if separate_nodes else ""
        self.directory = workspace.path / f"tenure-{separate_nodes}"
        more = ["--separate", "--nodes", str(separate_nodes)] if separate_nodes else []
        base = free_ports(100 + 10 * separate_nodes if separate_nodes else 40) - 10
        self.base = base
        workspace.at_end.append(self.stop)
        self.endpoints = [f"127.0.0.1:{base + 10 * i}" for i in (1, 2, 3)]
        self.controllers = ",".join(self.endpoints)
        self.resp_port = base + 11
        done = subprocess.run([program("tenure"), "up", "--detach", "--data", str(self.directory), "--base-port", str(base)] + more,
                              capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"tenure up: {done.stderr.strip()}")
        self.pids = [self.pid_of(endpoint) for endpoint in self.endpoints]

    def directory_of(self, endpoint):
        return self.directory / f"{self.prefix}{self.endpoints.index(endpoint) + 1}"

    def pid_of(self, endpoint):
        return int((self.directory_of(endpoint) / "tenured.pid").read_text())

    def start(self, endpoint):
        """Starts a member that has ended."""
        directory = self.directory_of(endpoint)
        log = open(directory / "tenured.log", "ab")
        process = subprocess.Popen([program("tenured"), "--config", str(directory / "tenured.toml")], stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL)
        self.workspace.at_end.append(lambda: (process.kill(), process.wait()))
        (directory / "tenured.pid").write_text(f"{process.pid}\n")

    def wait_ready(self, endpoint):
        url = f"http://127.0.0.1:{int(endpoint.rsplit(':', 1)[1]) + 2}/readyz"
        wait_until(lambda: answers(url, unless="may vote"), 60, "tenured is ready", 0.005)

    def restart(self, endpoint):
        """Starts a member that has ended, and waits until it serves."""
        self.start(endpoint)
        self.wait_ready(endpoint)

    def status(self):
        done = subprocess.run([program("tenure"), "status", "--output", "json", "--controllers", self.controllers],
                              capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def leader(self):
        return self.status()["leader"]["address"]

    def metric(self, endpoint, name):
        """Of a metric without labels."""
        url = f"http://127.0.0.1:{int(endpoint.rsplit(':', 1)[1]) + 2}/metrics"
        with urllib.request.urlopen(url, timeout=2) as answer:
            return next(float(line.split()[1]) for line in answer.read().decode().splitlines() if line.startswith(name + " "))

    def stop(self):
        subprocess.run([program("tenure"), "down", "--kill", "--data", str(self.directory)], capture_output=True)


class Etcd:
    """Three members with their defaults, election timers named: heartbeat 100 ms, election 1 s, as Tenure's."""

    name = "etcd"

    def __init__(self, workspace):
        first = free_ports(6)
        self.workspace = workspace
        self.endpoints = [f"127.0.0.1:{first + 2 * i}" for i in range(3)]
        self.clients = self.endpoints
        self.peers = [f"http://127.0.0.1:{first + 2 * i + 1}" for i in range(3)]
        self.processes = [self.start(i) for i in range(3)]
        self.pids = [process.pid for process in self.processes]
        wait_until(self.leader, 30, "etcd elects a leader")

    def start(self, i):
        cluster = ",".join(f"m{j}={peer}" for j, peer in enumerate(self.peers))
        return self.workspace.start(
            f"etcd-{i}", program("etcd"), "--name", f"m{i}", "--data-dir", self.workspace.path / f"etcd-{i}",
            "--listen-client-urls", f"http://{self.clients[i]}", "--advertise-client-urls", f"http://{self.clients[i]}",
            "--listen-peer-urls", self.peers[i], "--initial-advertise-peer-urls", self.peers[i],
            "--initial-cluster", cluster, "--initial-cluster-state", "new",
            "--heartbeat-interval", "100", "--election-timeout", "1000")

    def directory_of(self, endpoint):
        return self.workspace.path / f"etcd-{self.endpoints.index(endpoint)}"

    def pid_of(self, endpoint):
        return self.processes[self.endpoints.index(endpoint)].pid

    def restart(self, endpoint):
        """Starts a member that has ended, and waits until it serves."""
        i = self.endpoints.index(endpoint)
        self.processes[i].wait()
        self.processes[i] = self.start(i)
        self.pids[i] = self.processes[i].pid
        wait_until(lambda: answers(f"http://{endpoint}/health"), 120, "etcd is healthy", 0.005)

    def leader(self):
        done = subprocess.run([program("etcdctl"), "--endpoints", ",".join(self.clients), "endpoint", "status", "-w", "json"],
                              capture_output=True, text=True, check=True, env={**os.environ, "ETCDCTL_API": "3"})
        for member in json.loads(done.stdout):
            status = member["Status"]
            if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                return member["Endpoint"]
        return None

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


class Redis:
    """One server with an append-only file. fsync: always or everysec."""

    def __init__(self, workspace, fsync):
        self.name = f"redis {fsync}"
        self.port = free_ports(1)
        directory = workspace.path / f"redis-{fsync}"
        directory.mkdir()
        self.process = workspace.start(f"redis-{fsync}", program("redis-server"), "--port", self.port, "--bind", "127.0.0.1",
                                       "--dir", directory, "--appendonly", "yes", "--appendfsync", fsync, "--save", "")
        wait_until(lambda: socket.create_connection(("127.0.0.1", self.port), timeout=1).close() is None, 10, "redis-server")

    def stop(self):
        self.process.kill()
        self.process.wait()


def print_table(headings, rows):
    cells = [[str(c) for c in row] for row in [headings] + rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    for row in cells:
        print("  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))))
    print(flush=True)


def machine():
    """What the figures depend on; nothing that names the machine."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    return {"cpus": os.cpu_count(), "cpu": model, "date": time.strftime("%Y-%m-%d")}


def write_results(name, results):
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(f"written: {path.relative_to(ROOT)}")
