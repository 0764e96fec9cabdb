"""Changefeeds: every acknowledged row reaches the sink, in order per key, whatever happens to the nodes meanwhile."""

import json
import signal
import time
import urllib.request

import redis

from cases.disk import preload
from harness import system
from harness.feeds import FileFeed, Writers
from harness.kafka import MockKafka
from harness.nats import Nats
from harness.network import NetworkCluster
from harness.registry import case


def make_table(cluster):
    cluster.tenure("table", "create", "default.orders", "--column", "qty:int64", "--column", "name:text:null")


def make_feed(t, cluster, name="feed", *arguments):
    directory = t.directory / f"out-{name}"
    feed = cluster.json("changefeed", "create", name, "--sink", f"file://{directory}", *arguments, timeout=90)
    t.equal(feed["state"], "NORMAL")
    return FileFeed(directory, name)


def show(cluster, name="feed"):
    return cluster.json("changefeed", "show", name)


def owner(cluster, name="feed"):
    """Name of the process that runs its maintainer."""

    def look():
        feed = show(cluster, name)
        return feed["owner_name"] if feed["owner"] and not feed["operator"] else None

    return system.until(look, 60, f"changefeed {name} has an owner")


def wait_lag(cluster, below_ms=5000, limit=60, name="feed"):
    begin = time.monotonic()
    system.until(lambda: 0 <= show(cluster, name)["lag_ms"] < below_ms and show(cluster, name)["state"] == "NORMAL", limit,
                 f"the lag of changefeed {name} is below {below_ms} ms: {show(cluster, name)}")
    return time.monotonic() - begin


def wait_checkpoint(cluster, stamp, limit, when, name="feed"):
    """Until everything up to `stamp` is delivered; else what holds it."""
    try:
        system.until(lambda: int(show(cluster, name)["checkpoint_ts"]) > stamp, limit, f"the checkpoint passes {stamp} {when}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{cluster.tenure('changefeed', 'show', name, '--explain').out}") from None


@case(limit=120)
def verbs(t):
    """Create, list, show, pause, resume, move, update, remove: what they say, and that rows arrive."""
    cluster = t.cluster()
    make_table(cluster)
    feed = make_feed(t, cluster)
    with Writers(cluster, clients=4) as writers:
        writers.wait_for(100)
        shown = show(cluster)
        for field in ("id", "name", "state", "epoch", "owner", "owner_name", "checkpoint_ts", "lag_ms", "error", "dispatchers"):
            assert field in shown, f"no field {field}: {shown}"
        t.equal(len(shown["dispatchers"]), 16, "a table and plain keys in 8 regions")
        for field in ("table", "region", "node", "position", "rate", "error"):
            assert field in shown["dispatchers"][0], f"no field {field}: {shown['dispatchers'][0]}"
        t.equal([f["name"] for f in cluster.json("changefeed", "list")], ["feed"])
        t.matches(cluster.tenure("changefeed", "show", "feed", "--explain").out, "held back by.*orders|held back by.*plain keys")

        paused = cluster.json("changefeed", "pause", "feed")
        t.equal((paused["state"], paused["owner"]), ("PAUSED", None))
        before = {path: path.stat().st_size for _, _, _, path in feed.files()}
        writers.wait_for(100)
        t.equal({path: path.stat().st_size for path in before}, before, "files of a paused changefeed")
        updated = cluster.json("changefeed", "update", "feed", "--gc-ttl", "1h", "--stall-after", "30s")
        t.equal((updated["gc_ttl_ms"], updated["stall_after_ms"]), (3600_000, 30_000))
        resumed = cluster.json("changefeed", "resume", "feed", timeout=60)
        t.equal(resumed["state"], "NORMAL")
        assert int(resumed["epoch"]) > int(paused["epoch"]), (paused, resumed)

        origin = owner(cluster)
        target = next(name for name in cluster.names if name != origin)
        number = next(node["id"] for node in cluster.status()["nodes"] if node["name"] == target)
        moved = cluster.json("changefeed", "move", "feed", "--to", number, timeout=60)
        t.equal(moved["owner_name"], target)
        writers.wait_for(100)
    feed.verify(t, writers)
    wait_lag(cluster)
    t.matches("\n".join(line for name in cluster.names for line in metrics_of(cluster, name)),
              r'tenure_changefeed_lag_seconds\{changefeed="feed"\}')

    refused = cluster.tenure("db", "drop", "default", expect=1, timeout=60)
    t.error_line(refused, "changefeed.*feed")
    cluster.tenure("changefeed", "remove", "feed", timeout=60)
    t.equal(cluster.json("changefeed", "list"), [])
    cluster.tenure("db", "drop", "default", timeout=60)


def metrics_of(cluster, name):
    with urllib.request.urlopen(f"http://{cluster.host(name)}:{cluster.http_port(name)}/metrics", timeout=5) as answer:
        return answer.read().decode().splitlines()


@case(limit=120)
def refusals(t):
    """Every refusal names the field, the object and the limit."""
    cluster = t.cluster()
    make_table(cluster)
    sink = f"file://{t.directory}/out"

    def refused(pattern, *arguments, name="feed", code=1):
        t.error_line(cluster.tenure("changefeed", "create", name, *arguments, expect=None, timeout=60), pattern, code=code)

    refused("sink", code=2)
    refused("INVALID_ARGUMENT: .*name", "--sink", sink, name="no such name!")
    refused("NOT_FOUND: database.*nosuch", "--sink", sink, "--database", "nosuch")
    refused("NOT_FOUND: filter.*'default'.*'nosuch'", "--sink", sink, "--filter", "table:nosuch")
    refused("INVALID_ARGUMENT: .*filter", "--sink", sink, "--filter", "tables:orders")
    refused("INVALID_ARGUMENT: .*sink", "--sink", "pigeon://loft/1")
    refused("INVALID_ARGUMENT: .*sink", "--sink", "kafka://nowhere/t?acks=some")
    refused("INVALID_ARGUMENT: .*protocol", "--sink", sink, "--protocol", "xml")
    refused("INVALID_ARGUMENT: .*protocol", "--sink", f"{sink}?format=json", "--protocol", "csv")
    refused("sink: tried from node .*SINK_UNAVAILABLE", "--sink", "redis://127.0.0.1:9/stream?timeout=1s")
    refused("sink: tried from node .*SINK_UNAVAILABLE", "--sink", "kafka://127.0.0.1:9/topic?timeout=1s")
    refused("sink: tried from node", "--sink", "file:///proc/nowhere")
    refused("INVALID_ARGUMENT: --start-ts", "--sink", sink, "--start-ts", "yesterday")
    refused("INVALID_ARGUMENT: --gc-ttl", "--sink", sink, "--gc-ttl", "soon")
    refused("target_ts", "--sink", sink, "--start-ts", "200", "--target-ts", "100")
    refused("start_ts: HISTORY_GONE: 1 is in the past", "--sink", sink, "--start-ts", "1")
    t.equal(cluster.json("changefeed", "list"), [], "nothing was created by what was refused")

    cluster.tenure("changefeed", "create", "feed", "--sink", sink, timeout=90)
    refused("ALREADY_EXISTS: changefeed 'feed'", "--sink", sink)
    refused("start_ts: HISTORY_GONE: 1 is older than the history of changes, which begins at", "--sink", sink, "--start-ts", "1",
            name="old")
    t.equal(len(cluster.json("changefeed", "list")), 1, "nothing was created by what was refused")

    def verb(pattern, *arguments):
        t.error_line(cluster.tenure("changefeed", *arguments, expect=None, timeout=60), pattern)

    for name in ("show", "pause", "resume", "update", "move", "remove"):
        verb("NOT_FOUND: there is no changefeed 'nosuch'", name, "nosuch")
    verb("CONDITION_FAILED: changefeed 'feed' is NORMAL: only a paused or failed one can be updated", "update", "feed",
         "--gc-ttl", "1h")
    verb("NOT_FOUND: --to: there is no node 'nosuch'", "move", "feed", "--to", "nosuch")
    verb("CONDITION_FAILED: changefeed 'feed' runs on node .* already", "move", "feed", "--to", show(cluster)["owner"])
    verb("NOT_FOUND: database", "list", "nosuch")
    cluster.tenure("changefeed", "pause", "feed")
    verb("CONDITION_FAILED: changefeed 'feed' is PAUSED: it has no maintainer to move", "move", "feed")
    verb("INVALID_ARGUMENT: protocol", "update", "feed", "--protocol", "csv")
    cluster.tenure("changefeed", "pause", "feed")  # once more does no harm


@case(limit=180)
def initial_snapshot_and_target(t):
    """With --initial-snapshot the rows of before come first; with --target-ts a changefeed ends by itself."""
    cluster = t.cluster()
    make_table(cluster)
    client = cluster.redis_cluster()
    for number in range(50):
        client.hset(f"orders:old-{number}", mapping={"qty": number})
    feed = make_feed(t, cluster, "feed", "--initial-snapshot", "--filter", "table:orders")
    for number in range(50):
        client.hset(f"orders:new-{number}", mapping={"qty": number})
    wanted = {f"{kind}-{number}": [number] for number in range(50) for kind in ("old", "new")}
    system.until(lambda: not feed.missing(wanted), 60, "rows of before and after are delivered")
    kinds = {line["key"].split("-")[0]: line["type"] for _, lines in feed.read() for line in lines if "key" in line}
    t.equal(kinds, {"old": "snapshot", "new": "put"})

    until = int(show(cluster)["checkpoint_ts"]) + (5000 << 18)
    cluster.tenure("changefeed", "pause", "feed")
    cluster.tenure("changefeed", "update", "feed", "--target-ts", str(until))
    cluster.tenure("changefeed", "resume", "feed", timeout=60)
    system.until(lambda: show(cluster)["state"] == "FINISHED", 60, "it has reached its target")
    t.equal(show(cluster)["owner"], None)
    client.hset("orders:late", mapping={"qty": 1})
    time.sleep(2)
    assert "late" not in feed.values()[0], "what was written after the target was delivered"


@case(limit=300)
def killed(t):
    """kill -9 of the maintainer's node, of nodes with dispatchers and of the leading controller, under 16 clients; moves and
    pauses between: every acknowledged row arrives in order, and the checkpoint goes on."""
    cluster = t.cluster(nodes=4, separate=True)
    make_table(cluster)
    feed = make_feed(t, cluster)
    with Writers(cluster) as writers:
        writers.wait_for(500)
        for kind in ("maintainer", "dispatchers", "controller", "move", "pause"):
            before = int(show(cluster)["epoch"])
            where = owner(cluster)
            if kind == "maintainer":
                victim = where
            elif kind == "dispatchers":
                victim = next(name for name in cluster.node_names if name != where)
            elif kind == "controller":
                victim = cluster.leader()
            else:
                victim = None
            begin = time.monotonic()
            if victim:
                cluster.kill(victim)
            elif kind == "move":
                cluster.tenure("changefeed", "move", "feed", timeout=60)
            else:
                cluster.tenure("changefeed", "pause", "feed", timeout=60)
                writers.wait_for(200)
                cluster.tenure("changefeed", "resume", "feed", timeout=60)
            stamp = int(show(cluster)["checkpoint_ts"]) + (2000 << 18)
            writers.wait_for(200)
            wait_checkpoint(cluster, stamp, 90, f"after {kind}")
            took = time.monotonic() - begin
            if victim:
                cluster.start(victim)
                cluster.wait_serving(60)
            lag = wait_lag(cluster)
            t.note(f"{kind}{' ' + victim if victim else ''}: {took:.1f} s until the checkpoint went on, {lag:.1f} s more until the "
                   f"lag was below 5 s; epoch {before} -> {show(cluster)['epoch']}")
    feed.verify(t, writers)


@case(limit=180)
def owner_stopped(t):
    """SIGSTOP of the maintainer's node for longer than its lease: another one goes on under a higher epoch, and nothing of the
    lower epoch is written any more when it wakes up."""
    cluster = t.cluster(nodes=4, separate=True)
    cluster.tenure("fencing", "set", "--lease", "3s")
    make_table(cluster)
    feed = make_feed(t, cluster)
    with Writers(cluster) as writers:
        writers.wait_for(500)
        before = show(cluster)
        victim = owner(cluster)
        cluster.signal(victim, signal.SIGSTOP)
        try:
            after = system.until(lambda: int(show(cluster)["epoch"]) > int(before["epoch"]) and not show(cluster)["operator"] and
                                 show(cluster), 60, "another node owns it")
            epoch = int(after["epoch"])
            stamp = int(after["checkpoint_ts"])
            wait_checkpoint(cluster, stamp, 60, "under the new epoch")
            system.until(lambda: epoch in feed.epochs(), 30, "files of the new epoch")
            old = feed.snapshot(epoch)
        finally:
            cluster.signal(victim, signal.SIGCONT)
        cluster.wait_serving(60)
        writers.wait_for(500)
        time.sleep(3)
        later = feed.snapshot(epoch)
        superseded = {dispatcher for dispatcher, e, _, _ in feed.files() if e >= epoch}
        for file, content in old.items():
            if file[0] not in superseded:
                continue
            # A new writer cuts what was left behind the last whole line.
            assert content.startswith(later.get(file, b"")), f"{file}: written by a lower epoch after a higher one"
        t.equal([file for file in later if file not in old and file[0] in superseded], [], "files of lower epochs, made later")
    feed.verify(t, writers)
    wait_lag(cluster)


@case(limit=240)
def sink_refuses(t):
    """A sink that refuses: WARNING with the cause, other changefeeds go on; when it is well again delivery goes on from the
    checkpoint."""
    cluster = t.cluster()
    make_table(cluster)
    good = make_feed(t, cluster, "good")
    port = system.find_base_port()
    server = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(t.directory)]
    sink = t.start(*server)
    system.until(lambda: t.run("redis-cli", "-p", str(port), "ping").out.strip() == "PONG", 20, "redis-server answers")
    cluster.tenure("changefeed", "create", "bad", "--sink", f"redis://127.0.0.1:{port}/orders?timeout=2s", "--filter",
                   "table:orders", timeout=60)
    with Writers(cluster, clients=8) as writers:
        writers.wait_for(200)
        sink.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        warned = system.until(lambda: show(cluster, "bad")["state"] == "WARNING" and show(cluster, "bad"), 60,
                              "a sink that hangs is a WARNING")
        t.note(f"WARNING after {time.monotonic() - begin:.1f} s: {warned['error']}")
        t.matches(str(warned["error"]), f"SINK_UNAVAILABLE.*{port}|STALLED.*{port}")
        writers.wait_for(200)
        wait_lag(cluster, name="good")
        t.equal(show(cluster, "good")["state"], "NORMAL")
        sink.send_signal(signal.SIGCONT)
        begin = time.monotonic()
        wait_lag(cluster, name="bad", limit=90)
        t.note(f"NORMAL with a lag below 5 s, {time.monotonic() - begin:.1f} s after it went on")
    good.verify(t, writers)

    def delivered():
        entries = redis.Redis(host="127.0.0.1", port=port, decode_responses=True).xrange("orders")
        messages = [json.loads(fields["value"]) for _, fields in entries if fields["type"] == "change"]
        return {(message["key"], message["new"]["qty"]) for message in messages}

    wanted = {(key, value) for key, values in writers.acknowledged.items() for value in values}
    system.until(lambda: not wanted - delivered(), 60, "every acknowledged row is in the stream")
    sink.kill()
    sink.wait()


@case(limit=240)
def sink_disk_hangs(t):
    """The disk of a file sink hangs: WARNING with the cause, and it can be paused; other changefeeds into files of the same
    nodes go on, and a process can be stopped. When the disk answers again delivery goes on from the checkpoint."""
    cluster = t.new_cluster()
    cluster.up(env={"LD_PRELOAD": str(preload(t))})
    make_table(cluster)
    good = make_feed(t, cluster, "good")
    directory = t.directory / "out-bad"
    cluster.tenure("changefeed", "create", "bad", "--sink", f"file://{directory}?timeout=2s", timeout=90)
    bad = FileFeed(directory, "bad")
    hang = directory / "hang"
    with Writers(cluster, clients=8) as writers:
        writers.wait_for(200)
        wait_lag(cluster, name="bad")
        hang.touch()
        begin = time.monotonic()
        warned = system.until(lambda: show(cluster, "bad")["state"] == "WARNING" and show(cluster, "bad"), 60,
                              "a disk that hangs is a WARNING")
        t.note(f"WARNING after {time.monotonic() - begin:.1f} s: {warned['error']}")
        t.matches(str(warned["error"]), "SINK_UNAVAILABLE.*out-bad has not answered for 2000 ms")
        slowest = 0
        for _ in range(10):
            writers.wait_for(50)
            slowest = max(slowest, show(cluster, "good")["lag_ms"])
            t.equal(show(cluster, "good")["state"], "NORMAL")
        assert slowest < 5000, f"the lag of another changefeed rose to {slowest} ms"
        begin = time.monotonic()
        cluster.tenure("changefeed", "pause", "bad", timeout=60)
        t.note(f"lag of the other one up to {slowest} ms; paused in {time.monotonic() - begin:.1f} s")
        cluster.tenure("changefeed", "resume", "bad", timeout=60)
        hang.unlink()
        begin = time.monotonic()
        wait_lag(cluster, name="bad", limit=90)
        t.note(f"NORMAL with a lag below 5 s, {time.monotonic() - begin:.1f} s after the disk answered again")
        hang.touch()
        writers.wait_for(100)
        begin = time.monotonic()
        cluster.stop("1")
        t.note(f"a process whose sink hangs stopped in {time.monotonic() - begin:.1f} s")
        hang.unlink()
        cluster.start("1")
        writers.wait_for(100)
    wait_lag(cluster, name="good")
    wait_lag(cluster, name="bad", limit=90)
    good.verify(t, writers)
    bad.verify(t, writers)


@case(limit=300)
def partitioned(t):
    """The maintainer's node is cut from everybody, then the controllers from all nodes for longer than leases last: nothing of a
    lower epoch is written after a higher one, and after the cut the lag is below 5 s again within 30 s."""
    cluster = NetworkCluster(t, nodes=4)
    cluster.form()
    cluster.tenure("fencing", "set", "--lease", "3s")
    make_table(cluster)
    feed = make_feed(t, cluster)
    with Writers(cluster, clients=8) as writers:
        writers.wait_for(300)
        before = show(cluster)
        victim = owner(cluster)
        cluster.machines[victim].cut()
        after = system.until(lambda: int(show(cluster)["epoch"]) > int(before["epoch"]) and not show(cluster)["operator"] and
                             show(cluster), 60, "another node owns it")
        epoch = int(after["epoch"])
        wait_checkpoint(cluster, int(after["checkpoint_ts"]), 60, "without the node that is cut off")
        system.until(lambda: epoch in feed.epochs(), 30, "files of the new epoch")
        superseded = {dispatcher for dispatcher, e, _, _ in feed.files() if e >= epoch}
        old = {file: content for file, content in feed.snapshot(epoch).items() if file[0] in superseded}
        cluster.machines[victim].restore()
        cluster.wait_serving(60)
        writers.wait_for(300)
        time.sleep(3)
        later = feed.snapshot(epoch)
        for file, content in old.items():
            assert content.startswith(later.get(file, b"")), f"{file}: written by a lower epoch after a higher one"
        wait_lag(cluster)

        controllers = [name for name in cluster.names if name.startswith("c")]
        nodes = [cluster.host(name) for name in cluster.node_names]
        for name in controllers:
            cluster.machines[name].cut(*nodes)
        time.sleep(20)
        for name in controllers:
            cluster.machines[name].restore()
        healed = wait_lag(cluster, limit=30)
        t.note(f"after 20 s without any controller the lag is below 5 s again {healed:.1f} s after it, epoch {show(cluster)['epoch']}")
        writers.wait_for(300)
    feed.verify(t, writers)


def delivered(kafka):
    """key -> values of qty, as they were delivered first; each change counts once, whatever partition it came to."""
    seen, values, again = set(), {}, 0
    for partition, offset, key, text in sorted(list(kafka.messages)):
        message = json.loads(text)
        if message.get("type") not in ("put", "update"):
            continue
        change = (message["region"], message["index"], message.get("ordinal", 0))
        again += change in seen
        if change not in seen:
            seen.add(change)
            values.setdefault(message["key"], []).append(message["new"]["qty"])
    return values, again


@case(limit=240)
def kafka(t):
    """Into Kafka (librdkafka's mock cluster): the maintainer's node is killed, the feed moved, the broker goes down and comes back;
    every acknowledged row is in the topic, in order per key."""
    broker = MockKafka("orders")
    cluster = t.cluster(nodes=4, separate=True)
    make_table(cluster)
    cluster.tenure("changefeed", "create", "feed", "--sink", f"kafka://{broker.servers}/orders?timeout=3s", "--protocol", "json",
                   "--filter", "table:orders", timeout=90)
    with Writers(cluster) as writers:
        writers.wait_for(500)
        victim = owner(cluster)
        cluster.kill(victim)
        stamp = int(show(cluster)["checkpoint_ts"]) + (2000 << 18)
        wait_checkpoint(cluster, stamp, 90, f"after {victim} was killed")
        cluster.start(victim)
        cluster.wait_serving(60)
        cluster.tenure("changefeed", "move", "feed", timeout=60)
        writers.wait_for(300)
        broker.set_down(True)
        begin = time.monotonic()
        warned = system.until(lambda: show(cluster)["state"] == "WARNING" and show(cluster), 60, "a broker that is down is a WARNING")
        t.note(f"WARNING {time.monotonic() - begin:.1f} s after the broker went down: {warned['error']}")
        broker.set_down(False)
        begin = time.monotonic()
        wait_lag(cluster, limit=90)
        t.note(f"the lag is below 5 s {time.monotonic() - begin:.1f} s after it came back")
        writers.wait_for(300)
    wanted = dict(writers.acknowledged)

    def missing():
        values, _ = delivered(broker)
        return [(key, value) for key, all_of_it in wanted.items() for value in sorted(set(all_of_it) - set(values.get(key, [])))]

    system.until(lambda: not missing(), 60, f"every acknowledged row is in the topic; missing: {missing()[:5]}", interval=0.5)
    values, again = delivered(broker)
    for key, all_of_it in wanted.items():
        order = list(dict.fromkeys(value for value in values[key] if value in set(all_of_it)))
        assert order == sorted(set(all_of_it)), f"order of key {key}: {order}"
    broker.stop()
    t.note(f"{writers.count} rows acknowledged, {len(broker.messages)} messages, {again} changes again")


@case(limit=240)
def nats(t):
    """Into a JetStream: the maintainer's node is killed, then the server, which comes back: every acknowledged row is in the stream,
    once and in order per key. The password of the sink is said nowhere."""
    password = "hush-9f3c"
    server = Nats(t, "orders", "writer", password)
    cluster = t.cluster(nodes=4, separate=True)
    make_table(cluster)
    wrong = server.address.replace(password, "wrong-77ab")
    t.error_line(cluster.tenure("changefeed", "create", "feed", "--sink", wrong, expect=None, timeout=60), "sink: tried from node")
    cluster.tenure("changefeed", "create", "feed", "--sink", f"{server.address}?timeout=3s", "--filter", "table:orders", timeout=90)
    with Writers(cluster, clients=8) as writers:
        writers.wait_for(500)
        victim = owner(cluster)
        cluster.kill(victim)
        wait_checkpoint(cluster, int(show(cluster)["checkpoint_ts"]) + (2000 << 18), 90, f"after {victim} was killed")
        cluster.start(victim)
        cluster.wait_serving(60)
        server.kill()
        begin = time.monotonic()
        warned = system.until(lambda: show(cluster)["state"] == "WARNING" and show(cluster), 60, "a server that is gone is a WARNING")
        t.note(f"WARNING {time.monotonic() - begin:.1f} s after the server was killed: {warned['error']}")
        said = [cluster.tenure("changefeed", "show", "feed", "--explain").out, cluster.tenure("changefeed", "list").out]
        server.start()
        begin = time.monotonic()
        wait_lag(cluster, limit=90)
        t.note(f"the lag is below 5 s {time.monotonic() - begin:.1f} s after it came back")
        writers.wait_for(300)
    wanted = dict(writers.acknowledged)

    def arrived():
        return [message for message in server.messages() if message.get("type") in ("put", "update")]

    def values(messages):
        found = {}
        for message in messages:
            found.setdefault(message["key"], []).append(message["new"]["qty"])
        return found

    def missing():
        found = values(arrived())
        return [(key, value) for key, all_of_it in wanted.items() for value in sorted(set(all_of_it) - set(found.get(key, [])))]

    system.until(lambda: not missing(), 60, f"every acknowledged row is in the stream; missing: {missing()[:5]}", interval=0.5)
    messages = arrived()
    changes = [(message["region"], message["index"], message.get("ordinal", 0)) for message in messages]
    t.equal([change for change in set(changes) if changes.count(change) > 1] if len(changes) != len(set(changes)) else [], [],
            "changes that are in the stream more than once")
    for key, of_key in values(messages).items():
        # A client may repeat a write whose answer it has not got.
        order = list(dict.fromkeys(value for value in of_key if value in set(wanted.get(key, []))))
        assert order == sorted(set(order)), f"order of key {key}: {order}"
    t.note(f"{writers.count} rows acknowledged, {len(messages)} changes in the stream")

    said += [cluster.tenure(*command, "--output", form).out for form in ("table", "json")
             for command in (("changefeed", "show", "feed"), ("changefeed", "list"), ("record", "get", "changefeed", "1"),
                             ("record", "list", "changefeed"))]
    said += [cluster.log(name) for name in cluster.names] + ["\n".join(metrics_of(cluster, name)) for name in cluster.names]
    told = "\n".join(said)
    for secret in (password, "wrong-77ab"):
        assert secret not in told, f"a password is said: {told[max(0, told.find(secret) - 200):][:400]}"
    assert f"nats://***@127.0.0.1:{server.port}/orders" in told, told[:1000]


def add_node(cluster):
    """A node more than `up` made, with an empty directory."""
    last = cluster.node_names[-1]
    text = (cluster.process_directory(last) / "tenured.toml").read_text()
    old = cluster.rpc_port(last)
    cluster.nodes += 1
    name = cluster.node_names[-1]
    for number in range(3):
        text = text.replace(str(old + number), str(cluster.rpc_port(name) + number))
    cluster.process_directory(name).mkdir()
    (cluster.process_directory(name) / "tenured.toml").write_text(text.replace(last, name))
    cluster.start(name)
    return name


@case(limit=360)
def balance_and_drain(t):
    """A node that is added gets maintainers and dispatchers; one that is drained loses all of its own before the drain has ended;
    and all the while every acknowledged row arrives, in order."""
    cluster = t.cluster(nodes=3, separate=True)
    make_table(cluster)
    names = [f"feed{number}" for number in range(4)]
    feeds = {name: make_feed(t, cluster, name, "--filter", "table:orders") for name in names}

    def owners():
        listed = cluster.json("changefeed", "list")
        return {feed["name"]: feed["owner_name"] for feed in listed if feed["owner"]}

    def hosts(name):
        return {dispatcher["node"] for dispatcher in show(cluster, name)["dispatchers"]}

    def id_of(name):
        return next(node["id"] for node in cluster.json("node", "list") if node["name"] == name)

    system.until(lambda: len(set(owners().values())) == 3, 60, "three nodes share four maintainers")
    with Writers(cluster, clients=8, pause=0.03) as writers:
        writers.wait_for(300)
        begin = time.monotonic()
        added = add_node(cluster)
        system.until(lambda: added in owners().values(), 90, f"{added} gets a maintainer; they are at {owners()}", interval=0.5)
        t.note(f"a node that was added has a maintainer {time.monotonic() - begin:.1f} s later")
        there = id_of(added)
        system.until(lambda: all(there in hosts(name) for name in names), 150, f"{added} gets dispatchers", interval=0.5)
        t.note(f"and dispatchers of all changefeeds after {time.monotonic() - begin:.1f} s")
        system.until(lambda: all(show(cluster, name)["owner"] and not show(cluster, name)["operator"] for name in names), 60,
                     "nothing moves")

        leaves, victim = next((name, where) for name, where in owners().items() if where != added)
        left = id_of(victim)
        plan = cluster.json("node", "drain", victim, "--dry-run")["plan"]
        assert any(f"changefeed '{leaves}'" in line for line in plan), plan
        begin = time.monotonic()
        cluster.tenure("node", "drain", victim, timeout=200)
        t.note(f"{victim} was drained in {time.monotonic() - begin:.1f} s")
        t.equal([name for name, where in owners().items() if where == victim], [], "maintainers on a drained node")
        system.until(lambda: all(left not in hosts(name) for name in names), 30, "no dispatcher is on a drained node")
        for kind in ("maintainers", "dispatchers"):
            system.until(lambda: f"tenure_node_changefeed_{kind} 0" in metrics_of(cluster, victim), 30, f"{victim} runs no {kind}")
        t.matches(cluster.tenure("node", "list").out, r"DRAINING \(drained\)")
        writers.wait_for(300)
    for name in names:
        feeds[name].verify(t, writers)
        wait_lag(cluster, name=name)


@case(limit=120)
def tables_to_come(t):
    """A filter that matches no table yet: the checkpoint goes on, and a table that comes is delivered from its first row on; nothing
    else is, neither before nor afterwards."""
    cluster = t.cluster()
    make_table(cluster)
    feed = make_feed(t, cluster, "feed", "--filter", "table:later*")
    t.equal({dispatcher["table"] for dispatcher in show(cluster)["dispatchers"]}, {"(no table yet)"})
    client = cluster.redis_cluster()
    client.hset("orders:1", mapping={"qty": 1})
    client.set("plain", "1")
    wait_checkpoint(cluster, int(show(cluster)["checkpoint_ts"]) + (2000 << 18), 30, "without any table")
    cluster.tenure("table", "create", "default.later1", "--column", "qty:int64")
    client.hset("later1:first", mapping={"qty": 7})
    system.until(lambda: feed.values("later1")[0] == {"first": [7]}, 30, "the row is delivered")

    def shown():
        return {dispatcher["table"] for dispatcher in show(cluster)["dispatchers"]}

    system.until(lambda: shown() == {"later1"}, 30, f"only dispatchers of the table are left: {shown()}")
    cluster.tenure("table", "drop", "default.later1", timeout=60)
    system.until(lambda: shown() == {"(no table yet)"}, 30, f"the table's dispatchers have ended: {shown()}")
    wait_checkpoint(cluster, int(show(cluster)["checkpoint_ts"]) + (2000 << 18), 30, "after the table was dropped")
    kinds = {line["type"] for _, lines in feed.read() for line in lines if line.get("table") != "later1"}
    t.equal(kinds - {"resolved"}, set(), "what else was delivered")
