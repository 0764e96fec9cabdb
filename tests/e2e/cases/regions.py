"""Regions that are split and merged under clients."""

import random

from harness import system
from harness.registry import case
from harness.workload import Workload

ROUNDS, FULL_ROUNDS = 4, 20


def serving(cluster):
    return [r for r in cluster.json("region", "list", "default") if r["state"] == "SERVING"]


def check_slots(cluster):
    """Every slot of the database belongs to one region, in the catalog and for clients."""
    slots = sorted(s for r in serving(cluster) for s in r["slots"])
    assert slots[0][0] == 0 and slots[-1][1] == 16383, slots
    assert all(a[1] + 1 == b[0] for a, b in zip(slots, slots[1:])), slots

    # A range may be shown in two parts, so that redis-py meets every leader as one. Nodes hear of changes a moment later.
    def shown():
        parts = sorted([int(s[0]), int(s[1])] for s in cluster.redis().execute_command("CLUSTER SLOTS"))
        assert parts[0][0] == 0 and parts[-1][1] == 16383, parts
        assert all(a[1] + 1 == b[0] for a, b in zip(parts, parts[1:])), parts
        return {first for first, _ in slots} <= {first for first, _ in parts} and len(parts) <= len(slots) + 3

    system.until(shown, 10, f"clients are shown the slots {slots}", interval=0.1)


@case(limit=900)
def split_and_merge_under_load(t):
    """Regions are split and merged under 16 cluster clients, and a process is killed now and then while slots move."""
    draws = random.Random(8)
    cluster = t.cluster()
    with Workload(cluster) as work:
        work.wait_for(500, limit=60)
        for number in range(FULL_ROUNDS if t.full else ROUNDS):
            regions = serving(cluster)
            region = draws.choice([r for r in regions if r["slots"][0][0] < r["slots"][0][1]])
            first, last = region["slots"][0]
            victim = draws.choice(cluster.names) if number % 2 == 1 else None
            # One that is answered at once goes on by itself, whoever dies.
            cluster.tenure("region", "split", region["id"], "--at", draws.randint(first + 1, last),
                           *(["--no-wait"] if victim else []), timeout=120)
            if victim:
                cluster.kill(victim)
                work.wait_for(300, limit=60)
                cluster.up()
                wait_ended(t, cluster)
            work.wait_for(300, limit=60)
            check_slots(cluster)
            regions = sorted(serving(cluster), key=lambda r: r["slots"][0][0])
            assert len(regions) == len({r["id"] for r in regions})
            at = draws.randrange(len(regions) - 1)
            cluster.tenure("region", "merge", regions[at + 1]["id"], regions[at]["id"], timeout=120)
            work.wait_for(300, limit=60)
            check_slots(cluster)
            t.note(f"round {number + 1}: region {region['id']} split, {regions[at + 1]['id']} merged into {regions[at]['id']}"
                   f"{', ' + victim + ' killed meanwhile' if victim else ''}")
    work.verify()
    t.note(f"{work.acknowledged} writes acknowledged, {len(work.unique)} keys and {len(work.floor)} counters read back, 0 lost")


def wait_ended(t, cluster):
    def look():
        return not [p for p in cluster.json("procedure", "list") if p["type"] in ("SplitRegion", "MergeRegions")]

    system.until(look, 90, "no split is under way", interval=0.2)


@case(limit=120)
def what_a_split_refuses(t):
    """A split and a merge that cannot be say which region, which slot, and what is allowed."""
    cluster = t.cluster()
    regions = sorted(serving(cluster), key=lambda r: r["slots"][0][0])
    one = regions[0]
    refused = cluster.tenure("region", "split", one["id"], "--at", one["slots"][0][1] + 1, expect=1).err
    assert f"at_slot: {one['slots'][0][1] + 1} is not in" in refused, refused
    assert "there is no region 4711" in cluster.tenure("region", "split", 4711, expect=1).err
    refused = cluster.tenure("region", "merge", one["id"], regions[-1]["id"], expect=1).err
    assert "is not beside" in refused, refused
    assert "is not beside" in cluster.tenure("region", "merge", one["id"], one["id"], expect=1).err
    cluster.tenure("db", "create", "other", "--regions", 1)
    other = next(r for r in cluster.json("region", "list", "other"))
    refused = cluster.tenure("region", "merge", other["id"], one["id"], expect=1).err
    assert f"with: region {one['id']} " in refused and f"is not beside region {other['id']} " in refused, refused
    for wrong in (0, 16384, "x"):
        assert "--at" in cluster.tenure("region", "split", one["id"], "--at", wrong, expect=2).err
    plan = cluster.json("region", "split", one["id"], "--dry-run")
    assert one["slots"][0][0] < plan["at_slot"] <= one["slots"][0][1], plan
    assert len(serving(cluster)) == len(regions)
    # Values and expiries across a split.
    client = cluster.redis_cluster()
    keys = [f"k{i}" for i in range(400)]
    for key in keys:
        client.set(key, key, ex=5000)
    before = cluster.json("region", "split", one["id"])
    assert before["state"] == "SUCCEEDED", before
    assert all(client.get(key) == key and 4000 < client.ttl(key) <= 5000 for key in keys)
    assert sum(cluster.redis(name).dbsize() for name in cluster.node_names) == len(keys)
    check_slots(cluster)
