"""A cluster of real processes, made with `tenure up` as a person would."""

import os
import pathlib
import signal
import time
import urllib.error
import urllib.request

import redis
import redis.cluster

from harness import system


class Cluster:
    def __init__(self, case, directory, base, nodes=3, separate=False):
        self.case = case
        self.directory = pathlib.Path(directory)
        self.base = base
        self.nodes = nodes
        self.separate = separate

    # ---- layout, as docs/cli.md says ----

    @property
    def names(self):
        if self.separate:
            return [f"c{i}" for i in (1, 2, 3)] + [f"n{i}" for i in range(1, self.nodes + 1)]
        return [str(i) for i in range(1, self.nodes + 1)]

    @property
    def node_names(self):
        return [name for name in self.names if not name.startswith("c")]

    def rpc_port(self, name):
        number = int(name.lstrip("cn"))
        return self.base + (100 if name.startswith("n") else 0) + 10 * number

    def resp_port(self, name):
        return self.rpc_port(name) + 1

    def http_port(self, name):
        return self.rpc_port(name) + 2

    def host(self, _name):
        """Where the process listens."""
        return "127.0.0.1"

    def rpc_address(self, name):
        return f"{self.host(name)}:{self.rpc_port(name)}"

    @property
    def controllers(self):
        count = 3 if self.separate or self.nodes >= 3 else 1
        return ",".join(self.rpc_address(name) for name in self.names[:count])

    def process_directory(self, name):
        return self.directory / name

    def log(self, name):
        path = self.process_directory(name) / "tenured.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def complaints(self):
        """Lines in the logs that stand for a bug, whatever else a case saw."""
        return [f"{name}: {line}" for name in self.names for line in self.log(name).splitlines()
                if any(sign in line for sign in ("CHECK failed", "Sanitizer", "terminate called"))]

    def pid(self, name):
        return int((self.process_directory(name) / "tenured.pid").read_text())

    def running(self, name):
        try:
            return system.alive(self.pid(name))
        except (OSError, ValueError):
            return False

    # ---- its life ----

    def up(self, *arguments, expect=0, timeout=90, env=None):
        command = ["up", "--detach", "--data", self.directory, "--base-port", self.base, "--nodes", self.nodes]
        if self.separate:
            command.append("--separate")
        return self.case.tenure(*command, *arguments, expect=expect, timeout=timeout, env=env)

    def start(self, *names):
        """Starts processes that `up` has made and that have ended, without waiting for anything."""
        for name in names:
            directory = self.process_directory(name)
            with open(directory / "tenured.log", "ab") as log:
                process = self.case.start(self.case.binary("tenured"), "--config", directory / "tenured.toml", "--data",
                                          directory, stdout=log, stderr=log)
            (directory / "tenured.pid").write_text(f"{process.pid}\n")

    def down(self, *arguments, expect=0, timeout=60):
        return self.case.tenure("down", "--data", self.directory, *arguments, expect=expect, timeout=timeout)

    def signal(self, name, number):
        os.kill(self.pid(name), number)

    def wait_gone(self, name, limit=30):
        pid = self.pid(name)
        system.until(lambda: not system.alive(pid), limit, f"process {name} ({pid}) has ended", interval=0.005)

    def kill(self, *names):
        """SIGKILL to all of them at once."""
        for name in names:
            self.signal(name, signal.SIGKILL)
        for name in names:
            self.wait_gone(name)

    def stop(self, *names):
        """A clean stop."""
        for name in names:
            self.signal(name, signal.SIGTERM)
        for name in names:
            self.wait_gone(name)

    # ---- asking it ----

    def tenure(self, *arguments, **options):
        return self.case.tenure(*arguments, controllers=self.controllers, **options)

    def json(self, *arguments, **options):
        return self.tenure(*arguments, "--output", "json", **options).json

    def status(self):
        return self.json("status")

    def metrics(self, name):
        """Metrics without labels."""
        with urllib.request.urlopen(f"http://{self.host(name)}:{self.http_port(name)}/metrics", timeout=5) as answer:
            lines = [line.split() for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {line[0]: float(line[1]) for line in lines if "{" not in line[0]}

    def ready(self, name):
        """What /readyz says: the process serves, and another one may be stopped."""
        try:
            with urllib.request.urlopen(f"http://{self.host(name)}:{self.http_port(name)}/readyz", timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    def leader(self):
        """Name of the process whose controller leads, once there is one."""

        def look():
            leader = self.status()["leader"]
            return leader and leader["address"]

        address = system.until(look, 20, "a controller leads")
        return next(name for name in self.names if address.endswith(f":{self.rpc_port(name)}"))

    def wait_serving(self, limit=30):
        """Every region has a leader and every running node says so."""

        def look():
            regions = self.json("region", "list", timeout=15)
            return regions and all(region["leader"] for region in regions) and all(
                self.redis(name).cluster("info")["cluster_state"] == "ok"
                for name in self.node_names if self.running(name))

        system.until(look, limit, "every region has a leader", interval=0.1)

    def while_leaders_stay(self, check, limit=40):
        """Runs a check that needs every region's leader to stay where it is; once more if one went while it ran."""

        def leaders():
            self.wait_serving()
            return [(region["id"], region["leader"]) for region in self.json("region", "list")]

        end = time.monotonic() + limit
        while True:
            before = leaders()
            try:
                return check()
            except AssertionError:
                if leaders() == before or time.monotonic() > end:
                    raise

    def redis(self, name=None, **options):
        """A plain connection to one process."""
        options.setdefault("socket_timeout", 10)
        name = name or self.node_names[0]
        return redis.Redis(host=self.host(name), port=self.resp_port(name), decode_responses=True, **options)

    def redis_cluster(self, **options):
        options.setdefault("socket_timeout", 10)
        nodes = [redis.cluster.ClusterNode(self.host(name), self.resp_port(name)) for name in self.node_names]
        client = redis.cluster.RedisCluster(startup_nodes=nodes, decode_responses=True, dynamic_startup_nodes=False,
                                            **options)
        # python3-redis 4.3.4 asks the startup nodes after a failure, and fails itself to connect to those it has not
        # asked before ("cannot pickle '_thread.lock' object"): so it gets all of its connections now.
        manager = client.nodes_manager
        for node in manager.startup_nodes.values():
            if node.redis_connection is None:
                node.redis_connection = manager.create_redis_node(node.host, node.port, **manager.connection_kwargs)
        return client

    def redis_cli(self, name, *arguments, **options):
        return self.case.run("redis-cli", "-c", "-h", self.host(name), "-p", self.resp_port(name), *arguments, **options)

    def wait_writable(self, limit=30):
        """A write to each of many slots is acknowledged; the time it took."""
        begin = time.monotonic()

        def look():
            client = self.redis_cluster()
            for i in range(64):
                client.set(f"writable:{i}", "1")
            client.close()
            return True

        system.until(look, limit, "all slots take writes", interval=0.1)
        return time.monotonic() - begin
