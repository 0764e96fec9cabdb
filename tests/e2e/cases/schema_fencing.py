"""Tables that are replaced while a node does not hear of it: nothing stale is read or written through it."""

import itertools
import signal
import time

from cases.fencing import LEASE, PROCEED, Witness, check_fenced, is_error, node_of, shorten
from cases.procedures import newest, wait_ended
from harness import resp, system
from harness.network import NetworkCluster
from harness.registry import case

DATABASE = "books"
KEYS = 24
NEW = ("a", "true", "mark")  # what a row of the new table holds: a column of another type, and another column


class RowWitness(Witness):
    """Reads and writes rows through one process: by the shape of the old table, and by that of the new one once it was
    asked for. The number of a write is in it."""

    new_shape = False

    def words(self, kind, number):
        key = f"orders:{self.name}:{self.number}:{number % KEYS}"
        if kind == "read":
            return "HGETALL", key
        if self.new_shape and number % 2:
            return "HSET", key, "a", "true", "mark", number
        return "HSET", key, "a", number, "note", "old"

    def greet(self, connection):
        """The database is strict, so that there are no keys but rows. A node without a lease refuses this too."""
        answer = connection.ask("SELECT", DATABASE)
        return answer if isinstance(answer, resp.Error) else None


def make_books(cluster):
    cluster.tenure("db", "create", DATABASE, "--strict", "--regions", 6, timeout=60)
    cluster.tenure("table", "create", f"{DATABASE}.orders", "--column", "a:int64", "--column", "note:text:null")
    # Every node leads regions of it, and so has rows to be stale about.
    for number, region in enumerate(cluster.json("region", "list", DATABASE)):
        node = cluster.node_names[number % len(cluster.node_names)]
        system.until(lambda: cluster.tenure("region", "transfer-leader", region["id"], node, expect=None).code == 0, 30,
                     f"region {region['id']} is led by {node}")
    cluster.wait_serving()


def replace_table(cluster, witnesses):
    """Drops the table and makes another one under its name; when the drop was made."""
    cluster.tenure("table", "drop", f"{DATABASE}.orders", "--timeout", "90", timeout=100)
    dropped = time.monotonic()
    for witness in witnesses:
        witness.new_shape = True
    cluster.tenure("table", "create", f"{DATABASE}.orders", "--column", "a:bool", "--column", "mark:text:null", "--timeout",
                   "90", timeout=100)
    return dropped


def check_rows(t, cluster, witnesses, dropped):
    """From the moment at which the drop was made nobody was shown a row of the old table, or told that one was written;
    what was acknowledged of the new one is there."""
    counts = {"read": 0, "write": 0}
    floors = {}
    for witness in witnesses:
        assert any(kind == "write" and isinstance(answer, int) for _, end, kind, answer, _ in witness.told if end < dropped), \
            f"{witness.name} wrote nothing before"
        for asked, answered, kind, answer, words in witness.told:
            if answered <= dropped or isinstance(answer, resp.Error):
                continue
            counts[kind] += 1
            if kind == "write":
                assert "mark" in words, f"written by the old shape {answered - dropped:.3f} s after the drop: {words}"
                floors[words[1]] = max(floors.get(words[1], 0), words[5])
            else:
                assert b"note" not in answer, f"an old row, {answered - dropped:.3f} s after the drop: {words} {answer}"
                assert not answer or answer[:2] == [b"a", b"true"], f"a row of neither table: {words} {answer}"
    assert floors, "nobody wrote by the new shape"
    missing = dict(floors)

    def look():
        # Leaders move and routes follow: asked of everybody until somebody has each.
        for name in cluster.node_names:
            connection = resp.Connection(cluster.resp_port(name), host=cluster.host(name))
            connection.ask("SELECT", DATABASE)
            for key in list(missing):
                row = connection.ask("HGETALL", key)
                if isinstance(row, resp.Error):
                    continue
                assert row[:3] == [b"a", b"true", b"mark"] and int(row[3]) >= missing[key], f"{key}: {row}, {missing[key]}"
                del missing[key]
            connection.close()
        return not missing

    system.until(look, 30, "every row of the new table is there")
    return counts, len(floors)


def stale_node(t, cluster, take_away, give_back, wait):
    """The common story: load through all nodes, n2 away for longer than its lease, the table replaced, n2 back."""
    shorten(cluster)
    make_books(cluster)
    witnesses = [RowWitness(cluster, name, number) for number, name in itertools.product(range(2), cluster.node_names)]
    system.until(lambda: all(sum(isinstance(told[3], int) for told in w.told) > 20 for w in witnesses), 30,
                 "rows are written through every node")
    take_away("n2")
    away = time.monotonic()
    dropped = replace_table(cluster, witnesses)
    replaced = time.monotonic()
    time.sleep(max(0.0, away + wait - time.monotonic()))  # the absence is the case
    give_back("n2")
    begin = time.monotonic()
    system.until(lambda: not node_of(cluster, "n2")["fenced"] and cluster.ready("n2"), 30, "n2 serves again, by itself")
    back = time.monotonic()
    cluster.wait_serving()
    others = [w for w in witnesses if w.name != "n2"]
    system.until(lambda: all(any("mark" in told[4] and isinstance(told[3], int) for told in w.told) for w in others), 30,
                 "rows of the new table are written")
    time.sleep(1)
    for witness in witnesses:
        witness.finish()
    fenced = check_fenced([witness for witness in witnesses if witness.name == "n2"], dropped, back)
    counts, rows = check_rows(t, cluster, witnesses, dropped)
    t.note(f"dropped {dropped - away:.1f} s and replaced {replaced - away:.1f} s after n2 went, back {back - begin:.1f} s after "
           f"it could; {len(fenced)} answers FENCED, then {counts['read']} reads and {counts['write']} writes in all, none "
           f"stale; {rows} rows of the new table are there")
    t.equal({node["disposition"] for node in cluster.json("barrier")["nodes"]}, {"ACKED"})


@case(limit=240, quiet=True)
def stopped(t):
    """SIGSTOP for longer than the lease while the table is replaced: no stale read, no acknowledged stale write."""
    cluster = t.cluster(separate=True)
    stale_node(t, cluster, lambda name: cluster.signal(name, signal.SIGSTOP), lambda name: cluster.signal(name, signal.SIGCONT),
               LEASE + 3)


@case(limit=240, quiet=True)
def cut_from_the_controllers(t):
    """The same with a node that clients and other nodes reach, and the controllers do not."""
    cluster = NetworkCluster(t)
    cluster.form()
    stale_node(t, cluster, cluster.cut_controllers, lambda name: cluster.machines[name].restore(), LEASE + 3)
