"""A disk that hangs while its process is alive: what the process leads moves on, and it serves nobody meanwhile."""

import time

from harness import resp, system
from harness.registry import case
from harness.workload import Workload

# Noticed in three quarters of an election timeout; then at worst an election without help (two of them) and what is left of a lease.
# The rest is for a machine that does other things as well.
LIMIT = 3.5 + 3


def preload(t):
    """The library that hangs syncs (tests/e2e/preload), built with the compiler that builds the project."""
    library = t.directory / "hang_sync.so"
    source = system.SUITE / "preload" / "hang_sync.c"
    done = t.run("clang-19", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl")
    assert done.code == 0, str(done)
    return library


@case(limit=180)
def hangs(t):
    """fdatasync of the catalog's leader hangs: another one leads in time, regions too, and it refuses clients."""
    cluster = t.new_cluster()
    cluster.up(env={"LD_PRELOAD": str(preload(t))})
    with Workload(cluster, clients=6, timeout=1) as work:
        work.wait_for(200, limit=30)
        for _ in range(3 if t.full else 1):
            victim = cluster.leader()
            hang = cluster.process_directory(victim) / "hang"
            hang.touch()
            begin = time.monotonic()
            try:
                system.until(lambda: cluster.leader() != victim, LIMIT, f"another controller than {victim} leads")
                catalog = time.monotonic() - begin
                others = [name for name in cluster.names if name != victim]
                metrics = cluster.metrics(victim)
                system.until(lambda: cluster.metrics(victim)["tenure_node_regions_led"] == 0, LIMIT,
                             f"{victim} leads no region")
                system.until(lambda: sum(cluster.metrics(name)["tenure_node_regions_led"] for name in others) ==
                             metrics["tenure_node_regions"], LIMIT, "the others lead all regions")
                regions = time.monotonic() - begin
                for i in range(20):
                    connection = resp.Connection(cluster.resp_port(victim), timeout=10)
                    answer = connection.ask("SET", f"hung:{i}", "1")
                    connection.close()
                    assert isinstance(answer, resp.Error), f"{victim}, whose disk hangs, answers {answer!r} to a SET"
                cluster.tenure("kv", "put", "during", victim)
                before = work.acknowledged
                work.wait_for(100, limit=60)
                assert work.acknowledged > before
            finally:
                hang.unlink()
            t.matches(cluster.log(victim), "no longer leads epoch .*: the disk of the log hangs")
            t.note(f"the disk of {victim} hung: catalog led elsewhere after {catalog:.2f} s, all regions after {regions:.2f} s")
            system.until(lambda: cluster.json("region", "list") and victim in
                         {c["name"] for c in cluster.status()["controllers"] if c["state"] != "unreachable"}, 30,
                         f"{victim} takes part again")
            work.wait_for(200, limit=60)
    cluster.wait_serving()
    work.verify()
