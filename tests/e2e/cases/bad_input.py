"""Bad input: each its clear message, and the process lives on or refuses to start with exit 1 and the reason."""

import os
import random
import shutil
import socket
import time

import redis
import redis.cluster

from harness import resp, system
from harness.registry import case


# ---- command lines ---------------------------------------------------------------------------------------------------


@case(limit=60)
def wrong_flags(t):
    """Wrong usage is exit 2 with one line that names what is wrong."""
    t.error_line(t.tenure("up", "--nodes", "x", expect=None), "--nodes", code=2)
    t.error_line(t.tenure("frobnicate", expect=None), "frobnicate|subcommand", code=2)
    t.error_line(t.tenure("kv", "put", "only-a-key", expect=None), "value", code=2)
    t.error_line(t.tenure("status", "--output", "xml", expect=None), "xml", code=2)
    t.error_line(t.tenure(expect=None), "subcommand", code=2)
    t.equal(t.tenure("kv", "put", "--output", "json", expect=2).refusal["reason"], "INVALID_ARGUMENT")
    t.error_line(t.tenure("status", "--controllers", "nonsense", expect=None), "nonsense.*HOST:PORT", code=2)
    t.error_line(t.tenure("up", "--base-port", "70000", "--data", t.directory / "d", expect=None), "--base-port", code=2)
    t.matches(t.tenure("--help").out, "status.*region.*kv")

    result = t.run(t.binary("tenured"), "--no-such-flag")
    assert result.code in (1, 2), str(result)
    t.matches(result.err, "no-such-flag", str(result))
    result = t.run(t.binary("tenured"))
    assert result.code in (1, 2) and result.err.strip(), str(result)
    result = t.run(t.binary("tenured"), "--data", t.directory / "x", "--roles", "emperor", "--listen", "127.0.0.1:1")
    assert result.code in (1, 2), str(result)
    t.matches(result.err, "emperor", str(result))
    broken = t.directory / "broken.toml"
    broken.write_text("listen = [not toml")
    result = t.run(t.binary("tenured"), "--config", broken)
    assert result.code in (1, 2), str(result)
    t.matches(result.err, "broken.toml", str(result))


@case(limit=60)
def nobody_there(t):
    """No controller at the address: UNAVAILABLE within the time, naming what was tried."""
    port = system.find_base_port()
    result = t.tenure("status", "--controllers", f"127.0.0.1:{port}", "--timeout", "2", expect=None)
    t.error_line(result, rf"UNAVAILABLE: .*127\.0\.0\.1:{port}")
    assert result.seconds < 5, str(result)
    refusal = t.tenure("kv", "get", "a", "--controllers", f"127.0.0.1:{port}", "--timeout", "1", "--output", "json",
                       expect=1).refusal
    t.equal(sorted(refusal), ["details", "message", "reason", "retry_after_ms", "retryable"])
    t.equal(refusal["retryable"], True)


@case(limit=90)
def occupied_ports(t):
    """`up` on an occupied port starts nothing; `tenured` exits 1; both name the port."""
    cluster = t.new_cluster()
    for port in (cluster.rpc_port("2"), cluster.resp_port("3"), cluster.http_port("1")):
        with socket.create_server(("127.0.0.1", port)):
            t.error_line(cluster.up(expect=None), f"port {port} .*occupied")
            t.equal([cluster.running(name) for name in cluster.names], [False] * 3)
    base = system.find_base_port()
    for number, flag in enumerate(("--listen", "--resp", "--http")):
        ports = {"--listen": base + 1, "--resp": base + 2, "--http": base + 3}
        with socket.create_server(("127.0.0.1", ports[flag])):
            arguments = [word for f, port in ports.items() for word in (f, f"127.0.0.1:{port}")]
            result = t.run(t.binary("tenured"), "--data", t.directory / f"n{number}", "--roles", "controller,node", "--id", "1",
                           "--initial-controllers", f"1=127.0.0.1:{base + 1}", "--controllers", f"127.0.0.1:{base + 1}",
                           "--advertise", f"127.0.0.1:{base + 1}", *arguments, timeout=20)
            t.equal(result.code, 1, str(result))
            t.matches(result.err + result.out, f"{ports[flag]}.*(in use|occupied)", str(result))


@case(limit=60)
def down_without_cluster(t):
    """`down` where no cluster is."""
    t.error_line(t.tenure("down", "--data", t.directory / "nothing", expect=None), "NOT_FOUND: .*nothing")


# ---- data directories ------------------------------------------------------------------------------------------------


@case(limit=120)
def directory_of_another_cluster(t):
    """A process with another cluster's data directory refuses to start, or to join, with the reason."""
    one, other = t.new_cluster("one"), t.new_cluster("other")
    other.up()
    other.down()
    one.up()
    one.redis_cluster().set("kept", "1")
    one.stop("3")
    mine = one.process_directory("3")
    shutil.move(mine, t.directory / "aside")
    shutil.copytree(other.process_directory("3"), mine)
    shutil.copy(t.directory / "aside" / "tenured.toml", mine / "tenured.toml")
    result = t.run(t.binary("tenured"), "--config", mine / "tenured.toml", timeout=30)
    t.equal(result.code, 1, str(result))
    t.matches(result.err + result.out, "cluster", str(result))
    t.note((result.err.strip() or result.out.strip()).splitlines()[-1])
    t.equal(one.redis_cluster().get("kept"), "1")
    shutil.rmtree(mine)
    shutil.move(t.directory / "aside", mine)
    one.up()
    one.wait_serving()


@case(limit=60, shared=True)
def second_process_on_a_directory(t):
    """A second process on a data directory that is in use: exit 1 naming the owner; the first one lives on."""
    cluster = t.cluster()
    base = system.find_base_port()
    result = t.run(t.binary("tenured"), "--config", cluster.process_directory("1") / "tenured.toml",
                   "--listen", f"127.0.0.1:{base + 1}", "--resp", f"127.0.0.1:{base + 2}",
                   "--http", f"127.0.0.1:{base + 3}", timeout=20)
    t.equal(result.code, 1, str(result))
    t.matches(result.err + result.out, rf"{cluster.pid('1')}|lock|in use", str(result))
    t.equal(cluster.redis("1").ping(), True)


@case(limit=60)
def damaged_identity(t):
    """A directory whose identity cannot be read: exit 1 naming the file."""
    cluster = t.cluster(nodes=1)
    cluster.down()
    directory = cluster.process_directory("1")
    identity = next(path for path in directory.iterdir() if path.name.lower() == "identity")
    identity.write_bytes(os.urandom(64))
    result = t.run(t.binary("tenured"), "--config", cluster.process_directory("1") / "tenured.toml", timeout=20)
    t.equal(result.code, 1, str(result))
    t.matches(result.err + result.out, "identity", str(result))
    t.error_line(cluster.up(expect=None), "process 1 exited with 1: .*identity")


# ---- the Redis protocol ----------------------------------------------------------------------------------------------


def still_serves(t, cluster):
    for name in cluster.names:
        t.equal(cluster.redis(name).ping(), True)
    cluster.redis_cluster().set("still", "serving")


@case(limit=60, shared=True)
def garbage_on_resp(t):
    """Protocol errors are answered as Redis does and cost that connection only."""
    cluster = t.cluster()
    port = cluster.resp_port("1")
    good = resp.Connection(port)
    for garbage, answer in ((b"*3\r\n$3\r\nSET\r\n$x\r\n", "Protocol error"), (b"*99999999999\r\n", "Protocol error"),
                            (b"*1\r\n$99999999999\r\n", "Protocol error"), (b"*1\r\nPING\r\n", "Protocol error"),
                            (b"*-5x\r\n", "Protocol error")):
        connection = resp.Connection(port)
        connection.send_raw(garbage)
        seen = connection.read()
        t.matches(str(seen), f"^ERR {answer}", repr(garbage))
        t.equal(connection.socket.recv(1), b"", f"connection after {garbage!r}")
    chance = random.Random(7)
    for size in (1, 10, 1000, 100000):
        connection = resp.Connection(port)
        try:
            connection.send_raw(bytes(chance.randrange(256) for _ in range(size)) + b"\r\n")
            connection.socket.settimeout(1)
            while connection.socket.recv(65536):
                pass
        except OSError:
            pass
        connection.close()
    half = resp.Connection(port)
    half.send_raw(b"*2\r\n$3\r\nGET\r\n$1000\r\nxx")
    half.close()
    endless = resp.Connection(port)
    try:  # an inline command without an end
        for _ in range(40):
            endless.send_raw(b"x" * 65536)
            time.sleep(0.001)
        endless.socket.settimeout(2)
        t.matches(str(endless.read()), "Protocol error: too big inline request")
    except ConnectionError:
        pass
    t.equal(good.ask("PING"), b"PONG")
    still_serves(t, cluster)


@case(limit=60, shared=True)
def garbage_on_grpc(t):
    """Whatever arrives on the gRPC port costs that connection only."""
    cluster = t.cluster()
    chance = random.Random(8)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", preface + os.urandom(1000),
                 preface + b"\0\0\0\4\0\0\0\0\0" + b"\xff\xff\xff\1\5\0\0\0\1" + os.urandom(5000),
                 bytes(chance.randrange(256) for _ in range(100000))):
        for name in cluster.names:
            with socket.create_connection(("127.0.0.1", cluster.rpc_port(name)), timeout=5) as s:
                try:
                    s.sendall(data)
                    s.settimeout(0.5)
                    s.recv(65536)
                except OSError:
                    pass
    cluster.tenure("kv", "put", "after-garbage", "1")
    still_serves(t, cluster)


@case(limit=90, shared=True)
def huge_values(t):
    """A 64 MiB value is refused with the limit in the message; 32 MiB less a little is stored."""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    slot_owner = client.nodes_manager.get_node_from_slot(client.keyslot("huge"))
    connection = resp.Connection(slot_owner.port, timeout=30)
    try:
        connection.send("SET", "huge", b"x" * (64 << 20))
        answer = connection.read()
    except (BrokenPipeError, ConnectionResetError):
        # It was refused while it was still being sent: the answer stands in the socket's buffer, or was lost with it.
        try:
            answer = connection.read()
        except OSError:
            answer = None
    connection.close()
    t.note(f"64 MiB: {answer}")
    assert isinstance(answer, resp.Error), f"a 64 MiB value is answered with {answer!r}"
    t.matches(answer, r"^ERR .*(size|length|bytes|large|MiB)")
    t.equal(client.get("huge"), None)
    still_serves(t, cluster)
    value = "y" * ((32 << 20) - 1024)

    def is_set():
        try:
            return client.set("large", value)
        except redis.exceptions.ResponseError as e:
            # A region whose heartbeats stand behind it on a busy disk may change its leader meanwhile.
            assert str(e).startswith("UNKNOWN"), e
            return None

    system.until(is_set, 40, "a value just below the limit is taken")
    assert cluster.redis_cluster().get("large") == value
    client.delete("large")
    result = cluster.tenure("kv", "put", "large", "-", stdin="z" * (1 << 21), expect=None)
    t.error_line(result, "INVALID_ARGUMENT: .*value")
    t.error_line(cluster.tenure("kv", "put", "k" * 2000, "v", expect=None), "INVALID_ARGUMENT: .*key")


@case(limit=60, shared=True)
def wrong_commands(t):
    """Unknown commands, wrong arity, keys of other slots, wrong types: Redis' errors."""
    cluster = t.cluster()
    connection = resp.Connection(cluster.resp_port("1"))
    t.matches(connection.ask("FROBNICATE", "a", "b"), r"^ERR unknown command 'FROBNICATE'")
    t.matches(connection.ask("GET"), r"^ERR wrong number of arguments for 'get' command")
    t.matches(connection.ask("LPUSH", "list", "a"), r"^ERR unknown command")
    t.matches(connection.ask("MSET", "a", "1", "b", "2"), r"^CROSSSLOT Keys in request don't hash to the same slot")
    client = cluster.redis_cluster()
    slots = {}
    for i in range(64):
        node = client.nodes_manager.get_node_from_slot(client.keyslot(f"key{i}"))
        slots.setdefault(node.port, f"key{i}")
    elsewhere = next((key for port, key in slots.items() if port != cluster.resp_port("1")))
    t.matches(connection.ask("GET", elsewhere), r"^MOVED \d+ 127\.0\.0\.1:\d+$")
    client.set("text", "abc")
    client.hset("hash", "f", "1")
    for words, error in ((("INCR", "text"), "value is not an integer or out of range"),
                         (("HGET", "text", "f"), "WRONGTYPE"), (("GET", "hash"), "WRONGTYPE"),
                         (("SET", "text", "v", "EX", "0"), "invalid expire time"),
                         (("SET", "text", "v", "NX", "XX"), "syntax error")):
        try:
            seen = client.execute_command(*words)
        except Exception as e:
            t.matches(f"{e}", error, words)
        else:
            raise AssertionError(f"{words} answers {seen!r}")
    t.equal(client.get("text"), "abc")
    t.matches(connection.ask("SELECT", "no-such-database"), "^ERR")
    still_serves(t, cluster)


@case(limit=60, shared=True)
def many_connections(t):
    """Five hundred connections that say nothing, and one that works."""
    cluster = t.cluster()
    silent = [socket.create_connection(("127.0.0.1", cluster.resp_port("1")), timeout=5) for _ in range(500)]
    still_serves(t, cluster)
    for connection in silent:
        connection.close()
    still_serves(t, cluster)


@case(limit=60, shared=True)
def refused_names(t):
    """Names and numbers out of range are refused naming the field, before anything happens."""
    cluster = t.cluster()
    for arguments, pattern in ((("db", "create", "x" * 200), "name"), (("db", "create", ""), "name"),
                               (("db", "create", "a\tb"), "name"),
                               (("db", "create", "many", "--regions", "20000"), "regions"),
                               (("db", "create", "wide", "--replicas", "9"), "NOT_ENOUGH_NODES|replicas")):
        t.error_line(cluster.tenure(*arguments, "--timeout", "5", expect=None), pattern)
    t.error_line(cluster.tenure("db", "drop", "no-such", expect=None), "NOT_FOUND: .*no-such")
    t.error_line(cluster.tenure("db", "show", "no-such", expect=None), "NOT_FOUND: .*no-such")
    t.error_line(cluster.tenure("node", "show", "99", expect=None), "NOT_FOUND: .*99")
    t.error_line(cluster.tenure("region", "show", "999999", expect=None), "NOT_FOUND: .*999999")
    t.equal([d["name"] for d in cluster.json("db", "list")], ["default"])
