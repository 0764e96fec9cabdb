"""Unmodified clients: of Redis Cluster, and of gRPC."""

import importlib.util
import pathlib
import shutil
import threading
import time

import redis

from harness import resp, system
from harness.registry import case

HERE = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE = HERE.parent.parent / "examples" / "catalog.py"


@case(limit=60, shared=True)
def redis_cli(t):
    """redis-cli: -c follows redirects; CLUSTER commands in Redis' formats; --cluster check."""
    cluster = t.cluster()
    for name in cluster.names:
        t.equal(cluster.redis_cli(name, "set", "{cli}a", name).out.strip(), "OK")
        t.equal(cluster.redis_cli(name, "get", "{cli}a").out.strip(), name)
    info = cluster.redis_cli("1", "cluster", "info").out
    for line in ("cluster_state:ok", "cluster_slots_assigned:16384", "cluster_known_nodes:3"):
        assert line in info, info
    nodes = cluster.redis_cli("2", "cluster", "nodes").out.strip().splitlines()
    t.equal(len(nodes), 3, "\n".join(nodes))
    t.equal(sum("myself" in line for line in nodes), 1)
    for line in nodes:
        t.matches(line, r"^[0-9a-f]{40} 127\.0\.0\.1:\d+@\d+[^ ]* \S+ \S+ \d+ \d+ \d+ connected")
    myid = cluster.redis_cli("2", "cluster", "myid").out.strip()
    t.matches(next(line for line in nodes if "myself" in line), f"^{myid}")
    t.equal(cluster.redis_cli("1", "cluster", "keyslot", "foo").out.strip(), "12182")
    result = t.run("redis-cli", "--cluster", "check", f"127.0.0.1:{cluster.resp_port('1')}")
    t.matches(result.out, r"\[OK\] All 16384 slots covered", str(result))
    shards = cluster.redis("1").execute_command("CLUSTER SHARDS")
    t.equal(len(shards), 8)
    t.matches(cluster.redis_cli("1", "info", "server").out, "redis_version:")
    t.equal(cluster.redis_cli("1", "-3", "hello", "3").code, 0)


@case(limit=90, shared=True)
def redis_benchmark(t):
    """redis-benchmark --cluster with pipelining."""
    cluster = t.cluster()
    result = t.run("redis-benchmark", "--cluster", "-p", cluster.resp_port("1"), "-t", "set,get", "-n", 4000, "-c", 16,
                   "-P", 4, "-d", 256, "-r", 10000, "-q", timeout=60)
    t.equal(result.code, 0, str(result))
    for command in ("SET", "GET"):
        t.matches(result.out, rf"{command}: [\d.]+ requests per second")
    assert "rror" not in result.err + result.out.replace("errors=0", ""), str(result)
    for line in result.out.replace("\r", "\n").splitlines():
        if "requests per second" in line:
            t.note(line.strip())


@case(limit=60, shared=True)
def python_cluster_client(t):
    """python3-redis: strings, hashes, counters, pipelines over many slots, binary values."""
    client = t.cluster().redis_cluster()
    for i in range(100):
        client.set(f"py:{i}", i)
    with client.pipeline() as pipeline:
        for i in range(100):
            pipeline.get(f"py:{i}")
            pipeline.incr(f"py:{i}")
        answers = pipeline.execute()
    t.equal(answers[0::2], [str(i) for i in range(100)])
    t.equal(answers[1::2], list(range(1, 101)))
    t.equal(client.mset({"{m}a": "1", "{m}b": "2"}), True)
    t.equal(client.mget("{m}a", "{m}b", "{m}c"), ["1", "2", None])
    t.equal(client.hset("h", mapping={"a": "1", "b": "2"}), 2)
    t.equal(client.hgetall("h"), {"a": "1", "b": "2"})
    t.equal(client.hincrby("h", "a", 5), 6)
    t.equal(client.hdel("h", "a", "b"), 2)
    t.equal(client.exists("h"), 0)
    t.equal(client.set("nx", "1", nx=True), True)
    t.equal(client.set("nx", "2", nx=True), None)
    t.equal(client.append("nx", "xyz"), 4)
    t.equal(client.getrange("nx", 1, 2), "xy")
    t.equal(client.getdel("nx"), "1xyz")
    t.equal(client.type("{m}a"), "string")
    raw = redis.cluster.RedisCluster(port=client.get_primaries()[0].port, host="127.0.0.1")
    value = bytes(range(256)) * 64
    raw.set(b"\x00\xff binary", value)
    t.equal(raw.get(b"\x00\xff binary"), value)


@case(limit=60, shared=True)
def transactions(t):
    """MULTI/EXEC/DISCARD/WATCH within a slot."""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    client.delete("{tx}a", "{tx}b")
    port = client.nodes_manager.get_node_from_slot(client.keyslot("{tx}")).port
    one, other = resp.Connection(port), resp.Connection(port)
    t.equal(one.ask("MULTI"), b"OK")
    t.equal(one.ask("SET", "{tx}a", "1"), b"QUEUED")
    t.equal(one.ask("INCR", "{tx}a"), b"QUEUED")
    t.equal(one.ask("GET", "{tx}a"), b"QUEUED")
    t.equal(other.ask("GET", "{tx}a"), None, "nothing before EXEC")
    t.equal(one.ask("EXEC"), [b"OK", 2, b"2"])
    t.equal(one.ask("WATCH", "{tx}a"), b"OK")
    t.equal(other.ask("SET", "{tx}a", "9"), b"OK")
    one.ask("MULTI")
    one.ask("SET", "{tx}a", "lost")
    t.equal(one.ask("EXEC"), None, "a watched key has changed")
    t.equal(one.ask("GET", "{tx}a"), b"9")
    one.ask("MULTI")
    one.ask("SET", "{tx}a", "no")
    t.equal(one.ask("DISCARD"), b"OK")
    one.ask("MULTI")
    one.ask("SET", "{tx}a", "1")
    t.matches(one.ask("SET", "{other}b", "1"), "^(CROSSSLOT|MOVED)")
    t.matches(one.ask("EXEC"), "^EXECABORT")
    t.equal(one.ask("GET", "{tx}a"), b"9")
    t.matches(one.ask("EXEC"), "^ERR EXEC without MULTI")


@case(limit=60, shared=True)
def scan(t):
    """SCAN over every node gives every key once."""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    keys = {f"scan:{i}" for i in range(300)}
    for key in keys:
        client.set(key, "1")
    client.hset("scan:hash", "f", "1")

    def all_nodes():
        # A client that knows all leaders: an older one scans those that it knows, and nothing tells it of others.
        scanner = cluster.redis_cluster()
        t.equal(sorted(scanner.scan_iter(match="scan:*", count=37)), sorted(keys | {"scan:hash"}))
        t.equal(list(scanner.scan_iter(match="scan:*", _type="hash")), ["scan:hash"])
        count = sum(cluster.redis(name).dbsize() for name in cluster.names)
        assert count >= 301, f"DBSIZE of all nodes is {count}"

    # As in Redis: a shard that goes from a node that is still to be scanned to one that was is seen by neither.
    cluster.while_leaders_stay(all_nodes)
    slot = client.keyslot("scan:1")
    owner = redis.Redis(host="127.0.0.1", port=client.nodes_manager.get_node_from_slot(slot).port, decode_responses=True)
    t.equal(owner.execute_command("CLUSTER COUNTKEYSINSLOT", slot),
            len(owner.execute_command("CLUSTER GETKEYSINSLOT", slot, 100)))


@case(limit=60, shared=True)
def expiry(t):
    """Expiry: TTL, PERSIST, gone when the time has come, on every replica."""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    client.set("ttl", "1", px=300)
    t.equal(client.get("ttl"), "1")
    assert 0 < client.pttl("ttl") <= 300
    system.until(lambda: client.get("ttl") is None, 3, "an expired key is gone")
    t.equal(client.ttl("ttl"), -2)
    client.set("stays", "1", ex=1)
    t.equal(client.persist("stays"), True)
    t.equal(client.ttl("stays"), -1)
    client.hset("hash-ttl", "f", "1")
    t.equal(client.expire("hash-ttl", 1), True)
    time.sleep(1.1)
    t.equal(client.hgetall("hash-ttl"), {})
    t.equal(client.get("stays"), "1")


@case(limit=90, shared=True)
def ioredis(t):
    """ioredis' Cluster client."""
    assert shutil.which("node"), "node is not installed; ./dev test e2e installs it"
    assert (HERE / "node_modules" / "ioredis").is_dir(), "tests/e2e/node_modules is missing: npm ci in tests/e2e"
    cluster = t.cluster()
    ports = [cluster.resp_port(name) for name in cluster.names]
    result = t.run("node", HERE / "clients" / "ioredis_cluster.js", *ports, timeout=60)
    t.equal(result.code, 0, str(result))
    t.matches(result.out, "all done")


@case(limit=60, shared=True)
def pipelining(t):
    """Thousands of commands on one connection without waiting: answers in order."""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    port = client.nodes_manager.get_node_from_slot(client.keyslot("{p}")).port
    connection = resp.Connection(port, timeout=20)
    connection.ask("DEL", "{p}n")
    for _ in range(5000):
        connection.send("INCR", "{p}n")
    t.equal([connection.read() for _ in range(5000)], list(range(1, 5001)))


@case(limit=60, shared=True)
def databases(t):
    """SELECT by name: databases are separate; a dropped one is gone."""
    cluster = t.cluster()
    cluster.tenure("db", "create", "second", "--regions", "3", timeout=60)
    default = cluster.redis_cluster()
    default.set("{db}key", "of-default")
    for name in cluster.names:
        connection = resp.Connection(cluster.resp_port(name))
        t.equal(connection.ask("SELECT", "second"), b"OK")
        answer = connection.ask("SET", "{db}key", "of-second")
        if isinstance(answer, resp.Error):
            t.matches(answer, "^MOVED")
        else:
            t.equal(connection.ask("GET", "{db}key"), b"of-second")
        connection.close()
    t.equal(default.get("{db}key"), "of-default")
    cluster.tenure("db", "drop", "second", timeout=60)
    t.equal([r for r in cluster.json("region", "list") if r["database"] != "default"], [])
    t.equal(default.get("{db}key"), "of-default")


@case(limit=120)
def grpc(t):
    """examples/catalog.py, on gRPC's own library for Python, as it is run and while leaders are killed under its streams."""
    cluster = t.cluster()
    for name in cluster.names:
        others = [other for other in cluster.names if other != name]
        result = t.run("/usr/bin/python3", "-B", EXAMPLE, ",".join(cluster.rpc_address(n) for n in [name, *others]), timeout=60)
        t.equal(result.code, 0, str(result))
        for line in ("hello", "the lock is taken: REASON_CONDITION_FAILED", "1000 puts on one stream", "told of 1002 changes"):
            assert line in result.out, str(result)

    loaded = importlib.util.spec_from_file_location("example", EXAMPLE)
    example = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(example)
    client = example.Catalog(cluster.controllers.split(",")[:1])  # it is told of the others
    watched = example.Catalog(cluster.controllers.split(",")).watch("killed/", client.put("began", "1"))
    for round_ in range(3):
        pairs = [(f"killed/{round_}/{i}", "v" * 256) for i in range(4096)]
        revisions = []
        putting = threading.Thread(target=lambda: revisions.extend(client.put_many(pairs, timeout=30)))
        putting.start()
        seen = [next(watched)]  # so some of them are made
        cluster.kill(cluster.leader())
        seen += [next(watched) for _ in pairs[1:]]
        putting.join()
        t.equal(sorted(revisions), [event.revision for event in seen], "every put once, and every change told once")
        t.equal({event.new_record.entry.key.decode() for event in seen}, {key for key, _ in pairs})
        t.equal({event.new_record.entry.version for event in seen}, {1})
        cluster.up()
    t.equal(client.get("nothing"), None)
    watched.close()
