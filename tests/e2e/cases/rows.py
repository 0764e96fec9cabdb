"""Rows of tables over the Redis protocol, with unmodified clients."""

import redis

from harness import system
from harness.registry import case


def refused(t, client, pattern, *words):
    try:
        result = client.execute_command(*words)
    except redis.exceptions.ResponseError as error:
        t.matches(f"{type(error).__name__} {error}", pattern)
    else:
        raise AssertionError(f"{words} answered {result!r}, an error was expected")


def wait_gone(client, keys):
    """A node may say for a moment after a drop that the table is being dropped: it has not heard of its end yet."""

    def gone():
        try:
            return sum(client.exists(key) for key in keys) == 0
        except redis.exceptions.ResponseError as error:
            assert "is being dropped" in str(error), error
            return False

    system.until(gone, 10, "the dropped table's rows are not there")


@case(limit=240)
def life(t):
    """Typed rows are written, read, refused, altered, shown by a view, renamed, dropped, and made again under their name."""
    cluster = t.new_cluster()
    cluster.up()
    cluster.tenure("table", "create", "default.orders", "--column", "qty:int64", "--column", "price:float64:null",
                   "--column", "note:text:null", "--column", "state:text=new")
    client = cluster.redis_cluster()
    for i in range(50):
        t.equal(client.hset(f"orders:{i}", mapping={"qty": i, "price": "1.50"}), 2)
    t.equal(client.hgetall("orders:7"), {"qty": "7", "price": "1.5", "state": "new"})
    t.equal(client.hincrby("orders:7", "qty", 5), 12)
    t.equal(client.hmget("orders:7", "qty", "note"), ["12", None])
    t.equal(client.hdel("orders:7", "price"), 1)
    t.equal(client.exists("orders:7"), 1)
    t.equal(client.type("orders:7"), "hash")
    refused(t, client, "table 'orders': column 'qty': 'x' is not an int64", "HSET", "orders:7", "qty", "x")
    refused(t, client, "table 'orders' has no column 'colour'", "HSET", "orders:7", "colour", "red")
    refused(t, client, "table 'orders': column 'qty' is missing", "HSET", "orders:new", "note", "x")
    refused(t, client, "table 'orders': column 'qty' is not nullable", "HDEL", "orders:7", "qty")
    refused(t, client, "WRONGTYPE.*'orders'|table 'orders': 'get' is for plain keys", "GET", "orders:7")
    refused(t, client, "rows expire by the ttl", "EXPIRE", "orders:7", "10")
    t.equal(client.hgetall("orders:7"), {"qty": "12", "state": "new"})

    found = sorted(key for name in cluster.node_names for key in cluster.redis(name).scan_iter(count=7))
    t.equal(found, sorted(f"orders:{i}" for i in range(50)))
    t.equal(sum(cluster.redis(name).dbsize() for name in cluster.node_names), 50)
    slot = client.keyslot("orders:7")
    counts = []
    for name in cluster.node_names:
        try:
            counts.append(cluster.redis(name).execute_command("CLUSTER COUNTKEYSINSLOT", slot))
        except redis.exceptions.ResponseError:
            pass
    assert any(count >= 1 for count in counts), counts

    pipe = cluster.redis_cli("1", "hgetall", "orders:{a}1")
    t.equal(pipe.out.strip(), "")

    cluster.tenure("view", "create", "default.short", "--table", "orders", "--columns", "qty,note=text")
    t.equal(client.hgetall("short:7"), {"qty": "12"})
    refused(t, client, "view 'short' of table 'orders' cannot be written", "HSET", "short:7", "qty", "1")
    cluster.tenure("table", "alter", "default.orders", "--add-column", "paid:bool=false", "--rename-column", "note=remark",
                   "--drop-column", "price")
    t.equal(client.hgetall("orders:8"), {"qty": "8", "state": "new", "paid": "false"})
    t.equal(client.hset("orders:8", mapping={"remark": "hello", "paid": "1"}), 1)
    t.equal(client.hgetall("short:8"), {"qty": "8", "text": "hello"})
    refused(t, client, "has no column 'price'", "HSET", "orders:8", "price", "1")

    cluster.tenure("table", "rename", "default.orders", "sales")
    for i in range(50):
        t.equal(client.hget(f"sales:{i}", "qty"), "12" if i == 7 else str(i))
    t.equal(client.hset("sales:8", "qty", 80), 0)
    cluster.tenure("view", "drop", "default.short")
    cluster.tenure("table", "drop", "default.sales")
    wait_gone(client, ["sales:7"])
    t.equal(client.hgetall("sales:8"), {})
    t.equal(sum(cluster.redis(name).dbsize() for name in cluster.node_names), 0)
    cluster.tenure("table", "create", "default.orders", "--column", "qty:int64")
    t.equal(client.hgetall("orders:8"), {})
    t.equal(client.hset("orders:8", "qty", 1), 1)


@case(limit=180)
def expiry_and_restart(t):
    """Rows expire by the ttl that they were written with; rows survive a loss of all processes."""
    cluster = t.new_cluster()
    cluster.up()
    cluster.tenure("table", "create", "default.kept", "--column", "a:int64")
    cluster.tenure("table", "create", "default.short", "--column", "a:int64", "--ttl", "2s")
    client = cluster.redis_cluster()
    for i in range(20):
        client.hset(f"kept:{i}", "a", i)
        client.hset(f"short:{i}", "a", i)
    assert 0 < client.pttl("short:3") <= 2000
    t.equal(client.ttl("kept:3"), -1)
    system.until(lambda: sum(cluster.redis(name).dbsize() for name in cluster.node_names) == 20, 30, "the expired rows are gone")
    t.equal(client.exists("short:3"), 0)
    for name in cluster.names:
        cluster.kill(name)
    cluster.up()
    client = cluster.redis_cluster()
    t.equal([client.hget(f"kept:{i}", "a") for i in range(20)], [str(i) for i in range(20)])


@case(limit=180)
def strict(t):
    """A database created with --strict has rows of tables only."""
    cluster = t.new_cluster()
    cluster.up()
    cluster.tenure("db", "create", "books", "--strict")
    cluster.tenure("table", "create", "books.orders", "--column", "qty:int64")
    clients = [cluster.redis(name) for name in cluster.node_names]
    for client in clients:
        client.execute_command("SELECT", "books")
    refused(t, clients[0], "the database is strict.*'plain'", "SET", "plain", "x")
    refused(t, clients[0], "the database is strict.*'other:1'", "HSET", "other:1", "a", "x")
    done = 0
    for client in clients:
        try:
            t.equal(client.execute_command("HSET", "orders:1", "qty", "1"), 1)
            done += 1
        except redis.exceptions.ResponseError as error:
            t.matches(str(error), "MOVED")
    t.equal(done, 1)


@case(limit=180)
def refusals(t):
    """Whatever does not fit the schema is refused with table, column and reason, and nothing is changed."""
    cluster = t.new_cluster()
    cluster.up()
    cluster.tenure("table", "create", "default.all", "--column", "i:int64", "--column", "f:float64:null", "--column", "b:bool:null",
                   "--column", "s:text:null", "--column", "d:bytes:null", "--column", "w:timestamp:null")
    cluster.tenure("view", "create", "default.some", "--table", "all", "--columns", "i,s=name")
    client = cluster.redis_cluster()
    rows = {f"all:{i}": {"i": str(i), "f": "0.5", "b": "true", "s": "text", "d": "\x01", "w": "2024-05-06T07:08:09Z"} for i in range(8)}
    for key, row in rows.items():
        t.equal(client.hset(key, mapping=row), 6)
    records = (cluster.json("table", "list"), cluster.json("view", "list"))

    key = "all:3"
    for column, type, bad in (("i", "int64", "1.5"), ("i", "int64", "+1"), ("i", "int64", ""), ("i", "int64", str(2**63)),
                              ("f", "float64", "inf"), ("f", "float64", "one"), ("b", "bool", "yes"),
                              ("s", "text", b"\xff\xfe"), ("w", "timestamp", "yesterday"),
                              ("w", "timestamp", "2024-13-01T00:00:00Z")):
        refused(t, client, f"table 'all': column '{column}': .*{type}", "HSET", key, column, bad)
        # Nothing of a command is done of which a part does not fit.
        refused(t, client, f"table 'all': column '{column}': .*{type}", "HSET", key, "i", "99", column, bad)
    refused(t, client, "table 'all' has no column 'zzz'", "HSET", key, "i", "99", "zzz", "1")
    refused(t, client, "table 'all' has no column 'zzz'", "HGET", key, "zzz")
    refused(t, client, "table 'all': column 'i' is missing", "HSET", "all:new", "s", "x")
    refused(t, client, "table 'all': column 'i' is not nullable", "HDEL", key, "i")
    refused(t, client, "column 's'", "HINCRBY", key, "s", "1")
    refused(t, client, "overflow|not in|range", "HINCRBY", key, "i", str(2**63 - 1))
    for words in (("HSET", "some:3", "i", "1"), ("HSETNX", "some:3", "i", "1"), ("HDEL", "some:3", "name"), ("DEL", "some:3"),
                  ("HINCRBY", "some:3", "i", "1"), ("HMSET", "some:3", "i", "1")):
        refused(t, client, "view 'some' of table 'all' cannot be written", *words)
    refused(t, client, "view 'some'.*no column 'f'|has no column 'f'", "HGET", "some:3", "f")
    for words in (("SET", key, "x"), ("APPEND", key, "x"), ("EXPIRE", key, "10"), ("PERSIST", key), ("INCR", key)):
        refused(t, client, "'all'", *words)

    refuse = lambda pattern, *arguments: t.error_line(cluster.tenure(*arguments, expect=None), pattern)
    refuse("ttl", "table", "alter", "default.all", "--ttl=-1s")
    refuse("ttl", "table", "alter", "default.all", "--ttl", "1x")
    refuse("ttl", "table", "alter", "default.all", "--ttl", "99999999999d")
    refuse("control characters", "table", "alter", "default.all", "--add-column", "a\tb:text:null")
    refuse("control characters", "table", "rename", "default.all", "a\x7f")
    refuse("control characters", "view", "create", "default.a\nb", "--table", "all", "--columns", "i")
    refuse("control characters", "view", "alter", "default.some", "--columns", "i=a\x01b")
    refuse("shown by view 2 .'some'", "table", "drop", "default.all")
    refuse("shown by view 2 .'some'", "table", "alter", "default.all", "--drop-column", "s")

    t.equal((cluster.json("table", "list"), cluster.json("view", "list")), records)
    t.equal({key: client.hgetall(key) for key in rows}, rows)
    t.equal(client.hgetall("some:3"), {"i": "3", "name": "text"})
    t.equal(sum(cluster.redis(name).dbsize() for name in cluster.node_names), len(rows))
    # Once nothing shows it any more it goes.
    cluster.tenure("view", "drop", "default.some")
    cluster.tenure("table", "drop", "default.all")
    wait_gone(client, rows)
