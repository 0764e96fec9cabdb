"""Controllers come, go, die and move, while somebody writes to the catalog."""

import shutil
import threading
import time

from harness import system
from harness.registry import case

REPLACE_AFTER = "2s"


class Controllers:
    """Processes with the role controller, started by hand."""

    def __init__(self, t):
        self.t = t
        self.base = system.find_base_port()
        self.processes, self.directories, self.addresses = {}, {}, {}
        self.first = {}
        self.flags = ()  # of all processes

    def address(self, number):
        return f"127.0.0.1:{self.base + 10 * number}"

    @property
    def known(self):
        return ",".join(self.addresses.values())

    def start(self, id, *more, directory=None, address=None, first=False, flags=None):
        self.directories[id] = directory or self.directories.get(id) or self.t.directory / f"c{id}"
        self.addresses[id] = address or self.addresses.get(id) or self.address(id)
        found = ["--initial-controllers", ",".join(f"{i}={self.address(i)}" for i in self.first)] if first else [
            "--controllers", self.known]
        with open(self.t.directory / f"c{id}.log", "ab") as log:
            self.processes[id] = self.t.start(
                self.t.binary("tenured"), "--roles", "controller", "--id", id, "--data", self.directories[id], "--listen",
                self.addresses[id], "--name", f"c{id}", "--replace-after", REPLACE_AFTER, *found,
                *(self.flags if flags is None else flags), *more, stdout=log, stderr=log)
        return self.processes[id]

    def form(self, *ids):
        self.first = ids
        for id in ids:
            self.start(id, first=True)
        system.until(lambda: self.status()["phase"] == "serving", 30, "the cluster serves")

    def kill(self, id):
        self.processes[id].kill()
        self.processes[id].wait(timeout=20)

    def ends(self, id, pattern, limit=20):
        """The process ends by itself, with this reason."""
        assert self.processes[id].wait(timeout=limit) == 1, f"exit {self.processes[id].returncode}"
        last = [line for line in self.log(id).splitlines() if line.startswith("error: ")][-1]
        self.t.matches(last, pattern)
        self.t.note(last)

    def log(self, id):
        return (self.t.directory / f"c{id}.log").read_text(errors="replace")

    def tenure(self, *arguments, **options):
        return self.t.tenure(*arguments, controllers=self.known, **options)

    def status(self):
        return self.tenure("status", "--output", "json").json

    def leader(self):
        return int(system.until(lambda: self.status()["leader"], 30, "a controller leads")["id"])

    def roles(self):
        """id -> voter, as the leader sees it."""
        return {int(c["id"]): c["voter"] for c in self.status()["controllers"]}

    def wait_voters(self, *ids, limit=60):
        def look():
            return {id for id, voter in self.roles().items() if voter} == set(ids)

        system.until(look, limit, f"the voters are {ids}; they are {self.roles()}")

    def complaints(self):
        return [f"c{id}: {line}" for id in self.directories for line in self.log(id).splitlines()
                if any(sign in line for sign in ("CHECK failed", "Sanitizer", "terminate called"))]


class Writer(threading.Thread):
    """Writes entries one by one; every acknowledged one must be there in the end."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.acknowledged, self.errors = cluster, [], []
        self.last, self.gap = time.monotonic(), 0.0
        self.stopping = threading.Event()

    def run(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            result = self.cluster.tenure("kv", "put", f"key{number}", number, "--timeout", "20", expect=None)
            if result.code != 0:
                self.errors.append(result.err.strip())
                continue
            now = time.monotonic()
            self.gap, self.last = max(self.gap, now - self.last), now
            self.acknowledged.append(number)

    def reset(self):
        self.gap, self.last = 0.0, time.monotonic()

    def wait_for(self, count, limit=30):
        target = len(self.acknowledged) + count
        system.until(lambda: len(self.acknowledged) >= target, limit, f"{count} more writes; errors: {self.errors[-3:]}")

    def finish(self):
        self.stopping.set()
        self.join(timeout=40)
        listed = self.cluster.tenure("kv", "list", "--output", "json").json
        found = {entry["key"]: entry["value"] for entry in listed}
        gone = [n for n in self.acknowledged if found.get(f"key{n}") != str(n)]
        assert not gone, f"{len(gone)} of {len(self.acknowledged)} acknowledged writes are gone: {gone[:5]}"


def finish(t, cluster, writer=None):
    if writer:
        writer.finish()
    assert not cluster.complaints(), cluster.complaints()[:5]


@case(limit=240)
def three_five_three(t):
    """3 -> 5 -> 3 controllers under writes, with kill -9 of the newcomer or the leader at every step."""
    cluster = Controllers(t)
    cluster.form(1, 2, 3)
    writer = Writer(cluster)
    writer.start()
    writer.wait_for(5)

    def crash(id):
        cluster.kill(id)
        cluster.start(id)

    cluster.tenure("controller", "add", f"4={cluster.address(4)}")
    crash(cluster.leader())
    cluster.start(4)
    system.until(lambda: "joining cluster" in cluster.log(4), 30, "4 joins")
    crash(4)
    # A process that is there before it is added waits for it.
    cluster.start(5)
    system.until(lambda: "tenure controller add 5=" in cluster.log(5), 30, "5 says what it waits for")
    cluster.tenure("controller", "target", "5")
    crash(cluster.leader())
    cluster.tenure("controller", "add", f"5={cluster.address(5)}")
    crash(5)
    cluster.wait_voters(1, 2, 3, 4, 5)
    t.note(f"3 to 5 with crashes: longest gap between acknowledged writes {writer.gap:.2f} s")
    writer.wait_for(5)
    writer.reset()

    cluster.tenure("controller", "target", "3", "--no-wait")
    crash(cluster.leader())
    system.until(lambda: sum(cluster.roles().values()) == 3, 60, "three voters are left")
    for id in (4, 5):
        cluster.tenure("controller", "remove", id, "--no-wait")
        crash(cluster.leader() if id == 4 else 5)
        system.until(lambda: id not in cluster.roles(), 60, f"{id} is removed")
        cluster.ends(id, f"NOT_FOUND: controller {id} was removed", limit=40)
    cluster.wait_voters(1, 2, 3)
    writer.wait_for(5)
    t.note(f"5 to 3 with crashes: longest gap between acknowledged writes {writer.gap:.2f} s")
    finish(t, cluster, writer)


@case(limit=120)
def remove_the_leader(t):
    """The leader hands over before it goes; one that was removed never comes back."""
    cluster = Controllers(t)
    cluster.form(1, 2, 3)
    cluster.tenure("controller", "add", f"4={cluster.address(4)}")
    cluster.start(4)
    writer = Writer(cluster)
    writer.start()
    writer.wait_for(5)
    writer.reset()
    old = cluster.leader()
    result = cluster.tenure("controller", "remove", old)
    t.matches(result.out, f"controller {old} removed")
    cluster.wait_voters(*({1, 2, 3, 4} - {old}))
    assert cluster.leader() != old
    writer.wait_for(5)
    t.note(f"removing the leader took {result.seconds:.2f} s, longest gap between acknowledged writes {writer.gap:.2f} s")
    t.equal(writer.errors, [], "the writer saw errors")
    cluster.ends(old, f"NOT_FOUND: controller {old} was removed from cluster .* cannot come back")
    cluster.start(old)
    cluster.ends(old, "CONDITION_FAILED: .* belongs to controller .*, which was removed .* cannot come back")
    shutil.rmtree(cluster.directories[old])
    cluster.start(old)
    cluster.ends(old, f"NOT_FOUND: controller {old} was removed")
    t.error_line(cluster.tenure("controller", "add", f"{old}={cluster.address(9)}", expect=None), "ids are not used again")
    finish(t, cluster, writer)


@case(limit=150)
def dead_disk(t):
    """kill -9, the directory is gone: the id is refused, a new one at the same address replaces it, the old one goes."""
    cluster = Controllers(t)
    cluster.form(1, 2, 3)
    writer = Writer(cluster)
    writer.start()
    writer.wait_for(5)
    for victim, fresh in ((cluster.leader(), 4), (None, 5)):
        victim = victim or next(id for id in cluster.roles() if id != cluster.leader())
        writer.reset()
        begin = time.monotonic()
        cluster.kill(victim)
        shutil.rmtree(cluster.directories[victim])
        cluster.start(victim)
        cluster.ends(victim, f"CONDITION_FAILED: controller {victim} of cluster .* has taken part with another data directory")
        address = cluster.addresses.pop(victim)
        system.until(lambda: cluster.tenure("controller", "add", f"{fresh}={address}", expect=None).code == 0, 20,
                     f"{fresh} may have the address of {victim}")
        cluster.start(fresh, address=address)
        cluster.wait_voters(*(set(id for id, voter in cluster.roles().items() if voter) - {victim} | {fresh}))
        replaced = time.monotonic() - begin
        cluster.tenure("controller", "remove", victim)
        writer.wait_for(5)
        t.note(f"{victim} lost its disk: {fresh} was a voter after {replaced:.1f} s (grace {REPLACE_AFTER}), longest gap "
               f"between acknowledged writes {writer.gap:.2f} s")
        t.equal(sum(cluster.roles().values()), 3)
        assert victim not in cluster.roles()
    finish(t, cluster, writer)


@case(limit=120)
def refusals(t):
    """What cannot be done is refused with the reason, and changes nothing."""
    cluster = Controllers(t)
    cluster.form(1, 2, 3)
    before = cluster.roles()

    def refused(pattern, *arguments):
        result = cluster.tenure("controller", *arguments, "--timeout", "5", expect=None)
        t.error_line(result, pattern)

    refused("ALREADY_EXISTS: controller 2 exists already", "add", f"2={cluster.address(4)}")
    refused("ALREADY_EXISTS: address .* belongs to controller 1", "add", f"4={cluster.address(1)}")
    refused("INVALID_ARGUMENT: .*ID=HOST:PORT", "add", "4")
    refused("INVALID_ARGUMENT: .*address", "add", "4=nowhere")
    refused("INVALID_ARGUMENT: controller.id: is 4294967296, the limit is 4294967295", "add", "4294967296=a:1")
    refused("NOT_FOUND: controller 7", "remove", "7")
    refused("CONDITION_FAILED: controller 3 is one of 3 voters, the target is 3", "remove", "3")
    refused("INVALID_ARGUMENT: target: is 2, allowed are 1, 3, 5 and 7", "target", "2")
    t.equal(cluster.roles(), before)

    # A learner without a voter's place, and a second removal while one waits.
    cluster.tenure("controller", "add", f"4={cluster.address(4)}")
    refused("CONDITION_FAILED: there are 3 voters, and that is the target", "promote", "4")
    cluster.tenure("controller", "remove", "3", "--no-wait")
    # It is asked again until the time is up; on a slow machine the last attempt may be cut off.
    refused("(BUSY|UNKNOWN_OUTCOME): .*controller 3 is being removed: one at a time", "remove", "2")
    t.equal(cluster.roles()[3], True, "3 stays a voter until 4 can replace it")
    cluster.start(4)
    cluster.wait_voters(1, 2, 4)

    # Somebody else's directory, an address that is taken, another cluster.
    cluster.start(4, directory=t.directory / "impostor", address=cluster.address(6))
    cluster.ends(4, "CONDITION_FAILED: controller 4 of cluster .* has taken part with another data directory")
    cluster.tenure("controller", "add", f"5={cluster.address(5)}")
    cluster.start(5, "--advertise", cluster.address(1), address=cluster.address(5))
    cluster.ends(5, "ALREADY_EXISTS: address .* belongs to controller 1")
    other = Controllers(t)
    other.first = (19,)
    other.start(19, first=True)
    system.until(lambda: other.status()["phase"] == "serving", 30, "the other cluster serves")
    shutil.rmtree(cluster.directories[5])
    cluster.start(5, address=cluster.address(5))
    system.until(lambda: {c["id"]: c["state"] for c in cluster.status()["controllers"]}["5"] == "follower", 30, "5 joins")
    cluster.kill(5)

    # The last one stays.
    for arguments in (("remove", "19"), ("remove", "19", "--force")):
        t.error_line(other.tenure("controller", *arguments, expect=None), "CONDITION_FAILED: controller 19 is the last one")
    # By force fewer remain than the target.
    cluster.tenure("controller", "remove", "5")
    cluster.tenure("controller", "remove", "4", "--force")
    cluster.wait_voters(1, 2)
    finish(t, cluster)


@case(limit=120)
def all_move(t):
    """All controllers get new addresses at once, two of them each other's: ids count, not addresses."""
    cluster = Controllers(t)
    cluster.form(1, 2, 3)
    cluster.tenure("kv", "put", "kept", "value")
    for id in (1, 2, 3):
        cluster.kill(id)
    moved = {1: cluster.address(2), 2: cluster.address(1), 3: cluster.address(8)}
    cluster.addresses = dict(moved)
    begin = time.monotonic()
    for id in (1, 2, 3):
        cluster.start(id)
    system.until(lambda: cluster.status()["phase"] == "serving", 40, "the cluster serves at its new addresses")
    t.note(f"serving {time.monotonic() - begin:.1f} s after the restart at new addresses")
    t.equal(cluster.tenure("kv", "get", "kept").out, "value\n")

    def recorded():
        return {int(c["id"]): c["address"] for c in cluster.status()["controllers"]} == moved

    system.until(recorded, 30, "the catalog knows the new addresses")
    # The catalog's word is enough from now on.
    for id in (1, 2, 3):
        cluster.kill(id)
    known = dict(cluster.addresses)
    for id in (1, 2, 3):
        cluster.addresses = {id: known[id]}
        cluster.start(id)
    cluster.addresses = known
    system.until(lambda: cluster.status()["phase"] == "serving", 40, "the cluster serves again")
    # One that moves alone is followed.
    cluster.kill(3)
    cluster.addresses[3] = cluster.address(9)
    cluster.start(3)
    system.until(lambda: {c["address"]: c["state"] for c in cluster.status()["controllers"]}.get(cluster.address(9)) in
                 ("follower", "leader"), 30, "3 is found where it went")
    finish(t, cluster)


@case(limit=180)
def node_outlives_its_controller(t):
    """In a process with both roles the controller is replaced by one elsewhere; its node goes on serving."""
    up = t.cluster()
    client = up.redis_cluster()
    client.set("kept", "value")
    fresh = Controllers(t)
    fresh.base = up.base + 100
    fresh.addresses = {i: f"127.0.0.1:{up.rpc_port(str(i))}" for i in (1, 2, 3)}
    fresh.tenure("controller", "add", f"4={fresh.address(4)}")
    fresh.start(4)
    fresh.tenure("controller", "remove", "1", timeout=90)
    system.until(lambda: "node of this process goes on" in up.log("1"), 30, "process 1 knows that it is no controller")
    assert up.running("1")
    for i in range(50):
        client.set(f"key:{i}", i)
    t.equal(client.get("kept"), "value")
    # With its directory it comes back as a node only.
    up.stop("1")
    result = t.run(t.binary("tenured"), "--config", up.process_directory("1") / "tenured.toml", timeout=30)
    t.matches(result.err, "error: CONDITION_FAILED: .*was removed .*its node goes on with --roles node")
    log = open(t.directory / "n1.log", "ab")
    t.start(t.binary("tenured"), "--data", up.process_directory("1"), "--roles", "node", "--listen",
            f"127.0.0.1:{up.rpc_port('1')}", "--resp", f"127.0.0.1:{up.resp_port('1')}", "--name", "1", "--controllers",
            fresh.known, stdout=log, stderr=log)
    system.until(lambda: {n["name"]: n["state"] for n in fresh.status()["nodes"]}["1"] == "UP", 30, "node 1 is up")
    system.until(lambda: up.redis("1").cluster("info")["cluster_state"] == "ok", 30, "node 1 serves")
    t.equal(up.redis_cluster().get("kept"), "value")
    finish(t, fresh)


def token_file(t, name, *tokens):
    path = t.directory / f"{name}.secret"
    path.write_text("".join(f"{token}\n" for token in tokens))
    path.chmod(0o600)
    return path


@case(limit=180)
def join_tokens(t):
    """Processes without the cluster's token are turned away with the reason; the token is changed under way."""
    old, new = "first-token-0123456789", "second-token-0123456789"
    file = token_file(t, "token", old)
    cluster = Controllers(t)
    cluster.flags = ("--token-file", file)
    cluster.form(1, 2, 3)

    def node(name, number, *flags):
        """A node's process, and its log."""
        port = cluster.base + 100 + 10 * number
        log = t.directory / f"{name}.log"
        with open(log, "ab") as out:
            process = t.start(t.binary("tenured"), "--roles", "node", "--data", t.directory / name, "--name", name, "--listen",
                              f"127.0.0.1:{port}", "--resp", f"127.0.0.1:{port + 1}", "--controllers", cluster.known, *flags,
                              stdout=out, stderr=out)
        return process, log

    def nodes():
        return {n["name"]: n["state"] for n in cluster.status()["nodes"]}

    def turned_away(name, number, pattern, *flags):
        process, log = node(name, number, *flags)
        assert process.wait(timeout=20) == 1, f"exit {process.returncode}"
        last = [line for line in log.read_text().splitlines() if line.startswith("error: ")][-1]
        t.matches(last, pattern)
        t.note(last)

    # Nodes.
    turned_away("none", 1, "WRONG_TOKEN: node 'none' at .* gave no token")
    wrong = token_file(t, "wrong", "some-other-token-0123")
    turned_away("wrong", 2, "WRONG_TOKEN: node 'wrong' at .* has another token", "--token-file", wrong)
    good, _ = node("good", 3, *cluster.flags)
    system.until(lambda: nodes().get("good") == "UP", 20, "the node with the token is UP")
    t.equal(set(nodes()), {"good"}, "only the node with the token is in the catalog")

    # Controllers: one that joins, though its id was added, and one that says it is a first member with an empty disk.
    cluster.tenure("controller", "add", f"4={cluster.address(4)}")
    before = cluster.tenure("record", "get", "controller", "4", "--output", "json").json
    cluster.start(4, flags=("--token-file", wrong))
    cluster.ends(4, "WRONG_TOKEN: controller 4 at .* has another token than this cluster")
    t.equal(cluster.tenure("record", "get", "controller", "4", "--output", "json").json, before, "nothing of it is written down")
    cluster.addresses.pop(4)
    victim = next(id for id in (1, 2, 3) if id != cluster.leader())
    cluster.kill(victim)
    cluster.start(victim, flags=("--token-file", wrong))
    system.until(lambda: "has another token than this cluster" in cluster.log(victim), 20, "the member complains")
    system.until(lambda: {int(c["id"]): c["state"] for c in cluster.status()["controllers"]}.get(victim) == "follower", 20,
                 "a member keeps its vote")
    cluster.kill(victim)
    cluster.start(victim)

    # The change: both lines are accepted, then the new one is sent, then the old one is gone. One process at a time.
    for lines in ((old, new), (new, old), (new,)):
        token_file(t, "token", *lines)
        for id in (1, 2, 3):
            system.until(lambda: all(c["state"] in ("leader", "follower") for c in cluster.status()["controllers"]
                                     if c["id"] != "4"), 30, "all controllers are there")
            cluster.kill(id)
            cluster.start(id)
        good.terminate()
        t.equal(good.wait(timeout=20), 0, "the node stops cleanly")
        good, _ = node("good", 3, *cluster.flags)
        system.until(lambda: nodes().get("good") == "UP", 30, f"the node is UP with a file of {len(lines)} lines")
    # A cluster that forms with one wrong file: that process ends, and the others go on.
    forming = Controllers(t)
    forming.first = (6, 7, 8)
    for id in (6, 7, 8):
        forming.start(id, first=True, flags=("--token-file", wrong if id == 8 else file))
    forming.ends(8, "WRONG_TOKEN: controller 8 at .* has another token than this cluster")
    system.until(lambda: forming.status()["phase"] == "serving", 30, "the two others serve")
    for id in (6, 7):
        assert forming.processes[id].poll() is None, f"c{id} ended, too"
        forming.kill(id)
    late, _ = node("late", 4, "--token-file", token_file(t, "new", new))
    system.until(lambda: nodes().get("late") == "UP", 20, "a node with the new token is UP")
    turned_away("early", 5, "WRONG_TOKEN: node 'early' at .* has another token", "--token-file", token_file(t, "old", old))
    t.equal(set(nodes()), {"good", "late"})
    cluster.start(4)
    system.until(lambda: {c["id"]: c["state"] for c in cluster.status()["controllers"]}["4"] == "follower", 30, "4 joins now")
    finish(t, cluster)


@case(limit=240)
def all_replaced(t):
    """All controllers are replaced by others elsewhere, one by one; a node that then restarts finds them from its directory,
    and so do controllers, although what they are told of is gone. Another cluster at the old addresses confuses nobody."""
    cluster = Controllers(t)
    cluster.form(1, 2, 3)
    told = cluster.known
    port = cluster.base + 150

    def node():
        with open(t.directory / "n.log", "ab") as log:
            return t.start(t.binary("tenured"), "--roles", "node", "--data", t.directory / "n", "--name", "n", "--listen",
                           f"127.0.0.1:{port}", "--resp", f"127.0.0.1:{port + 1}", "--controllers", told, stdout=log, stderr=log)

    def state():
        return {n["name"]: n["state"] for n in cluster.status()["nodes"]}.get("n")

    process = node()
    system.until(lambda: state() == "UP", 20, "the node is UP")
    for old, fresh in ((1, 4), (2, 5), (3, 6)):
        cluster.tenure("controller", "add", f"{fresh}={cluster.address(fresh)}")
        cluster.start(fresh)
        system.until(lambda: {c["id"]: c["state"] for c in cluster.status()["controllers"]}.get(str(fresh)) in
                     ("follower", "leader"), 30, f"{fresh} joins")
        cluster.tenure("controller", "remove", old, timeout=60)
        cluster.ends(old, f"NOT_FOUND: controller {old} was removed", limit=40)
        cluster.addresses.pop(old)
    cluster.wait_voters(4, 5, 6)

    def kept():
        text = (t.directory / "n" / "identity").read_text()
        return all(cluster.address(id) in text for id in (4, 5, 6)) and not any(cluster.address(id) in text for id in (1, 2, 3))

    system.until(kept, 10, "the node's directory names the new controllers and no others")
    process.kill()
    process.wait(timeout=20)
    system.until(lambda: state() != "UP", 30, "the node is missed")
    begin = time.monotonic()
    process = node()
    system.until(lambda: state() == "UP", 30, "the node finds its cluster")
    t.note(f"UP {time.monotonic() - begin:.1f} s after its restart, told of {told}")

    # Another cluster where the first one was; the controllers restart, told only of those places.
    other = Controllers(t)
    other.base = cluster.base
    other.first = (1, 2, 3)
    for id in (1, 2, 3):
        other.start(id, first=True, directory=t.directory / f"other{id}")
    system.until(lambda: other.status()["phase"] == "serving", 30, "the other cluster serves at the old addresses")
    known = dict(cluster.addresses)
    for id in known:
        cluster.kill(id)
    for id in known:
        cluster.addresses = {i: cluster.address(i) for i in (1, 2, 3)} | {id: known[id]}
        cluster.start(id)
    cluster.addresses = known
    system.until(lambda: cluster.status()["phase"] == "serving", 40, "the controllers find each other")
    for id in known:
        assert cluster.processes[id].poll() is None, f"c{id} ended: {cluster.log(id)[-500:]}"
    assert process.poll() is None
    system.until(lambda: state() == "UP", 30, "the node stays")
    finish(t, cluster)
