"""Durable procedures: databases are made and dropped, replicas move, nodes are drained, lost and stopped, while processes die.

Nothing of a dropped region may be left on any disk: `no_leftovers` reads every directory with `tenure inspect` afterwards."""

import collections
import random
import shutil
import signal
import threading
import time

from harness import system
from harness.registry import case
from harness.workload import Workload

REGIONS = 200
ENDED = ("SUCCEEDED", "FAILED", "ROLLED_BACK", "CANCELLED")


# ---- what the cases ask ----


def configure(cluster, **settings):
    """Restarts the controllers with these keys in their files."""
    names = [name for name in cluster.names if name not in cluster.node_names] or cluster.names
    cluster.kill(*names)
    for name in names:
        with open(cluster.process_directory(name) / "tenured.toml", "a") as file:
            for key, value in settings.items():
                file.write(f"{key.replace('_', '-')} = '{value}'\n")
    cluster.start(*names)
    serving(cluster)


def serving(cluster, limit=60):
    """The leader decides by load."""
    system.until(lambda: cluster.status()["phase"] == "serving", limit, "the cluster serves")


def node_ids(cluster):
    return {node["name"]: node["id"] for node in cluster.json("node", "list")}


def node(cluster, name):
    return next(n for n in cluster.json("node", "list") if n["name"] == name)


def region(cluster, id):
    return next(r for r in cluster.json("region", "list") if r["id"] == id)


def nodes_of(region):
    return {replica["node"] for replica in region["replicas"]}


def procedures(cluster, *arguments):
    return cluster.json("procedure", "list", "--all", *arguments)


def newest(cluster, type):
    found = procedures(cluster, "--type", type)
    assert found, f"there is no procedure of type {type}"
    return max(found, key=lambda p: int(p["id"]))


def wait_ended(cluster, id, limit=60):
    def look():
        procedure = cluster.json("procedure", "show", id)
        return procedure if procedure["state"] in ENDED else None

    return system.until(look, limit, f"procedure {id} has ended")


def wait_all_ended(cluster, type, limit=120):
    system.until(lambda: all(p["state"] in ENDED for p in procedures(cluster, "--type", type)), limit,
                 f"every {type} has ended")


def records(cluster, kind):
    return cluster.json("record", "list", kind)


def wait_settled(cluster, limit=60):
    """No region is changing, and each has its replicas as voters."""

    def look():
        changing = [r for r in records(cluster, "region") if r.get("joining") or r.get("leaving")]
        return not changing and not [p for p in cluster.json("procedure", "list") if p["type"].endswith("Replica")]

    system.until(look, limit, "no region is changing")


def no_leftovers(t, cluster):
    """After a clean stop a directory holds the groups that the catalog places on its node, and nothing of any other."""
    ids = {id: name for name, id in node_ids(cluster).items()}
    wanted = collections.defaultdict(set)
    for record in records(cluster, "region"):
        for replica in record["replicas"]:
            wanted[ids[replica["node"]]].add(record["id"])
    cluster.down()
    for name in cluster.node_names:
        seen = t.tenure("inspect", cluster.process_directory(name), "--output", "json").json
        places = {
            "log": {group["group"] for group in seen["groups"] if not group["tombstone"]},
            "kv": set(seen["stored_groups"]),
            "snapshots": {file.split("-")[0] for file in seen["snapshots"]},
        }
        for place, groups in places.items():
            left = groups - wanted[name] - {"0"}
            assert not left, f"{name}: {place} still holds regions {sorted(left)}, only {sorted(wanted[name])} belong there"


# ---- databases ----


@case(limit=900)
def create_drop_create(t):
    """200 regions; a leader and a node are killed in the middle of another creation; dropped and made again under its name."""
    cluster = t.new_cluster(nodes=6, separate=True)
    cluster.up()
    seconds = cluster.tenure("db", "create", "big", "--regions", REGIONS, "--timeout", "180", timeout=200).seconds
    t.note(f"{REGIONS} regions with 3 replicas on 6 nodes: created in {seconds:.1f} s")
    outcomes = []
    for number, delay in enumerate((0.0, 0.05, 0.2, 0.5) if t.full else (0.05, 0.3)):
        name, victims = f"torn{number}", (cluster.leader(), f"n{number + 1}")
        create = t.start(t.binary("tenure"), "db", "create", name, "--regions", "60", "--no-wait", "--timeout", "60",
                         "--controllers", cluster.controllers)
        time.sleep(0.02 + delay)
        cluster.kill(*victims)
        create.communicate(timeout=90)
        if number % 2:  # else the node stays away until the creation has ended
            cluster.start(*victims)
        else:
            cluster.start(victims[0])
        outcomes.append(settle(t, cluster, name))
        if not cluster.running(victims[1]):
            cluster.start(victims[1])
    t.note(f"with the leader and a node killed: {'; '.join(outcomes)}")
    # Most of the nodes hang: some region cannot get its majority.
    for name in cluster.node_names[:4]:
        cluster.signal(name, signal.SIGSTOP)
    cluster.tenure("db", "create", "doomed", "--no-wait", expect=None)
    outcome = settle(t, cluster, "doomed")
    t.matches(outcome, "doomed failed: region \\d+ cannot get 2 of its 3 replicas: .*is down")
    t.note(f"with four nodes stopped: {outcome}")
    for name in cluster.node_names[:4]:
        cluster.signal(name, signal.SIGCONT)
    system.until(lambda: {n["state"] for n in cluster.json("node", "list")} == {"UP"}, 60, "the nodes are back")
    # The name is free at once, although the old regions are still being removed.
    cluster.tenure("db", "drop", "big", "--no-wait")
    seconds = cluster.tenure("db", "create", "big", "--regions", "20", "--timeout", "120", timeout=150).seconds
    t.note(f"made again under the same name, while the old one's regions go, in {seconds:.1f} s")
    t.equal([d["regions"] for d in cluster.json("db", "list") if d["name"] == "big"], [20])
    client = cluster.redis("n1")
    t.matches(str(client.execute_command("SELECT", "big")), "True|OK")
    wait_all_ended(cluster, "RemoveRegions")
    t.equal({p["state"] for p in procedures(cluster, "--type", "RemoveRegions")}, {"SUCCEEDED"})
    wait_settled(cluster)
    wait_all_ended(cluster, "CreateReplica")
    known = {d["id"] for d in records(cluster, "database")}
    t.equal([r for r in records(cluster, "region") if r["database_id"] not in known], [], "regions of no database")
    no_leftovers(t, cluster)


def settle(t, cluster, name, limit=120):
    """How a creation ended: there, with every slot, or not at all, with the reason."""
    deadline = time.monotonic() + limit
    while True:
        try:
            mine = [p for p in procedures(cluster, "--type", "CreateDatabase") if f"'{name}'" in p["description"]]
            databases = [d for d in records(cluster, "database") if d["name"] == name and d["state"] != "PRE_DELETE"]
            regions = [r for r in cluster.json("region", "list") if r["database"] == name] if databases else []
        except AssertionError:  # nobody leads
            assert time.monotonic() < deadline
            continue
        if not mine:
            t.equal(databases, [])
            return f"{name} absent: the command was not taken"
        state = mine[-1]["state"]
        if state == "SUCCEEDED" and databases and all(r["leader"] for r in regions):
            t.equal(sum(last - first + 1 for r in regions for first, last in r["slots"]), 16384)
            return f"{name} created"
        if state in ("FAILED", "CANCELLED") and not databases:
            assert mine[-1]["last_error"], mine[-1]
            return f"{name} failed: {mine[-1]['last_error']}"
        assert time.monotonic() < deadline, f"{name} is half there: {mine[-1]}, {databases}"
        time.sleep(0.2)


@case(limit=400)
def nodes_die_in_moves_and_drops(t):
    """kill -9 of either node of a move, at a random moment, and of a node in a drop: all of it ends, nothing is left."""
    draws = random.Random(7)
    cluster = t.new_cluster(nodes=4, separate=True)
    cluster.up()
    configure(cluster, balance="off")
    client = cluster.redis_cluster()
    for i in range(500):
        client.set(f"key{i}", i)
    client.close()
    states = collections.Counter()
    for number in range(12 if t.full else 4):
        names = {id: name for name, id in node_ids(cluster).items()}
        moved = draws.choice(cluster.json("region", "list"))
        source = draws.choice(sorted(nodes_of(moved)))
        target = next(id for id in names if id not in nodes_of(moved))
        cluster.tenure("region", "move", moved["id"], "--from", source, "--to", target, "--no-wait")
        time.sleep(draws.uniform(0, 0.6))
        victim = names[target if number % 2 else source]
        cluster.kill(victim)
        time.sleep(draws.uniform(0, 1.5))
        cluster.start(victim)
        ended = wait_ended(cluster, newest(cluster, "MoveReplica")["id"])
        states[ended["state"]] += 1
        now = region(cluster, moved["id"])
        t.equal(target in nodes_of(now), ended["state"] == "SUCCEEDED")
        t.equal(len(now["replicas"]), 3)
        wait_settled(cluster)
    t.note(f"moves with a node killed in them: {dict(states)}")
    cluster.wait_serving(limit=60)
    client = cluster.redis_cluster()
    t.equal([i for i in range(500) if client.get(f"key{i}") != str(i)], [])
    client.close()
    cluster.tenure("db", "create", "other", "--regions", "40", timeout=90)
    cluster.tenure("db", "drop", "other", "--no-wait")
    cluster.kill("n2")
    time.sleep(1)
    removal = newest(cluster, "RemoveRegions")
    t.equal(removal["state"] in ("RUNNING", "WAITING", "SUCCEEDED"), True)
    cluster.start("n2")
    t.equal(wait_ended(cluster, removal["id"])["state"], "SUCCEEDED")
    cluster.wait_serving(limit=60)
    no_leftovers(t, cluster)


# ---- nodes ----


@case(limit=400, quiet=True)
def lost_node(t):
    """A node is gone with its disk: its replicas are made anew elsewhere, a few at a time; then it is removed; nothing is lost."""
    cluster = t.new_cluster(nodes=5, separate=True)
    cluster.up()
    configure(cluster, repair_after="3s", max_repairs="2")
    cluster.tenure("db", "create", "more", "--regions", "16", timeout=90)
    lost = node(cluster, "n3")
    with Workload(cluster, clients=4, pause=0.02) as work:
        work.wait_for(200, limit=60)
        before = sum(lost["id"] in nodes_of(r) for r in cluster.json("region", "list"))
        assert before > 0
        cluster.kill("n3")
        shutil.rmtree(cluster.process_directory("n3"))
        begin = time.monotonic()
        at_once = 0

        def repaired():
            nonlocal at_once
            under_way = [p for p in cluster.json("procedure", "list") if p["type"] == "RepairReplica"]
            at_once = max(at_once, len(under_way))
            return not under_way and all(
                lost["id"] not in nodes_of(r) and len(r["replicas"]) == 3 for r in cluster.json("region", "list"))

        system.until(repaired, 200, "every region has three replicas on other nodes", interval=0.1)
        t.note(f"{before} replicas of a lost node made anew within {time.monotonic() - begin:.1f} s, at most {at_once} at once")
        assert at_once <= 2, f"{at_once} repairs at once, --max-repairs is 2"
        t.equal({p["state"] for p in procedures(cluster, "--type", "RepairReplica")}, {"SUCCEEDED"})
        work.wait_for(100, limit=60)
    work.verify()
    t.equal(node(cluster, "n3")["state"], "DOWN")
    cluster.tenure("node", "remove", "n3", timeout=60)
    t.equal(newest(cluster, "RemoveNode")["state"], "SUCCEEDED")
    t.equal([n["state"] for n in cluster.json("node", "list") if n["id"] == lost["id"]] in ([], ["REMOVED"]), True)
    metrics = cluster.metrics(cluster.leader())
    t.equal((metrics["tenure_repairs_running"], metrics["tenure_repairs_stuck"]), (0, 0))
    t.equal([a for a in cluster.status()["alarms"] if a["kind"] == "REPAIR_STUCK"], [])


@case(limit=300, quiet=True)
def drain(t):
    """A drain empties a node, says how far it is and how long it will take; resume undoes it, also in the middle."""
    cluster = t.new_cluster(nodes=4, separate=True)
    cluster.up()
    configure(cluster, max_moves="1", balance="off")
    cluster.tenure("db", "create", "more", "--regions", "12", timeout=90)
    plan = cluster.json("node", "drain", "n2", "--dry-run")
    assert plan["plan"] and not plan["stuck"], plan
    t.equal(node(cluster, "n2")["state"], "UP")
    replicas = sum(node(cluster, "n2")["id"] in nodes_of(r) for r in cluster.json("region", "list"))
    with Workload(cluster, clients=2, pause=0.05) as work:
        work.wait_for(50, limit=60)
        begin = time.monotonic()
        id = cluster.json("node", "drain", "n2", "--no-wait")["id"]
        t.equal(node(cluster, "n2")["state"], "DRAINING")
        told = set()

        def drained():
            procedure = cluster.json("procedure", "show", id)
            told.add(procedure["progress"])
            return procedure["state"] in ENDED

        system.until(drained, 150, "the node is drained")
        t.note(f"{replicas} replicas left within {time.monotonic() - begin:.1f} s, one at a time")
    work.verify()
    t.equal(cluster.json("procedure", "show", id)["state"], "SUCCEEDED")
    estimates = [text for text in told if " s more at the rate so far" in text]
    assert estimates, f"no estimate among {told}"
    t.note(f"such as: {sorted(estimates)[len(estimates) // 2]}")
    drained = node(cluster, "n2")
    t.equal((drained["state"], drained["regions"]), ("DRAINING", 0))
    t.matches(cluster.tenure("node", "list").out, r"DRAINING \(drained\)")
    # A database goes to the others, and to nobody if they are too few.
    cluster.tenure("db", "create", "late", "--regions", "2", timeout=60)
    t.equal(any(drained["id"] in nodes_of(r) for r in cluster.json("region", "list")), False)
    t.error_line(cluster.tenure("db", "create", "five", "--replicas", "4", expect=None), "nodes")
    t.error_line(cluster.tenure("node", "drain", "n1", expect=None), "NOT_ENOUGH_NODES")
    cluster.tenure("node", "resume", "n2")
    t.equal(node(cluster, "n2")["state"], "UP")
    t.error_line(cluster.tenure("node", "resume", "n2", expect=None), "not DRAINING")
    # In the middle: what moved stays where it is, the rest stays too.
    other = cluster.json("node", "drain", "n1", "--no-wait")["id"]
    time.sleep(0.3)
    cluster.tenure("node", "resume", "n1")
    t.equal(wait_ended(cluster, other)["state"], "CANCELLED")
    t.equal(node(cluster, "n1")["state"], "UP")
    wait_settled(cluster)


@case(limit=240)
def can_stop(t):
    """Yes and no with reasons; a reservation refuses what contradicts it, survives the leader, and can be given back."""
    cluster = t.cluster(nodes=3, separate=True)
    system.until(lambda: cluster.json("node", "can-stop", "n1", expect=None)["can_stop"], 30, "n1 may be stopped")
    t.matches(cluster.tenure("node", "can-stop", "n1").out, "^yes: ")
    reserved = cluster.json("node", "can-stop", "n1", "--reserve", "10m")
    assert reserved["can_stop"] and 590_000 < reserved["reserved_ms"] <= 600_000, reserved
    no = cluster.tenure("node", "can-stop", "n2", expect=None)
    t.error_line(no, "held.*voters")
    cluster.kill(cluster.leader())
    serving(cluster)
    t.error_line(cluster.tenure("node", "can-stop", "n2", "--reserve", "1m", expect=None), "held")
    again = cluster.json("node", "can-stop", "n1")
    assert again["can_stop"] and again["reserved_ms"] > 500_000, again
    # What the promise was given for.
    cluster.stop("n1")
    cluster.wait_writable(limit=60)
    cluster.start("n1")
    cluster.wait_serving(limit=60)
    cluster.tenure("node", "can-stop", "n1", "--release")
    system.until(lambda: newest(cluster, "HoldNode")["state"] == "CANCELLED", 10, "the reservation has ended")
    system.until(lambda: cluster.tenure("node", "can-stop", "n2", expect=None).code == 0, 30, "n2 may be stopped")
    t.error_line(cluster.tenure("node", "can-stop", "n1", "--release", expect=None), "NOT_FOUND.*not held")
    t.error_line(cluster.tenure("node", "can-stop", "n9", expect=None), "n9")
    t.error_line(cluster.tenure("node", "can-stop", "n1", "--reserve", "30h", expect=None), "reserve_ms")
    # Two are asked about at the same time: one promise at most.
    asked = [t.start(t.binary("tenure"), "node", "can-stop", name, "--reserve", "1m", "--controllers", cluster.controllers)
             for name in ("n1", "n2", "n3")]
    t.equal(sorted(p.wait(timeout=30) for p in asked), [0, 1, 1])
    held = [p for p in cluster.json("procedure", "list") if p["type"] == "HoldNode"]
    t.equal(len(held), 1)
    cluster.tenure("procedure", "cancel", held[0]["id"])
    wait_ended(cluster, held[0]["id"])
    # Without one, the loss of another would be the loss of a majority.
    cluster.kill("n3")
    system.until(lambda: node(cluster, "n3")["state"] != "UP", 60, "n3 is missed")
    t.error_line(cluster.tenure("node", "can-stop", "n1", expect=None), "1 of 3 voters")


# ---- moves ----


class Latencies:
    """Cluster clients that write and note how long each write took, as an application sees it; every error is kept."""

    def __init__(self, cluster, clients):
        self.cluster, self.errors, self.took = cluster, [], []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        client, sequence = self.cluster.redis_cluster(), 0
        while not self.stopping.is_set():
            sequence += 1
            begin = time.monotonic()
            try:
                client.set(f"key:{number}:{sequence}", sequence)
            except Exception as e:
                self.errors.append(f"{type(e).__name__}: {e}")
            self.took.append(time.monotonic() - begin)
            self.stopping.wait(0.005)

    def take(self):
        took, self.took = sorted(self.took), []
        return (f"{len(took)} writes, median {took[len(took) // 2] * 1000:.1f} ms, 99% {took[len(took) * 99 // 100] * 1000:.1f} ms, "
                f"longest {took[-1] * 1000:.0f} ms")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=60)


@case(limit=300)
def move_under_load(t):
    """A region goes round the nodes under writes, its leader's replica too: no write fails at an ordinary cluster client."""
    cluster = t.new_cluster(nodes=4, separate=True)
    cluster.up()
    configure(cluster, balance="off")
    cluster.wait_serving()
    load = Latencies(cluster, clients=8)
    time.sleep(8)
    t.note(f"without moves: {load.take()}")
    moves, leaders, begin = 0, 0, time.monotonic()
    chosen = cluster.json("region", "list")[0]["id"]
    while time.monotonic() - begin < (60 if t.full else 15):
        now = region(cluster, chosen)
        leads = now["leader"]["node"] if now["leader"] else None
        source = leads if leads and moves % 2 == 0 else sorted(nodes_of(now))[0]
        leaders += source == leads
        cluster.tenure("region", "move", chosen, "--from", source, timeout=60)
        moves += 1
    t.note(f"with {moves} moves, {leaders} of the leader's replica: {load.take()}")
    load.stop()
    t.equal(load.errors[:5], [], "failed writes")
    client = cluster.redis_cluster()
    keys = [f"key:{number}:1" for number in range(8)]
    t.equal([client.get(key) for key in keys], ["1"] * 8)
    assert moves >= 4 and leaders >= 2, f"only {moves} moves"
    wait_settled(cluster)


# ---- commands ----


@case(limit=240)
def commands(t):
    """procedure list, show, watch and cancel; fields; dry runs; what is refused, and with which words."""
    cluster = t.new_cluster(nodes=4, separate=True)
    cluster.up()
    configure(cluster, balance="off")
    ids = node_ids(cluster)
    chosen = cluster.json("region", "list")[0]
    source = sorted(nodes_of(chosen))[0]
    spare = next(id for id in ids.values() if id not in nodes_of(chosen))

    plan = cluster.json("region", "move", chosen["id"], "--from", source, "--dry-run")
    t.equal((plan["region"], plan["from_node"], plan["to_node"]), (chosen["id"], source, spare))
    assert plan["explanation"], plan
    t.matches(cluster.tenure("region", "move", chosen["id"], "--from", source, "--dry-run").out, "dry run: nothing was done")
    t.equal(nodes_of(region(cluster, chosen["id"])), nodes_of(chosen))
    assert cluster.json("region", "explain", chosen["id"])["explanation"]

    id = cluster.json("region", "move", chosen["id"], "--from", source, "--no-wait")["id"]
    done = cluster.json("procedure", "watch", id, timeout=60)
    for field in ("id", "type", "state", "step", "attempt", "progress", "parent", "locks", "last_error", "created_at", "steps"):
        assert field in done, f"no {field} in {done}"
    t.equal((done["id"], done["type"], done["state"], done["parent"]), (id, "MoveReplica", "SUCCEEDED", None))
    t.equal([s["name"] for s in done["steps"]],
            ["prepare", "create", "add_learner", "catch_up", "switch", "confirm", "destroy"])
    assert all(s["duration_ms"] >= 0 for s in done["steps"])
    t.matches(cluster.tenure("procedure", "show", id).out, r"STEP .*destroy")
    t.equal(id in {p["id"] for p in cluster.json("procedure", "list")}, False)
    t.equal(id in {p["id"] for p in procedures(cluster, "--type", "MoveReplica")}, True)
    t.equal(id in {p["id"] for p in procedures(cluster, "--type", "DrainNode")}, False)
    t.error_line(cluster.tenure("procedure", "cancel", id, expect=None), "CONDITION_FAILED")
    log = cluster.log(cluster.leader())
    t.matches(log, rf"procedure {id} \(MoveReplica: move replica \d+ of region {chosen['id']} from node {source} "
                   rf"to node {spare}\): SUCCEEDED after \d+ ms")
    names = {i: n for n, i in ids.items()}
    t.matches(cluster.log(names[spare]), rf"region {chosen['id']}: replica \d+ made on node {spare} in \d+ ms")
    t.matches(cluster.log(names[source]), rf"region {chosen['id']}: replica \d+ destroyed on node {source} in \d+ ms")

    # Its new node hangs: the copy is not made, and the wish to end it undoes what was begun.
    now = region(cluster, chosen["id"])
    target = next(i for i in ids.values() if i not in nodes_of(now))
    source = sorted(nodes_of(now))[0]
    name = next(n for n, i in ids.items() if i == target)
    cluster.kill(name)
    refused = cluster.tenure("region", "move", now["id"], "--from", source, "--to", target, "--no-wait", expect=None)
    if refused.code == 0:  # the node is not missed yet
        id = newest(cluster, "MoveReplica")["id"]
        t.error_line(cluster.tenure("region", "move", now["id"], "--from", source, expect=None), f"BUSY: .*procedure {id}")
        cluster.tenure("procedure", "cancel", id)
        cluster.start(name)
        ended = wait_ended(cluster, id)
        t.equal((ended["state"], nodes_of(region(cluster, now["id"]))), ("CANCELLED", nodes_of(now)))
        watched = cluster.tenure("procedure", "watch", id, expect=None)
        t.error_line(watched, "CANCELLED")
    else:
        t.error_line(refused, "it must be UP")
        cluster.start(name)
    system.until(lambda: node(cluster, name)["state"] == "UP", 60, f"{name} is back")

    source = sorted(nodes_of(region(cluster, chosen["id"])))[0]
    for arguments, pattern, code in (
        (("region", "move", "9999", "--from", source), "NOT_FOUND: .*9999", 1),
        (("region", "move", chosen["id"], "--from", "n99"), "n99", 1),
        (("region", "move", chosen["id"], "--from", target), f"node {target} holds no replica", 1),
        (("region", "move", chosen["id"], "--from", source, "--to", source), f"node {source} holds a replica", 1),
        (("region", "remove-replica", chosen["id"]), "another would be made", 1),
        (("region", "add-replica", "9999"), "NOT_FOUND: .*9999", 1),
        (("procedure", "show", "999999"), "NOT_FOUND: .*999999", 1),
        (("procedure", "watch", "999999"), "NOT_FOUND: .*999999", 1),
        (("procedure", "cancel", "999999"), "NOT_FOUND: .*999999", 1),
        (("node", "resume", "n1"), "not DRAINING", 1),
        (("node", "remove", "n1"), "drain it first", 1),
    ):
        t.error_line(cluster.tenure(*arguments, expect=None), pattern, code)
    assert cluster.tenure("procedure", "show", "seven", expect=None).code == 2
    assert cluster.tenure("region", "move", chosen["id"], expect=None).code == 2
    refusal = cluster.tenure("procedure", "show", "999999", "--output", "json", expect=1).refusal
    t.equal((refusal["reason"], refusal["retryable"]), ("NOT_FOUND", False))

    cluster.tenure("region", "add-replica", chosen["id"], timeout=60)
    t.equal(len(region(cluster, chosen["id"])["replicas"]), 4)
    cluster.tenure("region", "remove-replica", chosen["id"], timeout=60)
    t.equal(len(region(cluster, chosen["id"])["replicas"]), 3)
