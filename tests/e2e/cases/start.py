"""From an empty folder to a serving cluster, and again."""

import json
import signal
import socket

from harness import resp, system
from harness.registry import case


@case(limit=90)
def any_process_serves(t):
    """`tenure up` in an empty folder; a write through any process is read through any other."""
    cluster = t.new_cluster()
    result = cluster.up()
    t.note(f"up took {result.seconds:.1f} s")
    t.matches(result.out, rf"redis-cli -c -p {cluster.resp_port('1')}")
    t.matches(result.out, "tenure status --controllers")
    for writer in cluster.names:
        for key in ("a", "b", "{x}c", "longer:key"):
            t.equal(cluster.redis_cli(writer, "set", key, f"by-{writer}").out.strip(), "OK")
            for reader in cluster.names:
                t.equal(cluster.redis_cli(reader, "get", key).out.strip(), f"by-{writer}", f"get {key} from {reader}")


@case(limit=90)
def layout(t):
    """Names, files and ports are those of docs/cli.md."""
    cluster = t.cluster()
    for name in cluster.names:
        for file in ("tenured.toml", "tenured.pid", "tenured.log", "identity", "wal", "kv"):
            assert (cluster.process_directory(name) / file).exists(), f"{name}/{file} is missing"
        for port in (cluster.rpc_port(name), cluster.resp_port(name), cluster.http_port(name)):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        for path in ("healthz", "readyz"):
            result = t.run("/usr/bin/python3", "-c", "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read())",
                           f"http://127.0.0.1:{cluster.http_port(name)}/{path}")
            t.equal(result.code, 0, str(result))
        metrics = t.run("/usr/bin/python3", "-c", "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())",
                        f"http://127.0.0.1:{cluster.http_port(name)}/metrics")
        t.matches(metrics.out, r"# TYPE \w+ (counter|gauge|histogram|summary)")


@case(limit=90)
def again(t):
    """A second `up` says what runs; after a kill it starts only what is down, with the data it had."""
    cluster = t.cluster()
    cluster.redis_cluster().set("kept", "value")
    pids = {name: cluster.pid(name) for name in cluster.names}
    result = cluster.up()
    t.matches(result.out, "running already")
    t.equal({name: cluster.pid(name) for name in cluster.names}, pids, "a second up must not restart anything")

    cluster.kill("2")
    # Only the directory is needed: the rest is remembered.
    result = t.tenure("up", "--detach", "--data", cluster.directory, timeout=60)
    t.matches(result.out, "Started 2; already running: 1 and 3")
    t.equal([cluster.pid(name) == pids[name] for name in cluster.names], [True, False, True])
    t.equal(cluster.redis_cluster().get("kept"), "value")

    result = t.tenure("up", "--detach", "--data", cluster.directory, "--nodes", "5", expect=None)
    t.error_line(result, "holds a cluster with --nodes 3")


@case(limit=120)
def restart_of_everything(t):
    """A clean stop and start, then SIGKILL and start: the data is there."""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    for i in range(200):
        client.set(f"key:{i}", i)
    cluster.tenure("kv", "put", "config", "value")
    result = cluster.down()
    t.matches(result.out, "stopped 1, 2 and 3")
    t.equal([cluster.running(name) for name in cluster.names], [False] * 3)
    result = cluster.up()
    t.note(f"up after a clean stop took {result.seconds:.1f} s")
    for i in range(200):
        t.equal(cluster.redis_cluster().get(f"key:{i}") if i % 50 == 0 else str(i), str(i))
    result = cluster.down("--kill")
    t.matches(result.out, "killed 1, 2 and 3")
    t.matches(cluster.down().out, "nothing was running")
    result = cluster.up()
    t.note(f"up after SIGKILL took {result.seconds:.1f} s")
    client = cluster.redis_cluster()
    t.equal([client.get(f"key:{i}") for i in range(200)], [str(i) for i in range(200)])
    t.equal(cluster.tenure("kv", "get", "config").out, "value\n")


@case(limit=90)
def foreground(t):
    """In the foreground `up` reports a process that dies, and Ctrl-C stops the others."""
    cluster = t.new_cluster()
    said = t.directory / "up.out"
    with open(said, "w") as out:
        up = t.start(t.binary("tenure"), "up", "--data", cluster.directory, "--base-port", cluster.base, stdout=out,
                     stderr=out)
    # Until then a process that dies ends it all.
    system.until(lambda: "Ctrl-C stops" in said.read_text(), 60, "the cluster is up")
    cluster.wait_serving()
    cluster.wait_writable()
    cluster.kill("3")
    # A process that is started by hand is as good as one that `up` started.
    t.start(t.binary("tenured"), "--config", cluster.process_directory("3") / "tenured.toml")
    cluster.wait_writable()
    pids = [cluster.pid("1"), cluster.pid("2")]
    up.send_signal(signal.SIGINT)
    up.wait(timeout=40)
    t.equal(up.returncode, 0, said.read_text())
    t.matches(said.read_text(), r"process 3 was killed by signal 9")
    t.equal([system.alive(pid) for pid in pids], [False, False])
    t.matches(cluster.down().out, "stopped 3")


@case(limit=90)
def foreground_whose_reader_is_gone(t):
    """Ctrl-C ends `tenure up | tee` as a whole, tee first: the cluster is stopped all the same."""
    cluster = t.new_cluster(nodes=1)
    up = t.start(t.binary("tenure"), "up", "--data", cluster.directory, "--base-port", cluster.base, "--nodes", 1)
    while "Ctrl-C stops" not in up.stdout.readline():
        assert up.poll() is None, up.stderr.read()
    pid = cluster.pid("1")
    up.stdout.close()
    up.send_signal(signal.SIGINT)
    up.wait(timeout=40)
    t.equal(up.returncode, 0)
    t.equal(system.alive(pid), False)


@case(limit=90)
def two_at_once(t):
    """Of two `up` of one directory one starts what the other has not."""
    cluster = t.new_cluster(nodes=1)
    command = [t.binary("tenure"), "up", "--detach", "--data", cluster.directory, "--base-port", cluster.base, "--nodes", 1]
    both = [t.start(*command) for _ in range(2)]
    said = []
    for up in both:
        out, err = up.communicate(timeout=60)
        t.equal((up.returncode, err), (0, ""))
        said.append("running already" in out)
    t.equal(sorted(said), [False, True])


@case(limit=90)
def few_descriptors(t):
    """Clients get what the process leaves of its limit of open files: one more is told so, and all goes on."""
    cluster = t.new_cluster(nodes=1)
    up = ["up", "--detach", "--data", cluster.directory, "--base-port", cluster.base, "--nodes", 1]
    t.error_line(t.run("prlimit", "--nofile=700", t.binary("tenure"), *up, timeout=60), "limit of open files .* is 700, .* at least 800")
    done = t.run("prlimit", "--nofile=832", t.binary("tenure"), *up, timeout=60)
    t.equal(done.code, 0, str(done))
    t.matches(cluster.log("1"), "--max-clients is 64 instead of 10000")
    clients = [resp.Connection(cluster.resp_port("1")) for _ in range(900)]
    answers = []
    for client in clients:
        try:
            answers.append(str(client.ask("PING")))
        except OSError:  # told so and closed before it could ask
            answers.append("closed")
    served = [client for client, answer in zip(clients, answers) if "PONG" in answer]
    t.equal(len(served), 64)
    t.equal({answer for answer in answers if "PONG" not in answer} - {"closed"}, {"ERR max number of clients reached"})
    for i, client in enumerate(served):
        t.equal(client.ask("SET", f"key:{i}", "x" * 100000), b"OK")
    cluster.tenure("kv", "put", "key", "value")
    for client in clients:
        client.close()
    t.equal(cluster.redis_cli("1", "get", "key:0").out.strip(), "x" * 100000)


@case(limit=90)
def one_node(t):
    """A cluster of one process."""
    cluster = t.cluster(nodes=1)
    t.equal(cluster.redis_cli("1", "set", "a", "1").out.strip(), "OK")
    database = cluster.json("db", "show", "default")
    t.equal(database["replicas"], 1)
    cluster.kill("1")
    cluster.up()
    t.equal(cluster.redis_cli("1", "get", "a").out.strip(), "1")


@case(limit=120)
def separate_processes(t):
    """`up --separate`: controllers and nodes as processes of their own; either kind may lose one."""
    cluster = t.cluster(separate=True)
    t.equal(cluster.redis_cli("n1", "set", "a", "1").out.strip(), "OK")
    status = cluster.status()
    t.equal(sorted(n["resp_address"] for n in status["nodes"]),
            sorted(f"127.0.0.1:{cluster.resp_port(name)}" for name in cluster.node_names))
    cluster.kill(cluster.leader(), "n2")
    took = cluster.wait_writable()
    t.note(f"all slots took writes {took:.1f} s after the leading controller and a node were killed")
    cluster.up()
    t.equal(cluster.redis_cli("n2", "get", "a").out.strip(), "1")


@case(limit=90)
def json_output(t):
    """`up` and `down` with --output json."""
    cluster = t.new_cluster()
    document = cluster.up("--output", "json").json
    t.equal(document["controllers"], cluster.controllers)
    t.equal([p["name"] for p in document["processes"]], ["1", "2", "3"])
    document = json.loads(cluster.down("--output", "json").out)
    t.equal(document["stopped"], ["1", "2", "3"])
