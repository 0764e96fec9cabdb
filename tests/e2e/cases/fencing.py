"""Nodes without a lease serve nothing: stopped processes, nodes that the controllers do not reach, barriers, settings."""

import random
import signal
import threading
import time

from harness import resp, system
from harness.network import NetworkCluster
from harness.registry import case

LEASE = 3            # seconds; short, so that the cases are
MARGIN = 2           # what a barrier waits for beyond the lease, and one percent (docs/fencing.md)
PROCEED = LEASE * 1.01 + MARGIN


def node_of(cluster, name):
    return next(node for node in cluster.status()["nodes"] if node["name"] == name)


def shorten(cluster, mode=None):
    """Leases of LEASE seconds, gone by everywhere."""
    cluster.tenure("fencing", "set", "--lease", f"{LEASE}s", *(["--mode", mode] if mode else []))

    def confirmed():
        settings = cluster.json("fencing", "show")
        return not settings["unconfirmed"] and settings["bound_ms"] == LEASE * 1000 and settings

    return system.until(confirmed, 30, "every node goes by the new settings")


class Witness(threading.Thread):
    """Reads and writes all the time through one process, over a connection of its own, and keeps what it was told."""

    def __init__(self, cluster, name, seed):
        super().__init__(daemon=True)
        self.cluster, self.name, self.number, self.chance = cluster, name, seed, random.Random(seed)
        self.stopping = threading.Event()
        self.told = []  # (time asked, time answered, "read" | "write", answer, words)
        self.start()

    def words(self, kind, number):
        return ("CLUSTER", "SLOTS") if kind == "read" else ("SET", f"witness:{self.name}:{number}", number)

    def greet(self, connection):
        """The error that a new connection is told, if any."""

    def run(self):
        connection, number = None, 0
        while not self.stopping.is_set():
            kind = "read" if self.chance.random() < 0.5 else "write"
            number += 1
            words = self.words(kind, number)
            asked = time.monotonic()
            try:
                if connection is None:
                    fresh = resp.Connection(self.cluster.resp_port(self.name), timeout=30, host=self.cluster.host(self.name))
                    answer = self.greet(fresh)
                    connection = fresh if answer is None else None
                if connection is not None:
                    answer = connection.ask(*words)
            except (OSError, ValueError) as e:
                answer, connection = resp.Error(f"CONNECTION {e}"), None
                self.stopping.wait(0.05)
            self.told.append((asked, time.monotonic(), kind, answer, words))
            self.stopping.wait(0.005)

    def finish(self):
        self.stopping.set()
        self.join(timeout=60)
        assert not self.is_alive(), "a client hangs"

    def between(self, begin, end):
        """What was answered then."""
        return [told for told in self.told if begin <= told[1] < end]


def is_error(answer, *codes):
    return isinstance(answer, resp.Error) and answer.split(" ", 1)[0] in codes


def check_fenced(witnesses, safe_from, back):
    """From the moment at which the others may have gone on without the node until it said that it serves again, it has
    told nobody anything that it had cached: all were told FENCED, until it served (which it may do before the status says
    so), and nobody after that. Returns the answers FENCED."""
    later = sorted((told for witness in witnesses for told in witness.between(safe_from, back)), key=lambda told: told[1])
    fenced = [told for told in later if is_error(told[3], "FENCED")]
    assert fenced, "nobody was told FENCED"
    # Of what was under way when the node went, the result may not leave: UNKNOWN.
    served = [told for told in later if not is_error(told[3], "FENCED", "CONNECTION", "UNKNOWN")]
    if served:
        still = [told for told in fenced if told[0] > served[0][1]]
        assert not still, f"answers and FENCED in turn: {served[:2]}, then {still[:2]}"
        assert fenced[0][1] <= served[0][1], f"the first answer was {served[0]}"
    return fenced


@case(limit=180, quiet=True)
def stopped_longer_than_its_lease(t):
    """SIGSTOP for longer than the lease under load: a barrier passes without the node, and its first answers are FENCED."""
    cluster = t.cluster(separate=True)
    shorten(cluster)
    for attempt in range(3 if t.full else 1):
        witnesses = [Witness(cluster, "n2", 10 * attempt + number) for number in range(4)]
        system.until(lambda: all(len(w.told) > 20 for w in witnesses), 20, "clients are answered")
        cluster.signal("n2", signal.SIGSTOP)
        stopped = time.monotonic()
        cluster.tenure("kv", "put", f"while{attempt}", 1)
        barrier = cluster.json("barrier", "--budget", "30s")
        passed = time.monotonic()
        disposition = {node["name"]: node["disposition"] for node in barrier["nodes"]}
        t.equal((barrier["proceeded"], disposition["n1"], disposition["n2"], disposition["n3"]),
                (True, "ACKED", "FENCED_SAFE", "ACKED"))
        assert barrier["waited_ms"] <= PROCEED * 1000 + 1500, barrier
        # A node that is proven fenced costs no wait.
        again = cluster.json("barrier", "--budget", "30s")
        assert again["waited_ms"] < 1000, again
        time.sleep(max(0.0, stopped + LEASE + 3 - time.monotonic()))  # the pause is the case
        cluster.signal("n2", signal.SIGCONT)
        system.until(lambda: not node_of(cluster, "n2")["fenced"], 20, "n2 serves again, by itself")
        back = time.monotonic()
        time.sleep(0.5)
        for witness in witnesses:
            witness.finish()
        fenced = check_fenced(witnesses, passed, back)
        t.note(f"barrier waited {barrier['waited_ms']} ms for a node just lost, {again['waited_ms']} ms once it was fenced; "
               f"{len(fenced)} answers FENCED: {fenced[0][3][:60]}")
        cluster.wait_writable(30)


@case(limit=180, quiet=True)
def cut_from_the_controllers(t):
    """A node that clients reach and the controllers do not fences itself, goes on in its groups, and recovers by itself."""
    cluster = NetworkCluster(t)
    cluster.form()
    shorten(cluster)
    witness = Witness(cluster, "n2", 1)
    system.until(lambda: len(witness.told) > 20, 20, "the client is answered")
    cluster.cut_controllers("n2")
    cut = time.monotonic()
    cluster.tenure("kv", "put", "cut", 1)  # that the node has not heard of
    barrier = cluster.json("barrier", "--budget", "30s")
    passed = time.monotonic()
    t.equal({node["name"]: node["disposition"] for node in barrier["nodes"]}["n2"], "FENCED_SAFE")
    t.equal(barrier["proceeded"], True)

    def says_fenced():
        connection = resp.Connection(cluster.resp_port("n2"), host=cluster.host("n2"))
        answers = [connection.ask("GET", "a"), connection.ask("SET", "a", "1"), connection.ask("CLUSTER", "SLOTS")]
        ping, info = connection.ask("PING"), connection.ask("CLUSTER", "INFO")
        connection.close()
        t.equal(ping, b"PONG")
        assert b"cluster_state:fail" in info, info
        return all(is_error(answer, "FENCED") for answer in answers)

    assert says_fenced(), "the node serves although a barrier has passed it by"
    assert not cluster.ready("n2"), "/readyz of a fenced node"
    metrics = cluster.metrics("n2")
    t.equal((metrics["tenure_node_fenced"], metrics["tenure_node_lease_left_seconds"]), (1, 0))
    later = time.monotonic()
    told = system.until(lambda: (lambda all: all if len(all) >= 5 else None)(witness.between(later, time.monotonic())), 20,
                        "the client is told something")
    t.equal({is_error(answer, "FENCED") for _, _, _, answer, _ in told}, {True}, "what clients of the node are told")
    # Its replicas go on: they vote, and one of the three nodes more may be lost.
    with_n2 = [node["name"] for node in cluster.status()["nodes"]]
    assert "n2" in with_n2
    cluster.machines["n2"].restore()
    system.until(lambda: not node_of(cluster, "n2")["fenced"] and cluster.ready("n2"), 30, "n2 serves again, by itself")
    t.note(f"cut for {time.monotonic() - cut:.1f} s; the barrier waited {barrier['waited_ms']} ms")
    witness.finish()
    after = cluster.json("barrier")
    t.equal({node["disposition"] for node in after["nodes"]}, {"ACKED"})
    assert after["waited_ms"] < 1000, after


@case(limit=150, quiet=True)
def a_clean_stop_costs_nothing(t):
    """A node that ends in order says so: barriers and leader changes do not wait for it, and do not fence the others."""
    cluster = t.cluster(separate=True)
    cluster.stop("n3")
    barrier = cluster.json("barrier")
    t.equal({node["name"]: node["disposition"] for node in barrier["nodes"]},
            {"n1": "ACKED", "n2": "ACKED", "n3": "SAFE_GONE"})
    assert barrier["waited_ms"] < 1000, barrier
    cluster.start("n3")
    cluster.wait_serving()
    # Another leader, whose predecessor is killed: nobody is fenced by that.
    recoveries = {name: cluster.metrics(name)["tenure_node_lease_recoveries_total"] for name in cluster.node_names}
    cluster.kill(cluster.leader())
    system.until(lambda: cluster.status()["phase"] == "serving", 40, "another controller leads")
    barrier = cluster.json("barrier")
    t.equal({node["disposition"] for node in barrier["nodes"]}, {"ACKED"})
    t.equal({name: cluster.metrics(name)["tenure_node_lease_recoveries_total"] for name in cluster.node_names}, recoveries)


@case(limit=180, quiet=True)
def available(t):
    """`available`: without controllers the data goes on, and no barrier passes a node that says nothing."""
    cluster = t.cluster(separate=True)
    shorten(cluster, "available")
    cluster.kill("c1", "c2", "c3")
    begin = time.monotonic()
    while time.monotonic() < begin + LEASE + 3:
        assert cluster.wait_writable(5) < 5
        time.sleep(0.2)
    cluster.start("c1", "c2", "c3")
    system.until(lambda: cluster.status()["phase"] == "serving", 40, "controllers lead again")
    cluster.signal("n2", signal.SIGSTOP)
    time.sleep(PROCEED + 1)
    refused = cluster.tenure("barrier", "--budget", "1s", expect=1)
    t.matches(refused.err, "node 2|n2")
    cluster.signal("n2", signal.SIGCONT)
    system.until(lambda: cluster.json("barrier", "--budget", "20s")["proceeded"], 30, "the barrier passes with the node")
    # And back: strict holds once everybody has heard of it.
    shorten(cluster, "strict")
    cluster.kill("c1", "c2", "c3")

    def all_fenced():
        return all(is_error(resp.Connection(cluster.resp_port(name)).ask("GET", "a"), "FENCED")
                   for name in cluster.node_names)

    system.until(all_fenced, LEASE + 5, "every node is fenced without controllers")
    cluster.start("c1", "c2", "c3")
    cluster.wait_writable(60)


@case(limit=120, quiet=True)
def short_outage(t):
    """All controllers are gone for less than the lease: no client notices."""
    cluster = t.cluster(separate=True)
    cluster.wait_writable()
    cluster.kill("c1", "c2", "c3")
    begin = time.monotonic()
    count = 0
    while time.monotonic() < begin + 6:
        cluster.wait_writable(2)
        count += 1
    cluster.start("c1", "c2", "c3")
    system.until(lambda: cluster.status()["phase"] == "serving", 40, "controllers lead again")
    cluster.wait_writable()
    t.note(f"{count} rounds of writes to all slots while no controller ran")


@case(limit=240)
def latency(t):
    """How long a barrier takes when all are alive: measured, and only bounded against being an interval."""
    cluster = t.cluster(separate=True)
    waited = []
    for number in range(60 if t.full else 20):
        cluster.tenure("kv", "put", "latency", number)
        waited.append(cluster.json("barrier")["waited_ms"])
    waited.sort()
    t.note(f"{len(waited)} barriers: p50 {waited[len(waited) // 2]} ms, p99 {waited[int(len(waited) * 0.99)]} ms")
    assert waited[len(waited) // 2] < 500, waited


@case(limit=120, quiet=True)
def refusals(t):
    """Wrong settings and revisions are named with their limits."""
    cluster = t.cluster()
    for arguments, pattern in ((("fencing", "set", "--lease", "1s"), r"fence_ms: 1000 is not in 2000\.\.3600000"),
                               (("fencing", "set"), "--mode|--lease"),
                               (("barrier", "--revision", "99999999"), r"revision: 99999999 is not in 1\.\.")):
        t.matches(cluster.tenure(*arguments, expect=1).err, pattern)
    t.matches(cluster.tenure("fencing", "set", "--mode", "sometimes", expect=2).err, "strict")
    shown = cluster.json("fencing", "show")
    t.equal((shown["mode"], shown["lease_ms"], shown["proceed_ms"], shown["unconfirmed"]), ("strict", 10000, 12100, []))
    table = cluster.tenure("node", "list").out
    t.matches(table, "LEASE")
    t.matches(cluster.tenure("node", "show", "1").out, r"lease +\d.*serves +from revision \d+")
