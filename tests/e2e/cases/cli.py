"""The commands of `tenure`, their JSON and their refusals, as docs/cli.md promises."""

import json
import threading
import time

from harness import system
from harness.registry import case


def has_fields(t, document, fields, what):
    missing = [field for field in fields.split() if field not in document]
    t.equal(missing, [], f"fields missing in {what}")


@case(limit=60, shared=True)
def status(t):
    """`status` as JSON and as a table."""
    cluster = t.cluster()
    status = cluster.status()
    has_fields(t, status, "cluster_id revision phase warm_up leader controllers nodes services transitions", "status")
    t.equal(status["phase"], "serving")
    has_fields(t, status["warm_up"], "reason missing remaining_ms", "warm_up")
    has_fields(t, status["leader"], "id name address epoch since_ms", "leader")
    t.equal(len(status["controllers"]), 3)
    for controller in status["controllers"]:
        has_fields(t, controller, "id name address voter state match_index", "controller")
        assert isinstance(controller["id"], str) and controller["voter"] is True, controller
    t.equal(sorted(c["state"] for c in status["controllers"]), ["follower", "follower", "leader"])
    t.equal(len(status["nodes"]), 3)
    for node in status["nodes"]:
        has_fields(t, node, "id name address resp_address state detail fenced lease_ms revision regions leaders", "node")
        t.equal((node["state"], node["fenced"]), ("UP", False))
    assert status["transitions"] and status["services"], status
    for transition in status["transitions"]:
        has_fields(t, transition, "epoch from to at duration_ms reason", "transition")
    system.until(lambda: sum(n["leaders"] for n in cluster.status()["nodes"]) == 8, 10, "eight regions are led")
    t.equal(sum(n["regions"] for n in cluster.status()["nodes"]), 24)
    # Every controller answers with what the leader knows.
    for name in cluster.names:
        one = t.tenure("status", "--output", "json", controllers=f"127.0.0.1:{cluster.rpc_port(name)}").json
        t.equal((one["cluster_id"], one["leader"]["id"], len(one["nodes"])),
                (status["cluster_id"], status["leader"]["id"], 3))
    table = cluster.tenure("status").out
    t.matches(table, r"phase +serving.*CONTROLLER +NAME +ADDRESS.*NODE +NAME")


@case(limit=60, shared=True)
def nodes(t):
    """`node list|show`."""
    cluster = t.cluster()
    nodes = cluster.json("node", "list")
    t.equal(sorted(n["name"] for n in nodes), ["1", "2", "3"])
    for node in nodes:
        has_fields(t, node, "labels load disk links", "node")
        has_fields(t, node["disk"], "free_bytes fsync_p99_ms", "disk")
        assert node["disk"]["free_bytes"] > 0, node
        shown = cluster.json("node", "show", node["id"])
        t.equal(shown["uuid"], node["uuid"])
        t.matches(cluster.tenure("node", "show", node["id"]).out, f"uuid +{node['uuid']}")
    t.matches(cluster.tenure("node", "list").out, "NODE +NAME +ADDRESS +REDIS PROTOCOL +STATE")


@case(limit=90, shared=True)
def databases(t):
    """`db create|list|show|drop`, the same name again, names as they are."""
    cluster = t.cluster()
    created = cluster.json("db", "create", "orders", "--regions", "4", "--replicas", "2", timeout=60)
    has_fields(t, created, "id name state regions replicas slots options", "database")
    t.equal((created["name"], created["state"], created["regions"], created["replicas"], created["slots"]),
            ("orders", "PUBLIC", 4, 2, 16384))
    again = cluster.tenure("db", "create", "orders", "--output", "json", expect=1).refusal
    t.equal((again["reason"], again["retryable"]), ("ALREADY_EXISTS", False))
    t.matches(again["message"], "orders")
    t.equal(sorted(d["name"] for d in cluster.json("db", "list")), ["default", "orders"])
    regions = cluster.json("region", "list", "orders")
    t.equal(len(regions), 4)
    slots = sorted(r["slots"][0] for r in regions)
    t.equal((slots[0][0], slots[-1][1]), (0, 16383))
    assert all(a[1] + 1 == b[0] for a, b in zip(slots, slots[1:])), slots
    for region in regions:
        has_fields(t, region, "id database slots replicas leader state configuration_version range_version bytes keys",
                   "region")
        t.equal((region["database"], len(region["replicas"]), region["state"]), ("orders", 2, "SERVING"))
        has_fields(t, region["replicas"][0], "id node role applied", "replica")
        has_fields(t, region["leader"], "node term", "leader")
    t.matches(cluster.tenure("db", "show", "orders").out, "REGION +SLOTS +NODES +STATE")
    cluster.tenure("db", "drop", "orders", timeout=60)
    t.error_line(cluster.tenure("db", "show", "orders", expect=None), "NOT_FOUND")
    t.equal(cluster.json("region", "list", "default")[0]["database"], "default")
    second = cluster.json("db", "create", "orders", "--regions", "1", timeout=60)
    assert int(second["id"]) > int(created["id"]), "ids of databases are never used again"
    cluster.tenure("db", "drop", "orders", "--no-wait")
    system.until(lambda: "orders" not in [d["name"] for d in cluster.json("db", "list")], 30, "orders is gone")
    name = "Bücher 2"
    cluster.tenure("db", "create", name, "--regions", "1", timeout=60)
    t.equal(cluster.json("db", "show", name)["name"], name)
    cluster.tenure("db", "drop", name, timeout=60)


@case(limit=60, shared=True)
def entries(t):
    """`kv put|get|delete|list` with conditions."""
    cluster = t.cluster()
    first = cluster.json("kv", "put", "app/a", "1")["revision"]
    t.equal(cluster.tenure("kv", "get", "app/a").out, "1\n")
    entry = cluster.json("kv", "get", "app/a")
    t.equal((entry["key"], entry["value"], entry["version"], entry["modify_revision"], entry["create_revision"]),
            ("app/a", "1", 1, first, first))
    refused = cluster.tenure("kv", "put", "app/a", "2", "--if-absent", "--output", "json", expect=1).refusal
    t.equal(refused["reason"], "CONDITION_FAILED")
    t.equal(refused["details"]["revision"], first)
    second = cluster.json("kv", "put", "app/a", "2", "--if-revision", first)["revision"]
    assert second > first
    t.equal(cluster.tenure("kv", "put", "app/a", "3", "--if-revision", first, expect=1).code, 1)
    cluster.tenure("kv", "put", "app/b", "-", stdin="from\nstdin")
    cluster.tenure("kv", "put", "apple", "x")
    t.equal([e["key"] for e in cluster.json("kv", "list", "app/")], ["app/a", "app/b"])
    t.equal([e.get("value") for e in cluster.json("kv", "list", "app/", "--keys-only")], [None, None])
    t.equal([e["key"] for e in cluster.json("kv", "list", "app", "--limit", "2")], ["app/a", "app/b"])
    t.equal(cluster.json("kv", "get", "app/b")["value"], "from\nstdin")
    t.error_line(cluster.tenure("kv", "delete", "app/a", "--if-revision", first, expect=None), "CONDITION_FAILED")
    t.equal(cluster.json("kv", "delete", "app/a", "--if-revision", second)["deleted"], True)
    t.equal(cluster.json("kv", "delete", "app/a")["deleted"], False)
    t.error_line(cluster.tenure("kv", "get", "app/a", expect=None), "NOT_FOUND: .*app/a")
    for key in ("app/b", "apple"):
        cluster.tenure("kv", "delete", key)
    cluster.tenure("kv", "put", "empty", "")
    t.equal(cluster.tenure("kv", "get", "empty").out, "\n")
    cluster.tenure("kv", "put", "big", "-", stdin="v" * (1 << 20))
    t.equal(len(cluster.tenure("kv", "get", "big").out), (1 << 20) + 1)
    cluster.tenure("kv", "delete", "big")
    cluster.tenure("kv", "delete", "empty")


@case(limit=90, shared=True)
def watch(t):
    """`kv watch` and `record watch` print each change once, from a revision on, through a change of leader."""
    cluster = t.cluster()
    start = cluster.json("kv", "put", "w/0", "0")["revision"]
    watch = t.start(t.binary("tenure"), "kv", "watch", "w/", "--after", start, "--output", "json", "--controllers",
                    cluster.controllers)
    events = []
    reader = threading.Thread(target=lambda: events.extend(json.loads(line) for line in watch.stdout))
    reader.start()
    cluster.tenure("kv", "put", "w/1", "1")
    cluster.tenure("controller", "transfer")
    cluster.tenure("kv", "put", "w/1", "2")
    cluster.tenure("kv", "put", "other", "x")
    cluster.tenure("kv", "delete", "w/1")
    try:
        system.until(lambda: len(events) >= 3, 10, "three events")
        time.sleep(0.3)  # none comes twice
    finally:
        watch.terminate()
        reader.join()
    t.equal([(e["type"], e["new"] and e["new"]["value"]) for e in events],
            [("created", "1"), ("changed", "2"), ("deleted", None)])
    revisions = [e["revision"] for e in events]
    t.equal(revisions, sorted(set(revisions)))
    for key in ("w/0", "other"):
        cluster.tenure("kv", "delete", key)


@case(limit=60, shared=True)
def records(t):
    """`record get|list`: the catalog's own records."""
    cluster = t.cluster()
    kinds = [r["kind"] for r in cluster.json("record", "list")]
    # Of procedures those that have ended stay listed, whoever used the cluster before.
    t.equal({kind: kinds.count(kind) for kind in set(kinds) - {"procedure"}},
            {"cluster": 1, "controller": 3, "node": 3, "database": 1, "region": 8})
    assert "procedure" in kinds, kinds  # that created the database
    t.equal(cluster.json("record", "get", "database", "default")["state"], "PUBLIC")
    t.equal(cluster.json("record", "get", "cluster")["cluster_id"], cluster.status()["cluster_id"])
    t.error_line(cluster.tenure("record", "get", "node", "77", expect=None), "NOT_FOUND")
    t.error_line(cluster.tenure("record", "list", "planet", expect=None), "planet", code=2)


@case(limit=90, shared=True)
def controller_transfer(t):
    """`controller transfer` under writes: none is lost, none is written twice, the writer never sees an error."""
    cluster = t.cluster()
    done, failures, stop = [], [], threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            result = cluster.tenure("kv", "put", f"transfer/{number}", str(number), "--output", "json", expect=None)
            (done if result.code == 0 else failures).append(str(result) if result.code else number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            leader = cluster.leader()
            target = next(name for name in cluster.names if name != leader)
            to = next(c for c in cluster.json("controller", "list") if c["address"].endswith(f":{cluster.rpc_port(target)}"))
            cluster.tenure("controller", "transfer", to["id"])
            system.until(lambda: cluster.leader() == target, 10, f"{target} leads")
        cluster.tenure("controller", "transfer")
    finally:
        stop.set()
        writer.join()
    t.equal(failures, [])
    entries = cluster.json("kv", "list", "transfer/")
    t.equal(sorted(int(e["value"]) for e in entries), done)
    t.equal({e["version"] for e in entries}, {1})
    t.note(f"{len(done)} writes during four transfers")
    t.error_line(cluster.tenure("controller", "transfer", "9", expect=None), "NOT_FOUND: .*9")
    for entry in entries:
        cluster.tenure("kv", "delete", entry["key"])


@case(limit=90, shared=True)
def region_transfer(t):
    """`region transfer-leader` to each of a region's nodes; a node that holds no replica is refused."""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    client.set("moving", "1")
    slot = client.keyslot("moving")
    region = next(r for r in cluster.json("region", "list") if r["slots"][0][0] <= slot <= r["slots"][0][1])
    for replica in region["replicas"]:
        cluster.tenure("region", "transfer-leader", region["id"], replica["node"])
        t.equal(cluster.json("region", "show", region["id"])["leader"]["node"], replica["node"])
        t.equal(client.get("moving"), "1")
        client.set("moving", "1")
    t.error_line(cluster.tenure("region", "transfer-leader", region["id"], "99", expect=None), "NOT_FOUND: .*99")
    t.error_line(cluster.tenure("region", "transfer-leader", "987654", "1", expect=None), "NOT_FOUND: .*987654")
    t.matches(cluster.tenure("region", "show", region["id"]).out, "REPLICA +NODE +ROLE +STATE")


@case(limit=90)
def inspect(t):
    """`inspect` on a stopped process' directory: identity, groups, log, catalog; nothing is changed by it."""
    cluster = t.cluster()
    cluster.tenure("kv", "put", "seen", "by inspect")
    cluster_id = cluster.status()["cluster_id"]
    result = t.tenure("inspect", cluster.process_directory("1"), expect=None)
    t.error_line(result, "running|in use|lock")
    cluster.down()
    documents = [t.tenure("inspect", cluster.process_directory(name), "--output", "json").json for name in cluster.names]
    for document in documents:
        t.equal(document["identity"]["cluster_id"], cluster_id)
        catalog = next(g for g in document["groups"] if g["group"] == "0")
        has_fields(t, catalog, "group term vote commit applied last_index configuration", "group")
        t.equal(len(catalog["configuration"]), 3)
        t.equal(len(document["groups"]), 9)
        t.equal(len([r for r in document["catalog"] if r["kind"] == "region"]), 8)
    t.matches(t.tenure("inspect", cluster.process_directory("1")).out, f"{cluster_id}.*GROUP +.*KIND")
    t.error_line(t.tenure("inspect", t.directory / "nothing", expect=None), "nothing")

    def snapshot():
        return {path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.read_bytes() if path.is_file() else b"")
                for path in sorted(cluster.process_directory("1").rglob("*"))}

    before = snapshot()
    document = t.tenure("inspect", cluster.process_directory("1"), "--format", "json", "--log").json
    commands = [e["command"] for e in document["entries"] if e["group"] == "0" and e["type"] == "command"]
    put = next(c["put_entry"] for c in commands if "put_entry" in c)
    t.equal((put["key"], put["value"]), ("seen", "by inspect"))
    lines = t.tenure("inspect", cluster.process_directory("1"), "--format", "nodes-conf").out.splitlines()
    nodes = [line for line in lines if "master" in line.split(" ")[2]]
    t.equal(len(nodes), 3)
    t.equal(len([line for line in nodes if "myself" in line]), 1)
    t.equal(sum(int(r.split("-")[1]) - int(r.split("-")[0]) + 1 for line in nodes for r in line.split(" ")[8:]), 16384)
    t.matches(lines[3], r"^vars currentTerm [1-9]\d* votedFor \d+ lastApplied \d+$")
    t.equal([int(line.split(" ")[1]) for line in lines[4:]], list(range(1, len(lines) - 3)))
    t.matches(lines[4], "^log 1 1 no-op null$")
    assert snapshot() == before, "inspect changed something"
    cluster.up()
    t.equal(cluster.tenure("kv", "get", "seen").out, "by inspect\n")
