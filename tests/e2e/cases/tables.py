"""Tables and views: changes of the schema, with nodes that are gone, and bad input."""

import concurrent.futures
import pathlib
import signal
import threading
import time

from cases.fencing import shorten
from cases.procedures import newest, wait_ended
from harness import system
from harness.registry import case


def table(cluster, name):
    return cluster.json("table", "show", name)


def columns(shown):
    return [(column["name"], column["type"]) for column in shown["columns"]]


@case(limit=240)
def life(t):
    """A table and a view are made, changed, renamed and dropped; every refusal names what is wrong and changes nothing."""
    cluster = t.new_cluster()
    cluster.up()
    cluster.tenure("table", "create", "default.orders", "--column", "qty:int64", "--column", "note:text:null",
                   "--column", "state:text=new", "--ttl", "7d")
    shown = table(cluster, "default.orders")
    t.equal(columns(shown), [("qty", "int64"), ("note", "text"), ("state", "text")])
    t.equal((shown["state"], shown["ttl_ms"], shown["schema_version"]), ("PUBLIC", 7 * 86400000, 1))
    t.equal([column.get("default") for column in shown["columns"]], [None, None, "new"])
    cluster.tenure("table", "alter", "default.orders", "--add-column", "paid:timestamp:null", "--rename-column", "note=remark",
                   "--drop-column", "state", "--ttl", "0")
    shown = table(cluster, "default.orders")
    t.equal(columns(shown), [("qty", "int64"), ("remark", "text"), ("paid", "timestamp")])
    t.equal((shown["ttl_ms"], shown["schema_version"]), (0, 2))
    cluster.tenure("view", "create", "default.short", "--table", "orders", "--columns", "qty,remark=text")
    t.equal([c["name"] for c in cluster.json("view", "show", "default.short")["columns"]], ["qty", "text"])

    refuse = lambda pattern, *arguments: t.error_line(cluster.tenure(*arguments, expect=None), pattern)
    before = (cluster.json("table", "list"), cluster.json("view", "list"))
    refuse("CONDITION_FAILED.*shown by view", "table", "drop", "default.orders")
    refuse("CONDITION_FAILED.*column 'qty'.*shown by view", "table", "alter", "default.orders", "--drop-column", "qty")
    refuse("ALREADY_EXISTS.*'orders'", "table", "create", "default.orders", "--column", "a:int64")
    refuse("ALREADY_EXISTS.*'short'", "table", "rename", "default.orders", "short")
    refuse("NOT_FOUND.*no table 'nothing'", "table", "drop", "default.nothing")
    refuse("NOT_FOUND.*no 'nowhere'", "table", "create", "nowhere.x", "--column", "a:int64")
    refuse("INVALID_ARGUMENT.*int32.*int64", "table", "create", "default.x", "--column", "a:int32")
    refuse("INVALID_ARGUMENT.*not an int64", "table", "create", "default.x", "--column", "a:int64=x")
    refuse("INVALID_ARGUMENT.*':'", "table", "create", "default.a:b", "--column", "a:int64")
    refuse("INVALID_ARGUMENT.*control characters", "table", "create", "default.a\tb", "--column", "a:int64")
    refuse("INVALID_ARGUMENT.*129 bytes, the limit is 128", "table", "create", "default." + "x" * 129, "--column", "a:int64")
    refuse("INVALID_ARGUMENT.*given twice", "table", "create", "default.x", "--column", "a:int64", "--column", "a:text")
    refuse("INVALID_ARGUMENT.*longest ttl", "table", "create", "default.x", "--column", "a:int64", "--ttl", "99999999999d")
    refuse("INVALID_ARGUMENT.*no ttl", "table", "create", "default.x", "--column", "a:int64", "--ttl", "soon")
    refuse("INVALID_ARGUMENT.*changes nothing", "table", "alter", "default.orders")
    refuse("INVALID_ARGUMENT.*nullable or to have a default", "table", "alter", "default.orders", "--add-column", "n:int64")
    refuse("NOT_FOUND.*no column 'zzz'", "table", "alter", "default.orders", "--drop-column", "zzz")
    refuse("NOT_FOUND.*no column 'zzz'", "view", "create", "default.v", "--table", "orders", "--columns", "zzz")
    refuse("INVALID_ARGUMENT.*is a view, not a table", "table", "drop", "default.short")
    refuse("INVALID_ARGUMENT.*DATABASE.NAME", "table", "show", "orders")
    t.equal((cluster.json("table", "list"), cluster.json("view", "list")), before)
    t.error_line(cluster.tenure("table", "create", "default.x", expect=None), "--column", code=2)

    cluster.tenure("view", "alter", "default.short", "--columns", "paid")
    cluster.tenure("view", "rename", "default.short", "brief")
    cluster.tenure("table", "rename", "default.orders", "sales")
    t.equal(table(cluster, "default.sales")["slot_name"], "orders")
    view = cluster.json("view", "show", "default.brief")
    t.equal((view["table"], [c["name"] for c in view["columns"]]), ("sales", ["paid"]))
    t.matches(cluster.tenure("view", "show", "default.brief").out, r"paid +paid +timestamp")
    t.matches(cluster.tenure("table", "list", "default").out, r"default\.sales +PUBLIC +3 +3")
    cluster.tenure("view", "drop", "default.brief")
    cluster.tenure("table", "drop", "default.sales")
    t.equal((cluster.json("table", "list"), cluster.json("view", "list")), ([], []))
    steps = [step["name"] for step in newest(cluster, "DropTable")["steps"]]
    t.equal(steps, ["announce", "delete_data"])


@case(limit=400)
def with_a_lost_node(t):
    """200 changes of 200 tables at once, just after a node was killed, take about one T_proceed together, and no thread each;
    once the node is known to be gone a change waits for nobody."""
    cluster = t.new_cluster(nodes=4, separate=True)
    cluster.up()
    tables = [f"default.t{i}" for i in range(200)]
    threads = lambda name: len(list(pathlib.Path(f"/proc/{cluster.pid(name)}/task").iterdir()))

    def all_at(version):
        shown = cluster.json("table", "list")
        return len(shown) == 200 and all((one["state"], one["schema_version"]) == ("PUBLIC", version) for one in shown) and \
            not [one for one in cluster.json("procedure", "list") if one["type"].endswith("Table")]

    def change(*arguments):
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: cluster.tenure("table", arguments[0], name, *arguments[1:], "--no-wait", timeout=60), tables))
        asked = time.monotonic() - began
        system.until(lambda: all_at(1 if arguments[0] == "create" else 2), 120, f"{arguments[0]}: all 200 are made")
        return asked, time.monotonic() - began

    alive = change("create", "--column", "a:int64")
    leader = cluster.leader()
    before = threads(leader)
    counts = []
    done = threading.Event()

    def count():
        while not done.wait(0.2):
            counts.append(threads(leader))

    counter = threading.Thread(target=count, daemon=True)
    counter.start()
    cluster.kill("n4")
    lost = change("alter", "--add-column", "b:text:null")
    done.set()
    counter.join()
    t.equal(cluster.leader(), leader)
    assert max(counts) <= before + 4, f"{before} threads became {max(counts)}"
    began = time.monotonic()
    cluster.tenure("table", "alter", "default.t0", "--add-column", "c:text:null", timeout=60)
    after = time.monotonic() - began
    t.note(f"200 tables created with all alive: {alive[1]:.1f} s (asked for within {alive[0]:.1f} s); 200 altered with a node just "
           f"killed: {lost[1]:.1f} s ({lost[0]:.1f} s); one more then: {after:.2f} s; threads of the leader: {before} before, "
           f"{max(counts)} at most meanwhile")
    # Far from 200 times T_proceed, 12.1 s, on the busiest machine.
    assert lost[1] < 90 and after < 8, (lost, after)


@case(limit=300, quiet=True)
def a_drop_whose_leader_dies(t):
    """A drop goes on when its leader dies, while a node is away."""
    cluster = t.new_cluster(nodes=4, separate=True)
    cluster.up()
    cluster.tenure("table", "create", "default.gone", "--column", "a:int64")
    cluster.kill("n4")
    cluster.tenure("table", "drop", "default.gone", "--no-wait")
    cluster.kill(cluster.leader())
    system.until(lambda: cluster.json("table", "list") == [], 60, "the table is gone")
    procedure = newest(cluster, "DropTable")
    t.equal(wait_ended(cluster, procedure["id"])["state"], "SUCCEEDED")


def rows_on_disk(t, cluster, name):
    """Rows by table id in the state of a stopped process, counted one by one."""
    found = {}
    for group in t.tenure("inspect", cluster.process_directory(name), "--output", "json").json["groups"]:
        for table_id, count in group["rows"].items():
            found[table_id] = found.get(table_id, 0) + count
    return found


def write_rows(cluster, name, count):
    client = cluster.redis_cluster()
    for i in range(count):
        client.hset(f"{name}:{i}", mapping={"a": i, "note": "x" * 100})
    client.close()


@case(limit=300, quiet=True)
def dropped_while_a_node_is_away(t):
    """A table dropped while a node is away, stopped in order or killed: its rows are gone from the node's disk once it is back."""
    cluster = t.new_cluster(separate=True)
    cluster.up()
    ids = {}
    for name in ("gone", "lost", "kept"):
        cluster.tenure("table", "create", f"default.{name}", "--column", "a:int64", "--column", "note:text")
        ids[name] = table(cluster, f"default.{name}")["id"]
        write_rows(cluster, name, 300)

    def asleep():
        """Every replica is idle, which it is once it knows of the last commit. What heartbeats have told the controllers
        is older."""
        seen = [cluster.metrics(name) for name in cluster.node_names]
        return all(node["tenure_node_regions_quiescent"] == node["tenure_node_regions"] > 0 for node in seen)

    system.until(asleep, 60, "every replica has applied everything")
    cluster.stop("n3")
    before = rows_on_disk(t, cluster, "n3")
    t.equal(before, {ids["gone"]: 300, ids["lost"]: 300, ids["kept"]: 300})
    began = time.monotonic()
    cluster.tenure("table", "drop", "default.gone", timeout=60)
    stopped = time.monotonic() - began
    cluster.start("n3")
    cluster.wait_serving()
    cluster.kill("n3")
    cluster.tenure("table", "drop", "default.lost", timeout=60)
    cluster.start("n3")
    cluster.wait_serving()
    system.until(asleep, 60, "every replica has applied everything")
    cluster.stop("n3")
    t.equal(rows_on_disk(t, cluster, "n3"), {ids["kept"]: 300})
    t.note(f"the drop took {stopped:.2f} s with the node stopped in order")


@case(limit=300)
def rolled_back_or_forward(t):
    """A drop can be cancelled until data are deleted, and leaves all rows; afterwards it only goes forward."""
    cluster = t.new_cluster(separate=True)
    cluster.up()
    shorten(cluster)
    cluster.tenure("table", "create", "default.orders", "--column", "a:int64", "--column", "note:text")
    write_rows(cluster, "orders", 50)
    shown = table(cluster, "default.orders")
    cluster.signal("n3", signal.SIGSTOP)  # the barrier waits for its lease
    cluster.tenure("table", "drop", "default.orders", "--no-wait")
    t.equal(table(cluster, "default.orders")["state"], "PRE_DELETE")
    drop = newest(cluster, "DropTable")
    cluster.tenure("procedure", "cancel", drop["id"])
    cluster.signal("n3", signal.SIGCONT)
    t.equal(wait_ended(cluster, drop["id"])["state"], "CANCELLED")
    again = table(cluster, "default.orders")
    t.equal((again["state"], again["columns"], again["schema_version"]), ("PUBLIC", shown["columns"], shown["schema_version"]))
    cluster.wait_serving()
    client = cluster.redis_cluster()
    t.equal([client.hget(f"orders:{i}", "a") for i in range(50)], [str(i) for i in range(50)])
    t.equal(client.hset("orders:0", "a", 1000), 0)
    client.close()

    # Two of three nodes stand still: the barrier passes when their leases have run out, and no region can delete.
    for name in ("n2", "n3"):
        cluster.signal(name, signal.SIGSTOP)
    cluster.tenure("table", "drop", "default.orders", "--no-wait")
    drop = newest(cluster, "DropTable")
    system.until(lambda: cluster.json("procedure", "show", drop["id"])["step"] == "delete_data", 30, "data are being deleted")
    t.error_line(cluster.tenure("procedure", "cancel", drop["id"], expect=None), "CONDITION_FAILED")
    t.equal(table(cluster, "default.orders")["state"], "PRE_DELETE")
    t.error_line(cluster.tenure("table", "create", "default.orders", "--column", "a:int64", expect=None), "ALREADY_EXISTS|CONDITION_FAILED")
    for name in ("n2", "n3"):
        cluster.signal(name, signal.SIGCONT)
    t.equal(wait_ended(cluster, drop["id"])["state"], "SUCCEEDED")
    t.equal(cluster.json("table", "list"), [])
    cluster.tenure("table", "create", "default.orders", "--column", "a:int64", timeout=60)
    cluster.wait_serving()
    t.equal(cluster.redis_cluster().hgetall("orders:0"), {})
