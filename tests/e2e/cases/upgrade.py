"""Data directories of earlier formats (tests/data), and raising the format."""

import pathlib
import subprocess

from cases.rows import wait_gone
from harness import system
from harness.registry import case

DATA = pathlib.Path(__file__).resolve().parents[2] / "data"
NEWEST = 5


def recorded(t, name):
    cluster = t.new_cluster(name)
    subprocess.run(["tar", "-C", cluster.directory.parent, "-xJf", DATA / f"{name}.tar.xz"], check=True)
    (cluster.directory.parent / "cluster").rename(cluster.directory)
    cluster.base = 18400  # as recorded
    system.until(lambda: cluster.base in system.RESERVED or system.reserve(cluster.base), 120,
                 "the ports of the recorded cluster are free")
    return cluster


def check_content(t, cluster):
    entries = {entry["key"]: entry for entry in cluster.json("kv", "list")}
    wanted = {f"key{i}": f"value{i}" for i in range(1, 31)} | {"key5": "changed", "last": "one"}
    del wanted["key7"]
    t.equal({key: entry["value"] for key, entry in entries.items()}, wanted)
    t.equal(entries["key5"]["version"], 2)
    t.equal({(db["name"], db["regions"]) for db in cluster.json("db", "list")}, {("default", 8), ("third", 1)})
    client = cluster.redis_cluster()
    for i in range(1, 61):
        t.equal(client.get(f"string{i}"), None if i == 50 else f"value{i}")
    t.equal(client.hgetall("hash"), {"a": "1", "b": "2"})
    assert client.ttl("expiring") > 2_900_000_000, client.ttl("expiring")


def finalize(t, cluster):
    t.equal(cluster.json("upgrade", "status")["format"], 1)
    status = system.until(lambda: (lambda s: s if s["possible"] == NEWEST else None)(cluster.json("upgrade", "status")),
                          20, f"all members say that they read format {NEWEST}")
    t.equal({(member["kind"], member["newest_format"]) for member in status["members"]},
            {("controller", NEWEST), ("node", NEWEST)})
    t.matches(cluster.tenure("upgrade", "status").out, "`tenure upgrade finalize` raises it")
    t.matches(cluster.tenure("upgrade", "finalize").out, f"^format raised to {NEWEST}")
    t.equal(cluster.json("upgrade", "finalize")["raised"], False)
    t.equal(cluster.json("upgrade", "status")["format"], NEWEST)


@case(limit=300, quiet=True)
def recorded_format_1(t):
    """This build starts on what format 1 wrote, finds everything, raises the format and still finds everything."""
    for name in ("format-1-killed", "format-1-stopped"):
        cluster = recorded(t, name)
        cluster.up()
        cluster.wait_serving()
        check_content(t, cluster)
        refused = cluster.tenure("db", "create", "early", expect=None)
        t.error_line(refused, "UNSUPPORTED_FORMAT: .*needs format 3, the cluster has format 1; `tenure upgrade finalize`")
        t.error_line(cluster.tenure("db", "drop", "third", expect=None), "UNSUPPORTED_FORMAT: .*`tenure upgrade finalize`")
        t.error_line(cluster.tenure("node", "drain", "1", expect=None), "UNSUPPORTED_FORMAT|NOT_ENOUGH_NODES")
        t.equal(cluster.json("procedure", "list", "--all"), [])
        finalize(t, cluster)
        cluster.kill(*cluster.names)
        cluster.up()
        cluster.wait_serving()
        check_content(t, cluster)
        t.equal(cluster.json("upgrade", "status")["format"], NEWEST)
        cluster.tenure("db", "create", "late", "--regions", "2", timeout=70)
        cluster.tenure("db", "drop", "late", timeout=70)
        t.equal({p["state"] for p in cluster.json("procedure", "list", "--all")}, {"SUCCEEDED"})
        cluster.down()


def check_tables(t, cluster):
    shown = {one["name"]: (one["state"], one["schema_version"]) for one in cluster.json("table", "list")}
    t.equal(shown, {"orders": ("PUBLIC", 2), "kept": ("PUBLIC", 2)})
    t.equal([view["name"] for view in cluster.json("view", "list")], ["short"])
    client = cluster.redis_cluster()
    for i in range(1, 21):
        t.equal(client.hgetall(f"orders:{i}"), {"amount": str(i), "state": "new"})
        t.equal(client.hgetall(f"short:{i}"), {"qty": str(i)})
        t.equal(client.exists(f"gone:{i}"), 0)
    t.equal(client.hgetall("kept:1"), {"a": "1"})
    assert client.ttl("kept:1") > 3_000_000_000, client.ttl("kept:1")


@case(limit=300, quiet=True)
def recorded_format_4(t):
    """This build starts on tables, views and rows that format 4 wrote, finds all of it, and changes it."""
    for name in ("format-4-killed", "format-4-stopped"):
        cluster = recorded(t, name)
        cluster.up()
        cluster.wait_serving()
        t.equal(cluster.json("upgrade", "status")["format"], 4)
        check_content(t, cluster)
        check_tables(t, cluster)
        cluster.kill(*cluster.names)
        cluster.up()
        cluster.wait_serving()
        check_tables(t, cluster)
        cluster.tenure("table", "create", "default.gone", "--column", "a:text", timeout=60)
        client = cluster.redis_cluster()
        t.equal(client.hgetall("gone:1"), {})
        t.equal(client.hset("gone:1", "a", "x"), 1)
        cluster.tenure("view", "drop", "default.short", timeout=60)
        cluster.tenure("table", "drop", "default.orders", timeout=60)
        wait_gone(client, ["orders:1"])
        client.close()
        cluster.down()


@case(limit=300, quiet=True)
def recorded_retired_procedure(t):
    """A procedure of a type that this build does not have is shown as such, keeps its locks, and holds up nothing else."""
    cluster = recorded(t, "retired-procedure-killed")
    cluster.up()
    cluster.wait_serving()
    check_content(t, cluster)
    retired = {"id": "5", "type": "RelocateReplica", "state": "NEEDS_OPERATOR"}

    def check_retired():
        shown = cluster.json("procedure", "show", "5")
        t.equal({key: shown[key] for key in retired}, retired)
        t.matches(shown["progress"], "this program cannot run it")

    check_retired()
    cluster.tenure("db", "create", "late", "--regions", "2", timeout=70)
    cluster.tenure("db", "drop", "late", timeout=70)
    refused = cluster.tenure("region", "split", "11", expect=None, timeout=50)
    t.error_line(refused, "BUSY: .*region 11 is being changed by procedure 5")  # its locks are kept
    cluster.kill(*cluster.names)  # and a replay of its log
    cluster.up()
    cluster.wait_serving()
    check_retired()
    check_content(t, cluster)
    cluster.down()


@case(limit=60)
def new_cluster_has_the_newest_format(t):
    """A cluster begins with the format of the program that formed it."""
    cluster = t.cluster()
    status = cluster.json("upgrade", "status")
    t.equal((status["format"], status["possible"]), (NEWEST, NEWEST))
    t.equal(all(feature["enabled"] for feature in status["features"]), True)
    t.matches(cluster.tenure("upgrade", "finalize").out, f"^format {NEWEST}, the newest that all members read")
