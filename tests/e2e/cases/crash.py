"""kill -9 under load: nothing that was acknowledged is lost and no read goes back."""

import random
import time

from harness.registry import case
from harness.workload import Workload

ROUNDS, WRITES = 3, 2000
FULL_ROUNDS, FULL_WRITES = 20, 20000
ROUNDS_OF_ALL, FULL_ROUNDS_OF_ALL = 2, 20


@case(limit=900)
def each_in_turn(t):
    """Each process in turn is killed and restarted under 16 cluster clients."""
    rounds, writes = (FULL_ROUNDS, FULL_WRITES) if t.full else (ROUNDS, WRITES)
    cluster = t.cluster()
    with Workload(cluster) as work:
        work.wait_for(200, limit=30)
        for number in range(rounds):
            victim = cluster.names[number % len(cluster.names)]
            leads = cluster.leader() == victim
            before = work.acknowledged
            work.reset_gaps()
            cluster.kill(victim)
            work.wait_all_regions()
            work.wait_for(writes // rounds // 2, limit=60)
            begin = time.monotonic()
            cluster.up()
            restart = time.monotonic() - begin
            work.wait_for(max(1, writes // rounds - (work.acknowledged - before)), limit=60)
            t.note(f"round {number + 1}: killed {victim}{' (leads the catalog)' if leads else ''}: {work.describe_gaps()}; "
                   f"restart took {restart:.1f} s; {work.acknowledged - before} writes")
    work.verify()
    t.note(f"{rounds} rounds, {work.acknowledged} writes acknowledged, {len(work.unique)} keys and {len(work.floor)} counters "
           f"read back, 0 lost; errors seen by clients: {sum(work.errors.values())}")
    for text, count in sorted(work.errors.items(), key=lambda e: -e[1])[:3]:
        t.note(f"    {count} x {text}")
    assert work.acknowledged >= writes


@case(limit=900)
def all_at_once(t):
    """All three killed at once, at a random moment under load, and restarted; again and again on the same directories."""
    rounds = FULL_ROUNDS_OF_ALL if t.full else ROUNDS_OF_ALL
    draws = random.Random(1)
    cluster = t.cluster()
    with Workload(cluster) as work:
        for number in range(rounds):
            work.wait_for(draws.randint(200, 1500), limit=60)
            work.reset_gaps()
            cluster.kill(*cluster.names)
            begin = time.monotonic()
            cluster.up()
            restart = time.monotonic() - begin
            work.wait_all_regions()
            t.note(f"round {number + 1}: killed all three: restart took {restart:.1f} s, {work.describe_gaps()}")
        work.wait_for(500, limit=60)
    work.verify()
    t.note(f"{rounds} rounds, {work.acknowledged} writes acknowledged, {len(work.unique)} keys and {len(work.floor)} counters "
           f"read back, 0 lost")


@case(limit=120)
def restarted_by_hand(t):
    """A killed process that is started again with its own tenured.toml catches up and can lead."""
    cluster = t.cluster()
    with Workload(cluster, clients=4) as work:
        work.wait_for(200, limit=30)
        cluster.kill("1")
        work.wait_for(200, limit=60)
        t.start(t.binary("tenured"), "--config", cluster.process_directory("1") / "tenured.toml")
        work.wait_for(200, limit=60)
    cluster.wait_serving()
    # With another one gone, the restarted one is needed for every majority.
    cluster.kill("2")
    cluster.wait_writable()
    work.verify()


@case(limit=120)
def in_the_middle_of_db_create(t):
    """The leader is killed right after `db create`: the database is whole in the end, or absent."""
    cluster = t.cluster()
    outcomes = []
    for number, delay in enumerate((0.0, 0.01, 0.03, 0.08) if t.full else (0.0, 0.03)):
        name = f"half{number}"
        leader = cluster.leader()
        create = t.start(t.binary("tenure"), "db", "create", name, "--no-wait", "--controllers", cluster.controllers)
        time.sleep(0.02 + delay)
        cluster.kill(leader)
        create.communicate(timeout=60)
        cluster.up()
        outcomes.append(settle(cluster, name))
    t.note(f"outcomes: {', '.join(outcomes)}")


def settle(cluster, name):
    """Waits until the database is complete or absent; half there is neither, for at most 30 s."""
    deadline = time.monotonic() + 30
    while True:
        records = [d for d in cluster.json("record", "list", "database") if d["name"] == name]
        regions = [r for r in cluster.json("region", "list") if r["database"] == name] if records else []
        if not records:
            known = {d["id"] for d in cluster.json("record", "list", "database")}
            orphans = [r for r in cluster.json("record", "list", "region") if r["database_id"] not in known]
            if not orphans:
                return "absent"
        elif records[0]["state"] == "PUBLIC" and len(regions) == records[0]["regions"] and all(
                r["leader"] for r in regions):
            slots = sum(r["slots"][0][1] - r["slots"][0][0] + 1 for r in regions)
            assert slots == 16384, f"{name} has {slots} slots"
            return "complete"
        assert time.monotonic() < deadline, f"{name} is half there: {records}, {regions}"
        time.sleep(0.1)
