"""Leadership of the control plane changes hands: what is served meanwhile, what waits and why, what must not happen."""

import re
import signal
import threading
import time

import redis

from cases.changefeeds import make_feed, make_table
from harness import feeds, resp, system, workload
from harness.network import NetworkCluster
from harness.registry import case

TOLERANCE = 15  # seconds that a new leader waits for members that give no sign (docs/leadership.md)
CEILING = 10    # seconds of silence after which any node is suspected
DOWN_AFTER = 30


def states(cluster):
    return {node["name"]: node for node in cluster.status()["nodes"]}


def load_ready_transition(status):
    """Of the present epoch, with its reason and duration."""
    return next(x for x in status["transitions"] if x["epoch"] == status["leader"]["epoch"] and x["to"] == "serving")


def databases(cluster):
    return sorted(d["name"] for d in cluster.json("record", "list", "database"))


# ---- a node that says nothing ----------------------------------------------------------------------------------------


def write(cluster, names, key, limit=20):
    """A write through one of these processes; redirects are followed to these only."""
    ports = {f"{cluster.host(name)}:{cluster.resp_port(name)}": name for name in names}
    at = names[0]

    def attempt():
        nonlocal at
        connection = resp.Connection(cluster.resp_port(at), timeout=5, host=cluster.host(at))
        answer = connection.ask("SET", key, "1")
        connection.close()
        if isinstance(answer, resp.Error) and answer.startswith("MOVED"):
            at = ports.get(answer.split()[2], at)
        return answer == b"OK"

    system.until(attempt, limit, f"key {key} is written", interval=0.1)


class Background(threading.Thread):
    """A command of `tenure` while the case goes on."""

    def __init__(self, cluster, *arguments):
        super().__init__(daemon=True)
        self.cluster, self.arguments, self.result = cluster, arguments, None
        self.start()

    def run(self):
        self.result = self.cluster.tenure(*self.arguments, expect=None, timeout=90)

    def finish(self):
        self.join(timeout=90)
        assert self.result is not None, f"{self.arguments} has not ended"
        assert self.result.code == 0, str(self.result)
        return self.result


@case(limit=150, quiet=True)
def silent_node(t):
    """A new leader waits for a node whose packets are dropped until the tolerance, says so, and serves the rest."""
    cluster = NetworkCluster(t)
    cluster.form()
    cluster.tenure("kv", "put", "before", "1")
    keys = [workload.key_of_slot(region["slots"][0][0]) for region in cluster.json("region", "list")]
    silent = "node " + states(cluster)["n3"]["id"]
    cluster.machines["n3"].cut()
    controllers = [name for name in cluster.names if name.startswith("c")]
    cluster.kill(*controllers)
    cluster.start(*controllers)

    def waiting():
        status = cluster.status()
        return status["phase"] == "warming_up" and status["warm_up"]["missing"] == [silent] and status["warm_up"]

    first = system.until(waiting, 30, f"the leader waits for {silent} and nobody else")
    t.equal((first["reason"], first["unsampled"]), ("load", []))
    t.matches(cluster.tenure("status").out, f"warm-up +load, without {silent}, at most .* more")
    create = Background(cluster, "db", "create", "waits", "--regions", "2", "--replicas", "2")
    t.equal(cluster.tenure("kv", "get", "before").out, "1\n")
    for number in range(3):
        cluster.tenure("kv", "put", f"meanwhile:{number}", number)
    for key in keys:
        write(cluster, ["n1", "n2"], key)
    later = waiting()
    assert later, f"the warm-up ended before the writes did: {cluster.status()['warm_up']}"
    assert later["remaining_ms"] < first["remaining_ms"] <= TOLERANCE * 1000, (first, later)
    t.equal(create.result, None, "a database needs to know the load")

    status = system.until(lambda: cluster.status()["phase"] == "serving" and cluster.status(), TOLERANCE + 20,
                          "it goes on without the node")
    t.equal((status["warm_up"]["reason"], status["warm_up"]["missing"], status["warm_up"]["unsampled"]), ("", [], [silent]))
    transition = load_ready_transition(status)
    t.equal(transition["reason"], f"the tolerance has passed without {silent}")
    assert transition["duration_ms"] >= TOLERANCE * 1000, transition
    system.until(lambda: states(cluster)["n3"]["state"] == "SUSPECT", 5, f"{silent} is SUSPECT")
    created = create.finish()
    t.note(f"load ready after {transition['duration_ms'] / 1000:.1f} s, db create waited {created.seconds:.1f} s")
    t.equal(databases(cluster), ["default", "waits"])

    cluster.machines["n3"].restore()
    system.until(lambda: states(cluster)["n3"]["state"] == "UP", 30, f"{silent} is back")
    t.equal(cluster.status()["warm_up"]["unsampled"], [])


# ---- a leader that stands still --------------------------------------------------------------------------------------


class Users:
    """Databases and tables come, change and go, a region is split and merged, a changefeed is paused and resumed, entries and
    keys are written: each in a thread of its own, which knows what was acknowledged."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.stopping = threading.Event()
        self.exist, self.tables, self.entries, self.keys, self.failed = {"default"}, {}, {}, {}, []
        self.changes = dict.fromkeys(("databases", "tables", "regions", "changefeeds", "entries", "keys"), 0)
        loops = (self._databases, self._tables, self._regions, self._changefeeds, self._entries, self._keys)
        self.threads = [threading.Thread(target=self._run, args=(loop,), daemon=True) for loop in loops]
        for thread in self.threads:
            thread.start()

    def _run(self, loop):
        try:
            loop()
        except Exception as error:
            self.failed.append(f"{loop.__name__}: {error}")

    def _done(self, kind, *arguments):
        result = self.cluster.tenure(*arguments, "--timeout", "60", expect=None, timeout=90)
        if result.code != 0:
            self.failed.append(str(result))
        else:
            self.changes[kind] += 1
        return result.code == 0

    def _databases(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            if self._done("databases", "db", "create", f"db{number}", "--regions", "2"):
                self.exist.add(f"db{number}")
            if number % 2 == 0 and self._done("databases", "db", "drop", f"db{number - 1}"):
                self.exist.discard(f"db{number - 1}")

    def _tables(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            name = f"default.t{number}"
            if self._done("tables", "table", "create", name, "--column", "a:int64"):
                self.tables[name] = ["a"]
            if self._done("tables", "table", "alter", name, "--add-column", "b:text:null"):
                self.tables[name] = ["a", "b"]
            if number % 2 == 0 and self._done("tables", "table", "drop", name):
                del self.tables[name]

    def _regions(self):
        regions = lambda: [region["id"] for region in self.cluster.json("region", "list", "default")]
        before = regions()
        while not self.stopping.is_set():
            if self._done("regions", "region", "split", before[0]):
                new = max(set(regions()) - set(before), key=int)  # one that was merged may still be wanted by the changefeed
                self._done("regions", "region", "merge", new, before[0])

    def _changefeeds(self):
        while not self.stopping.is_set():
            self._done("changefeeds", "changefeed", "pause", "feed")
            self._done("changefeeds", "changefeed", "resume", "feed")
            self.stopping.wait(1)

    def _entries(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            if self._done("entries", "kv", "put", f"entry{number}", number):
                self.entries[f"entry{number}"] = str(number)

    def _keys(self):
        client = self.cluster.redis_cluster()
        number = 0
        while not self.stopping.is_set():
            number += 1
            key, deadline = f"key{number % 1000}", time.monotonic() + 30
            while True:
                try:
                    client.set(key, number)
                    self.keys[key] = str(number)
                    self.changes["keys"] += 1
                    break
                except redis.exceptions.ClusterError as e:  # its attempts are spent: slots on their way wait for the next leader
                    if time.monotonic() > deadline:
                        self.failed.append(f"{key}: {e}")
                        break
                except Exception as e:
                    self.failed.append(f"{key}: {type(e).__name__}: {e}")
                    break

    def wait_for(self, count, limit):
        """Until so many more entries are acknowledged, and changes of every other kind."""
        before = dict(self.changes)
        wanted = {kind: before[kind] + (count if kind == "entries" else 1) for kind in before}
        try:
            system.until(lambda: self.failed or all(self.changes[kind] >= wanted[kind] for kind in wanted), limit, "more changes")
        except AssertionError as error:
            raise AssertionError(f"{error}: {wanted} wanted, {self.changes} made") from None
        assert not self.failed, self.failed[:3]

    def finish(self, t):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=90)
            assert not thread.is_alive(), "a client hangs"
        t.equal(self.failed, [], "nothing may fail")
        t.equal(databases(self.cluster), sorted(self.exist), "each database once, as acknowledged")
        columns = {f"{table['database']}.{table['name']}": [column["name"] for column in table["columns"]] for table in self.cluster.json("table", "list")}
        columns.pop("default.orders")  # of the changefeed
        t.equal(columns, self.tables, "the columns of each table, as acknowledged")
        client = self.cluster.redis_cluster()
        t.equal({key: client.get(key) for key in self.keys}, self.keys, "keys, as acknowledged")
        found = {entry["key"]: entry["value"] for entry in self.cluster.tenure("kv", "list", "--output", "json").json}
        gone = [key for key, value in self.entries.items() if found.get(key) != value]
        assert not gone, f"{len(gone)} of {len(self.entries)} acknowledged entries are gone: {gone[:5]}"


def epochs_heard(cluster, name):
    """Of the leaders that answered this node's heartbeats, in this order."""
    return [int(epoch) for epoch in re.findall(r"heartbeats to \S+ in epoch (\d+)", cluster.log(name))]


@case(limit=180)
def paused_leader(t):
    """SIGSTOP of the leading controller in the middle of changes: another leads, and nothing of the old epoch happens."""
    cluster = t.cluster(separate=True)
    make_table(cluster)
    feed = make_feed(t, cluster, "feed", "--filter", "table:orders")
    users = Users(cluster)
    writers = feeds.Writers(cluster, clients=4).start()
    users.wait_for(3, 30)
    writers.wait_for(100)
    paused = cluster.leader()
    before = cluster.status()["leader"]
    cluster.signal(paused, signal.SIGSTOP)
    begin = time.monotonic()

    def another():
        status = cluster.status()
        leader = status["leader"]
        return leader and leader["epoch"] > before["epoch"] and status["phase"] == "serving" and leader

    after = system.until(another, 30, f"another controller than {paused} serves")
    assert after["id"] != before["id"], (before, after)
    t.note(f"another leader served {time.monotonic() - begin:.1f} s after the pause began")
    users.wait_for(3, 30)
    time.sleep(max(0.0, begin + (30 if t.full else 6) - time.monotonic()))  # the pause is the case
    epoch = cluster.status()["leader"]["epoch"]
    cluster.signal(paused, signal.SIGCONT)
    resumed = time.monotonic()
    ended = f"no longer leads epoch {before['epoch']}:"
    system.until(lambda: ended in cluster.log(paused), 20, f"{paused} says: {ended}")
    t.note(f"the old leader gave up {time.monotonic() - resumed:.2f} s after it was resumed")

    def follows():
        return {c["name"]: c["state"] for c in cluster.status()["controllers"]}[paused] == "follower"

    system.until(follows, 20, f"{paused} follows")
    t.equal(cluster.status()["leader"]["epoch"], epoch, "it disturbs nobody when it comes back")
    own = t.tenure("status", "--output", "json", controllers=cluster.rpc_address(paused)).json
    t.equal(own["leader"]["epoch"], epoch)
    users.wait_for(3, 30)
    writers.wait_for(100)
    writers.stop()
    users.finish(t)
    feed.verify(t, writers)
    t.note("acknowledged: " + ", ".join(f"{count} {kind}" for kind, count in users.changes.items()))
    for name in cluster.node_names:
        heard = epochs_heard(cluster, name)
        assert heard == sorted(heard), f"{name} took answers of a leader that was none any more: epochs {heard}"
        t.equal(heard[-1], epoch, f"last epoch heard by {name}")


# ---- all controllers restarted in turn -------------------------------------------------------------------------------


class Writers:
    """Concurrent `kv put`s, one after the other each, and a `db create` now and then. None may fail."""

    def __init__(self, cluster, count):
        self.cluster = cluster
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.puts, self.creates, self.failed = [], [], []  # seconds; seconds; text
        self.threads = [threading.Thread(target=self._put, args=(number,), daemon=True) for number in range(count)]
        self.threads.append(threading.Thread(target=self._create, daemon=True))
        for thread in self.threads:
            thread.start()

    def _done(self, times, *arguments):
        result = self.cluster.tenure(*arguments, expect=None, timeout=90)
        with self.lock:
            times.append(result.seconds)
            if result.code != 0:
                self.failed.append(str(result))

    def _put(self, writer):
        number = 0
        while not self.stopping.is_set():
            number += 1
            self._done(self.puts, "kv", "put", f"writer{writer}", number)

    def _create(self):
        number = 0
        while not self.stopping.wait(1):
            number += 1
            self._done(self.creates, "db", "create", f"db{number}", "--regions", "1")

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=90)
            assert not thread.is_alive(), "a client hangs"


@case(limit=240)
def rolling_restart(t):
    """All three controllers are restarted one after the other under load, and no client sees an error."""
    cluster = t.cluster(separate=True)
    writers = Writers(cluster, 6 if t.full else 3)
    system.until(lambda: len(writers.puts) >= 20 and writers.creates, 30, "clients write")
    usual = sorted(writers.puts)[len(writers.puts) // 2]
    undisturbed = len(writers.puts)
    for _ in range(3 if t.full else 1):
        for name in ("c1", "c2", "c3"):
            cluster.stop(name)
            cluster.start(name)

            def caught_up():
                if not cluster.ready(name):
                    return False
                controllers = {c["name"]: c for c in cluster.status()["controllers"]}
                index = max(int(c["match_index"]) for c in controllers.values())
                # Under load it is always a little behind.
                return controllers[name]["state"] in ("leader", "follower") and int(
                    controllers[name]["match_index"]) >= index - 10

            system.until(caught_up, 30, f"{name} has caught up")
    served = len(writers.creates)
    system.until(lambda: len(writers.creates) > served, 30, "a database is created after the last restart")
    writers.finish()
    t.equal(writers.failed, [], "no operation may fail")
    during = writers.puts[undisturbed:]
    added = sum(max(0.0, seconds - usual) for seconds in during)
    t.note(f"{len(during)} puts (usually {usual:.2f} s each with the start of the client) waited {added:.2f} s longer in all, "
           f"the longest {max(during):.2f} s; {len(writers.creates)} db creates, the longest {max(writers.creates):.2f} s")
    t.equal(len([x for x in databases(cluster) if x.startswith("db")]), len(writers.creates))


# ---- suspicion -------------------------------------------------------------------------------------------------------


@case(limit=150, quiet=True)
def suspicion(t):
    """A node that stands still is SUSPECT, then DOWN; one that only the controllers do not reach is not DOWN."""
    cluster = NetworkCluster(t)
    cluster.form()
    cluster.signal("n1", signal.SIGSTOP)
    cluster.cut_controllers("n2")
    begin = time.monotonic()
    suspected, down = {}, {}
    n1_details = set()

    def look():
        now = time.monotonic() - begin
        nodes = states(cluster)
        for name in ("n1", "n2"):
            if nodes[name]["state"] == "SUSPECT":
                suspected.setdefault(name, now)
            if nodes[name]["state"] == "DOWN":
                down.setdefault(name, now)
        n1_details.add(nodes["n1"]["detail"])
        t.equal(nodes["n3"]["state"], "UP")
        return nodes

    def both_suspected():
        nodes = look()
        return len(suspected) == 2 and "other nodes reached it" in nodes["n2"]["detail"]

    # The node's silence begins with its last heartbeat, up to one interval before the cut.
    system.until(both_suspected, CEILING + 10, "n1 and n2 are SUSPECT and n2 is reached by others", interval=0.2)
    t.note(f"SUSPECT: stopped after {suspected['n1']:.1f} s, cut from the controllers only after {suspected['n2']:.1f} s")
    node = next(n for n in cluster.json("node", "list") if n["name"] == "n2")
    t.matches(node["detail"], r"^other nodes reached it \d+ ms ago$")
    t.matches(cluster.json("node", "show", "n2")["detail"], "other nodes reached it")
    t.matches(cluster.tenure("node", "list").out, r"SUSPECT \(other nodes reached it")
    t.matches(cluster.tenure("node", "show", "n2").out, r"SUSPECT \(other nodes reached it")
    if t.full:
        while time.monotonic() - begin < DOWN_AFTER + CEILING:
            look()
            time.sleep(0.5)
        assert "n1" in down, f"n1 stands still and is {look()['n1']['state']}"
        t.equal(down.get("n2"), None, "n2 is reached by others; it was DOWN at")
        t.equal(look()["n2"]["state"], "SUSPECT")
    t.equal(n1_details, {""}, "what is said of a node that nobody reaches")
    cluster.signal("n1", signal.SIGCONT)
    cluster.machines["n2"].restore()
    system.until(lambda: {n["state"] for n in look().values()} == {"UP"}, 40, "all nodes are UP")
    cluster.wait_serving()
