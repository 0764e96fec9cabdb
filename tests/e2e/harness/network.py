"""A network of the case's own: every process has a machine, a network namespace on one bridge, and links are cut with packet
filters. What is cut is dropped, not refused: the address still answers ARP, as behind a broken switch or a firewall.

The namespaces have no names and belong to processes: they are gone with the case, however it ends. `enter` moves the case
itself to the bridge, so all it starts later talks to the machines from there."""

import ctypes
import os
import subprocess

from harness import cluster as clusters
from harness import system

NEWNET, NEWUSER = 0x40000000, 0x10000000  # flags of unshare(2)


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"


def isolate():
    """A network of its own, with nothing but loopback, for this process and all that it starts from now on. Not undone."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEWNET | (0 if user == 0 else NEWUSER)) != 0:
        raise AssertionError(f"no network namespace for this user: {os.strerror(ctypes.get_errno())}; run the suite as root")
    if user != 0:
        for path, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{path}", "w") as file:
                file.write(text)
    run("ip", "link", "set", "lo", "up")


def enter():
    """A bridge besides, for machines."""
    isolate()
    run("ip", "link", "add", "hub", "type", "bridge")
    run("ip", "addr", "add", "10.0.0.254/24", "dev", "hub")
    run("ip", "link", "set", "hub", "up")


class Machine:
    """A network namespace with one address; `holder` keeps it while its process is down."""

    def __init__(self, case, number):
        self.address = f"10.0.0.{number}"
        self.holder = case.start("unshare", "--net", "sleep", "infinity")
        self.inside = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]
        system.until(lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != os.readlink("/proc/self/ns/net"), 10,
                     "unshare has made a network namespace", interval=0.01)
        run("ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid)
        run("ip", "link", "set", f"port{number}", "master", "hub", "up")
        run(*self.inside, "ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        run(*self.inside, "ip", "link", "set", "eth0", "up")
        run(*self.inside, "ip", "link", "set", "lo", "up")

    def cut(self, *others):
        """Drops what comes from and goes to these addresses; without any, everything."""
        self.restore()
        nft = [*self.inside, "nft"]
        run(*nft, "add table inet cut")
        for hook, field in (("input", "saddr"), ("output", "daddr")):
            run(*nft, f"add chain inet cut {hook} {{ type filter hook {hook} priority 0; }}")
            matched = f"ip {field} {{ {', '.join(others)} }} " if others else ""
            run(*nft, f"add rule inet cut {hook} {matched}drop")

    def restore(self):
        run(*self.inside, "nft", "flush ruleset")


class NetworkCluster(clusters.Cluster):
    """Three controllers and some nodes, each on a machine of its own."""

    def __init__(self, case, nodes=3):
        enter()
        super().__init__(case, case.directory / "data", 20000, nodes=nodes, separate=True)
        self.machines = {name: Machine(case, number) for number, name in enumerate(self.names, 1)}
        case.clusters.append(self)

    def host(self, name):
        return self.machines[name].address

    def start(self, *names):
        controllers = [name for name in self.names if name.startswith("c")]
        initial = ",".join(f"{name[1:]}={self.rpc_address(name)}" for name in controllers)
        for name in names:
            directory = self.process_directory(name)
            directory.mkdir(parents=True, exist_ok=True)
            role = ["--roles", "controller", "--id", name[1:], "--initial-controllers", initial] if name in controllers else [
                "--roles", "node", "--resp", f"{self.host(name)}:{self.resp_port(name)}"]
            with open(directory / "tenured.log", "ab") as log:
                process = self.case.start(
                    *self.machines[name].inside, self.case.binary("tenured"), "--data", directory, "--name", name, "--listen",
                    self.rpc_address(name), "--http", f"{self.host(name)}:{self.http_port(name)}", "--controllers",
                    self.controllers, *role, stdout=log, stderr=log)
            (directory / "tenured.pid").write_text(f"{process.pid}\n")

    def form(self):
        """Starts all of it and makes the default database."""
        self.start(*self.names)
        system.until(lambda: all(node["state"] == "UP" for node in self.status()["nodes"]) and
                     len(self.status()["nodes"]) == self.nodes, 60, "all nodes are UP")
        self.tenure("db", "create", "default", timeout=60)
        self.wait_serving()

    def cut_controllers(self, name):
        self.machines[name].cut(*(self.host(other) for other in self.names if other.startswith("c")))
