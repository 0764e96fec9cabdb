"""Damaged data directories: what a start refuses, what `repair` does about it."""

import random
import shutil

from harness import system
from harness.registry import case


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def segment(cluster, name):
    return cluster.process_directory(name) / "wal" / "0000000000000001.wal"


def damage_value(cluster, name, value):
    """Flips a bit of the first log entry that holds `value`."""
    offset = segment(cluster, name).read_bytes().find(value)
    assert offset > 0, value
    flip(segment(cluster, name), offset)


def tenured(t, cluster, name):
    return t.run(t.binary("tenured"), "--config", cluster.process_directory(name) / "tenured.toml", timeout=20)


@case(limit=180)
def repair_region(t):
    """An entry of a region is damaged: the process refuses to start, `repair` drops that replica, everything else goes
    on, the others serve the region, and status and `region show` say what is missing."""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    for i in range(200):
        client.set(f"key{i}", f"the value {i} of a key")
    cluster.wait_serving()
    directory = cluster.process_directory("1")
    t.error_line(t.tenure("repair", directory, "--execute", expect=None), "in use")
    cluster.down()
    t.error_line(t.tenure("repair", directory, "--execute", expect=None), "FAILED_PRECONDITION: .*healthy")
    damage_value(cluster, "1", b"the value 77 of a key")
    result = tenured(t, cluster, "1")
    t.equal(result.code, 1)
    t.matches(result.err, r"0000000000000001\.wal at offset \d+.*group \d+: entries \d+-\d+.*tenure repair")

    plan = t.tenure("repair", directory, "--output", "json").json
    t.equal((plan["executed"], plan["everything"], plan["drops_controller"]), (False, False, False))
    t.equal(len(plan["dropped"]), 1)
    region = plan["dropped"][0]["group"]
    assert plan["dropped"][0]["first_lost"] <= plan["dropped"][0]["last_lost"], plan
    t.equal(len(plan["kept"]), 8)
    t.equal(tenured(t, cluster, "1").code, 1, "a plan changes nothing")
    t.matches(t.tenure("repair", directory, "--execute").out, f"{region} +region +drop.*wal.damaged-1")
    t.error_line(t.tenure("repair", directory, expect=None), "healthy")

    cluster.up()
    cluster.wait_serving()
    for i in range(200):
        t.equal(client.get(f"key{i}"), f"the value {i} of a key")
    client.set("key77", "anew")

    def told():
        status = cluster.status()
        return [alarm for alarm in status["alarms"] if alarm["kind"] == "REPLICA_LOST"]

    alarms = system.until(told, 20, "the lost replica is reported")
    t.equal(len(alarms), 1)
    t.matches(alarms[0]["object"], f"region {region} replica")
    shown = cluster.json("region", "show", region)
    t.equal(shown["state"], "DEGRADED")
    t.equal(sorted(replica["state"] for replica in shown["replicas"]), ["lost", "running", "running"])
    others = [r for r in cluster.json("region", "list") if r["id"] != region]
    assert all(r["state"] == "SERVING" for r in others), others
    # It stays that way: the dropped replica never comes back, and the other two are the region's quorum.
    cluster.kill("1")
    cluster.up()
    cluster.wait_serving()
    t.equal(len(system.until(told, 20, "it is still reported")), 1)


@case(limit=120)
def repair_controller(t):
    """The catalog's replica is damaged: repair says what to do, and with --drop-controller leaves a node."""
    cluster = t.cluster()
    cluster.tenure("kv", "put", "name", "a value of the catalog")
    cluster.wait_serving()
    cluster.down()
    damage_value(cluster, "1", b"a value of the catalog")
    directory = cluster.process_directory("1")
    t.matches(t.tenure("repair", directory).out, "0 +catalog +drop.*drop-controller.*controller remove 1")
    result = t.tenure("repair", directory, "--execute", expect=None)
    t.error_line(result, "FAILED_PRECONDITION: .*group 0.*--drop-controller.*controller remove")
    t.equal(tenured(t, cluster, "1").code, 1, "nothing was done")
    t.tenure("repair", directory, "--execute", "--drop-controller")
    result = tenured(t, cluster, "1")
    t.equal(result.code, 1)
    t.matches(result.err, "--roles must be node")
    t.matches(t.tenure("inspect", directory).out, "controller +-")


@case(limit=400)
def damaged_starts(t):
    """A directory made by a short run is damaged in many single places; each start works or refuses and names file and
    place. (tests/wal/directory_damage_test.cc does every byte.)"""
    cluster = t.cluster()
    client = cluster.redis_cluster()
    for i in range(50):
        client.set(f"key{i}", f"the value {i}")
    cluster.kill(*cluster.names)
    directory = cluster.process_directory("1")
    saved = t.directory / "saved"
    shutil.copytree(directory, saved)
    used = len((saved / "wal" / "0000000000000001.wal").read_bytes().rstrip(b"\0"))
    rng = random.Random(5)
    places = [("identity", rng.randrange((saved / "identity").stat().st_size)) for _ in range(4)]
    places += [("wal/0000000000000001.wal", rng.randrange(used)) for _ in range(40 if t.full else 8)]
    places += [("catalog-view", 30), ("identity", None), ("wal/0000000000000001.wal", None)]
    works = refuses = 0
    for name, offset in places:
        shutil.rmtree(directory)
        shutil.copytree(saved, directory)
        if offset is None:
            with open(directory / name, "r+b") as file:
                file.truncate(100)
        else:
            flip(directory / name, offset)
        log = t.directory / "start.log"
        with open(log, "w") as output:
            process = t.start(t.binary("tenured"), "--config", directory / "tenured.toml", stdout=output, stderr=output)

        def decided():
            return process.poll() is not None or "listening on" in log.read_text()

        system.until(decided, 30, f"{name} at {offset}: it starts or refuses")
        if process.poll() is None:
            works += 1
            process.kill()
            process.wait()
            assert name != "wal/0000000000000001.wal" or offset is not None, "a cut segment was taken"
        else:
            refuses += 1
            t.equal(process.returncode, 1, f"{name} at {offset}")
            t.matches(log.read_text(), name.split("/")[-1] + ".*offset", f"{name} at {offset}")
    t.note(f"{len(places)} damaged directories: {works} started, {refuses} refused with file and offset")
    assert refuses >= 10, refuses
