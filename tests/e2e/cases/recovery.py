"""A majority gone for good: `tenure recover` and `tenure region recover` as docs/operations.md says, and old disks that
come back."""

import signal

from harness import system
from harness.registry import case

KEYS = 300


class Controllers:
    """Controllers started by hand, as on several machines."""

    def __init__(self, t, count):
        self.t = t
        self.base = system.find_base_port()
        self.directory = t.directory
        self.ids = range(1, count + 1)
        self.processes = {}

    def address(self, i):
        return f"127.0.0.1:{self.base + 10 * i}"

    def data(self, i):
        return self.directory / f"controller-{i}"

    def start(self, *ids):
        members = ",".join(f"{i}={self.address(i)}" for i in self.ids)
        for i in ids:
            with open(self.directory / f"controller-{i}.err", "w") as err:
                self.processes[i] = self.t.start(
                    self.t.binary("tenured"), "--data", self.data(i), "--roles", "controller", "--id", i, "--listen",
                    self.address(i), "--initial-controllers", members, stdout=err, stderr=err)

    def said(self, i):
        return (self.directory / f"controller-{i}.err").read_text(errors="replace")

    def end(self, *ids, number=signal.SIGTERM):
        for i in ids:
            self.processes[i].send_signal(number)
        for i in ids:
            self.processes[i].wait(timeout=30)

    def tenure(self, *arguments, **options):
        return self.t.tenure(*arguments, controllers=",".join(self.address(i) for i in self.ids), **options)

    def status(self):
        return self.tenure("status", "--output", "json").json

    def wait_leader(self, limit=30):
        return system.until(lambda: self.status()["leader"], limit, "a controller leads")


def plan_of(t, *directories):
    return t.tenure("recover", *directories, "--output", "json").json


@case(limit=400)
def three_of_five_controllers(t):
    """Three of five controllers gone for good: refusals, plan, execution, audit; the old disks are refused."""
    five = Controllers(t, 5)
    five.start(*five.ids)
    five.wait_leader()
    for i in range(30):
        five.tenure("kv", "put", f"key-{i}", f"value-{i}")

    def survivors_hold_all():
        controllers = {c["id"]: int(c["match_index"]) for c in five.status()["controllers"]}
        return min(controllers["1"], controllers["2"]) >= max(controllers.values())

    system.until(survivors_hold_all, 20, "controllers 1 and 2 hold everything")
    result = t.tenure("recover", five.data(1), expect=1)
    t.error_line(result, "FAILED_PRECONDITION.*is locked by process")
    five.end(3, 4, 5, number=signal.SIGKILL)
    system.until(lambda: five.tenure("kv", "put", "x", "1", "--timeout", "1", expect=None).code == 1, 20,
                 "without a majority nothing is accepted")
    five.end(1, 2)

    # A majority that is there needs no recovery; neither does a directory that is none.
    t.error_line(t.tenure("recover", *[five.data(i) for i in (1, 2, 3)], expect=1), "are a majority.*--force 1,2,3")
    t.error_line(t.tenure("recover", five.data(1), "/nonexistent", expect=1), "NOT_FOUND")
    t.error_line(t.tenure("recover", five.data(1), five.data(1), expect=1), "given twice")

    before = t.tenure("inspect", five.data(1)).out
    plan = plan_of(t, five.data(1), five.data(2))["plan"]
    t.equal((plan["from_incarnation"], plan["to_incarnation"]), (1, 2))
    t.equal(plan["lost_controllers"], ["3", "4", "5"])
    t.equal(plan_of(t, five.data(2), five.data(1))["plan"]["digest"], plan["digest"], "in another order")
    t.equal(t.tenure("inspect", five.data(1)).out, before, "a plan changes nothing")
    shown = t.tenure("recover", five.data(1), five.data(2))
    t.matches(shown.out, f"Nothing was changed.*--execute {plan['digest']}")
    t.error_line(t.tenure("recover", five.data(1), five.data(2), "--execute", "0123456789abcdef", expect=1),
                 plan["digest"])

    done = t.tenure("recover", five.data(1), five.data(2), "--execute", plan["digest"], "--by", "night shift")
    t.matches(done.out, "incarnation 2")
    t.tenure("recover", five.data(1), five.data(2), "--execute", plan["digest"])  # again: nothing is left to do
    audit = t.tenure("recover", five.data(1), "--audit", "--output", "json").json[0]
    t.equal([(r["incarnation"], r["by"], r["digest"]) for r in audit["recoveries"]],
            [(2, "night_shift", plan["digest"])])

    five.start(1, 2)
    leader = five.wait_leader()
    t.equal(leader["id"], plan["controller_id"])
    t.equal(five.status()["incarnation"], 2)
    for i in range(30):
        t.equal(five.tenure("kv", "get", f"key-{i}").out.strip(), f"value-{i}")
    five.tenure("kv", "put", "after", "recovery")
    cluster = five.tenure("record", "list", "cluster", "--output", "json").json[0]
    t.equal([r["digest"] for r in cluster["recoveries"]], [plan["digest"]])
    members = {c["id"]: c["state"] for c in five.tenure("record", "list", "controller", "--output", "json").json}
    t.equal({i for i, state in members.items() if state == "REMOVED"}, {"3", "4", "5"})
    system.until(lambda: [c["id"] for c in five.status()["controllers"] if c.get("voter")] == ["1", "2"], 20,
                 "the other survivor has caught up and votes again")

    # The old disks come back, a majority of the old configuration: none of them may serve.
    five.start(3, 4, 5)
    for i in (3, 4, 5):
        t.equal(five.processes[i].wait(timeout=30), 1, f"exit code of revived controller {i}")
        t.matches(five.said(i), "STALE_INCARNATION|incarnation 1 of cluster .* at incarnation 2", f"controller {i}")
        t.matches(five.said(i), "incarnation 1 .*incarnation 2", f"controller {i}")
    # An empty directory under an old id is no way around.
    (five.data(3)).rename(five.directory / "aside")
    five.start(3)
    t.equal(five.processes[3].wait(timeout=30), 1)
    t.matches(five.said(3), "no member of cluster")
    t.equal(five.tenure("kv", "get", "after").out.strip(), "recovery")
    five.tenure("kv", "put", "after", "revival")
    five.end(1, 2)
    t.error_line(t.tenure("recover", five.data(1), five.data(4), expect=1), "incarnation 1.*incarnation 2")


def wait_replicated(cluster, limit=30):
    """Every replica of every region has applied the same, on two looks in a row."""
    seen = []

    def look():
        regions = cluster.json("region", "list")
        applied = {r["id"]: sorted((x["node"], x["applied"]) for x in r["replicas"]) for r in regions}
        equal = all(len({a for _, a in replicas}) == 1 for replicas in applied.values())
        seen.append(applied if equal else None)
        return len(seen) > 1 and equal and seen[-1] == seen[-2]

    system.until(look, limit, "all replicas have applied the same", interval=1.5)


def fill(cluster):
    client = cluster.redis_cluster()
    for i in range(KEYS):
        client.set(f"k{i}", f"v{i}")
    client.close()
    wait_replicated(cluster)


def check(t, cluster, name):
    client = cluster.redis(name)
    for i in range(KEYS):
        t.equal(client.get(f"k{i}"), f"v{i}", f"k{i}")
    t.equal(cluster.redis_cli(name, "get", "k1").out.strip(), "v1")


def start(t, cluster, name):
    out = open(cluster.process_directory(name) / "again.log", "w")
    return t.start(t.binary("tenured"), "--config", cluster.process_directory(name) / "tenured.toml", "--data",
                   cluster.process_directory(name), stdout=out, stderr=out)


def again(cluster, name):
    """What a process said that was started again by hand."""
    return (cluster.process_directory(name) / "again.log").read_text(errors="replace")


def wait_down(cluster, *names):
    def look():
        states = {n["name"]: n["state"] for n in cluster.status()["nodes"]}
        return all(states[name] == "DOWN" for name in names)

    system.until(look, 60, f"nodes {names} are DOWN", interval=0.5)


def recover_regions(t, cluster):
    """As docs/operations.md says: look at the plan, then execute it."""
    plan = cluster.json("region", "recover")
    assert plan["regions"] and not plan["executed"], plan
    again = cluster.json("region", "recover")
    t.equal(again["digest"], plan["digest"])
    cluster.tenure("region", "recover", "--execute", "feedfeedfeedfeed", expect=1)
    done = cluster.json("region", "recover", "--execute", plan["digest"], "--timeout", "30", timeout=40)
    t.equal(done["executed"], True)
    t.equal(cluster.json("region", "recover")["regions"], [])
    return plan


@case(limit=300, quiet=True)
def two_of_three_processes(t):
    """`tenure up`, two of three processes gone for good: the catalog, then the regions, from what one disk holds."""
    cluster = t.cluster()
    fill(cluster)
    cluster.tenure("kv", "put", "kept", "yes")
    system.until(lambda: len({c["match_index"] for c in cluster.status()["controllers"]}) == 1, 20,
                 "all controllers hold the same")
    cluster.kill("2", "3")
    cluster.stop("1")
    own = cluster.process_directory("1")
    plan = plan_of(t, own)["plan"]
    t.tenure("recover", own, "--execute", plan["digest"])
    survivor = start(t, cluster, "1")
    cluster.leader()
    t.equal(cluster.tenure("kv", "get", "kept").out.strip(), "yes")
    # A node that is merely silent may come back with what only it holds.
    t.equal(cluster.json("region", "recover")["regions"], [])
    wait_down(cluster, "2", "3")
    regions = recover_regions(t, cluster)["regions"]
    t.equal({r["node"] for r in regions}, {regions[0]["node"]})
    check(t, cluster, "1")
    t.equal(cluster.redis_cli("1", "set", "k1", "after").out.strip(), "OK")
    records = cluster.json("record", "list", "cluster")[0]["recoveries"]
    t.equal(len(records), 1 + len(regions))

    for name in ("2", "3"):
        revived = start(t, cluster, name)
        t.equal(revived.wait(timeout=30), 1, f"exit code of revived process {name}")
        t.matches(again(cluster, name), "incarnation 1 of cluster .*incarnation 2")
    t.equal(cluster.redis_cli("1", "get", "k1").out.strip(), "after")

    # A restart finds the recovered state again.
    survivor.send_signal(signal.SIGKILL)
    survivor.wait()
    survivor = start(t, cluster, "1")
    cluster.leader()
    system.until(lambda: cluster.redis("1").get("k1") == "after", 30, "the recovered regions serve after a restart")


@case(limit=300, quiet=True)
def two_of_three_nodes(t):
    """Controllers whole, two of three nodes gone: regions are recovered; the old replicas are destroyed, not heard, and new
    ones are made in their place."""
    cluster = t.cluster(separate=True)
    fill(cluster)
    cluster.kill("n2", "n3")
    wait_down(cluster, "n2", "n3")
    recover_regions(t, cluster)
    check(t, cluster, "n1")
    t.equal(cluster.redis_cli("n1", "set", "k1", "after").out.strip(), "OK")
    # Back from the dead, with a majority of the old configuration on their disks.
    start(t, cluster, "n2")
    start(t, cluster, "n3")

    def replaced():
        destroyed = all("the catalog places no such replica here" in again(cluster, name) for name in ("n2", "n3"))
        # The survivor has a new id since the recovery; whoever joined it has a later one.
        return destroyed and all(len(r["replicas"]) == 3 and all(int(replica["id"]) > 3 for replica in r["replicas"])
                                 for r in cluster.json("region", "list"))

    system.until(replaced, 90, "the old replicas are gone and every region has three new ones", interval=0.5)
    for name in ("n1", "n2", "n3"):
        t.equal(cluster.redis_cli(name, "get", "k1").out.strip(), "after", f"through {name}")


@case(limit=300)
def two_of_three_separate_controllers(t):
    """Nodes whole, two of three controllers gone: the nodes follow into the new incarnation, their data stays."""
    cluster = t.cluster(separate=True)
    fill(cluster)
    system.until(lambda: len({c["match_index"] for c in cluster.status()["controllers"]}) == 1, 20,
                 "all controllers hold the same")
    cluster.kill("c2", "c3")
    cluster.stop("c1")
    check_reads = cluster.redis_cluster()
    t.equal(check_reads.get("k5"), "v5", "nodes serve without controllers")
    own = cluster.process_directory("c1")
    t.tenure("recover", own, "--execute", plan_of(t, own)["plan"]["digest"])
    start(t, cluster, "c1")
    cluster.leader()
    system.until(lambda: all(n["state"] == "UP" for n in cluster.status()["nodes"]), 30, "all nodes are UP")
    cluster.tenure("db", "create", "more", timeout=60)
    t.equal(cluster.json("region", "recover")["regions"], [])
    revived = start(t, cluster, "c2")
    t.equal(revived.wait(timeout=30), 1)
    cluster.stop("n1")
    found = t.tenure("inspect", cluster.process_directory("n1"), "--output", "json").json
    t.equal(found["identity"]["incarnation"], 2, "a node follows its cluster")
    start(t, cluster, "n1")
    cluster.wait_writable()
