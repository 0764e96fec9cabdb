"""Concurrent cluster clients that write and read while a case does harm, and what must hold of what they saw.

Two promises are checked. Every acknowledged write is there afterwards: each client writes keys that nobody writes again.
No read goes back: each client raises counters of its own, everybody reads them, and a read that begins after some value
was acknowledged or read must not return less. A client whose write failed does not know its outcome and leaves that
counter for a new one, so an old write that takes effect late cannot be taken for a lost one.

Two measures of how long writes did not work. A client of python3-redis waits a good second by itself before it asks
again who leads; a probe, which writes to one region over plain sockets and looks elsewhere at once, shows the cluster's
own share."""

import binascii
import random
import threading
import time

from harness import resp, system


class Gaps:
    """When each writer was last acknowledged, and its longest wait since reset."""

    def __init__(self):
        self.lock = threading.Lock()
        self.last = {}
        self.longest = {}

    def reset(self):
        with self.lock:
            now = time.monotonic()
            self.longest = {writer: 0.0 for writer in self.last}
            self.last = {writer: now for writer in self.last}

    def acknowledged(self, writer):
        now = time.monotonic()
        with self.lock:
            before = self.last.get(writer)
            if before is not None:
                self.longest[writer] = max(self.longest.get(writer, 0.0), now - before)
            self.last[writer] = now

    def worst(self):
        """The longest wait of any writer, a wait that still lasts included."""
        now = time.monotonic()
        with self.lock:
            return max((max(self.longest.get(w, 0.0), now - last) for w, last in self.last.items()), default=0.0)


class Workload:
    def __init__(self, cluster, clients=16, pause=0.004, timeout=5):
        self.cluster = cluster
        self.clients = clients
        self.pause = pause
        self.timeout = timeout  # of a socket; python3-redis tries five times before it asks who leads now
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.unique = []       # acknowledged keys that were written once
        self.floor = {}        # counter -> the least that a read which begins now may return
        self.violations = []
        self.errors = {}       # text -> how often
        self.acknowledged = 0
        self.client_gaps, self.probe_gaps, self.any_gap = Gaps(), Gaps(), Gaps()
        self.threads = []

    # ---- running ----

    def start(self):
        regions = self.cluster.json("region", "list")
        for number in range(self.clients):
            self._thread(self._client, number)
        for region in regions:
            self._thread(self._probe, region["slots"][0][0])

    def _thread(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        self.threads.append(thread)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a client hangs: no answer and no error for 60 s"
        assert not self.violations, "\n".join(self.violations[:10])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping.set()
        if kind is None:
            self.stop()

    def reset_gaps(self):
        for gaps in (self.client_gaps, self.probe_gaps, self.any_gap):
            gaps.reset()

    def describe_gaps(self):
        return (f"longest gap of a region {self.probe_gaps.worst():.2f} s, of a client {self.client_gaps.worst():.2f} s, "
                f"of all together {self.any_gap.worst():.2f} s")

    def wait_for(self, count, limit):
        """Until `count` more writes are acknowledged."""
        target = self.acknowledged + count
        deadline = time.monotonic() + limit
        while self.acknowledged < target:
            assert time.monotonic() < deadline, (
                f"only {self.acknowledged - target + count} of {count} writes in {limit} s; errors: {self.errors}")
            assert not self.violations, "\n".join(self.violations[:10])
            time.sleep(0.01)

    def wait_all_regions(self, limit=30):
        """Until every probe's region has taken a write since now."""
        begin = time.monotonic()
        while any(last < begin for last in list(self.probe_gaps.last.values())):
            assert time.monotonic() < begin + limit, f"a region takes no writes for {limit} s; errors: {self.errors}"
            time.sleep(0.005)

    def _ack(self, number):
        with self.lock:
            self.acknowledged += 1
        self.client_gaps.acknowledged(number)
        self.any_gap.acknowledged("all")

    def _raise_floor(self, key, value):
        with self.lock:
            self.floor[key] = max(self.floor.get(key, 0), value)

    def _count_error(self, error):
        text = f"{type(error).__name__}: {error}"[:120]
        with self.lock:
            self.errors[text] = self.errors.get(text, 0) + 1

    def _client(self, number):
        chance = random.Random(number)
        client, generation, value, sequence = None, 0, 0, 0
        while not self.stopping.is_set():
            try:
                client = client or self.cluster.redis_cluster(socket_timeout=self.timeout)
                sequence += 1
                key = f"unique:{number}:{sequence}"
                client.set(key, key)
                self.unique.append(key)
                self._ack(number)
                counter = f"counter:{number}:{generation}"
                value += 1
                client.set(counter, value)
                self._raise_floor(counter, value)
                self._ack(number)
                self._read(client, chance)
                self.stopping.wait(self.pause)
            except Exception as e:
                self._count_error(e)
                client, generation, value = None, generation + 1, 0
                self.stopping.wait(0.05)

    def _read(self, client, chance):
        with self.lock:
            counters = list(self.floor)
            key = chance.choice(counters) if counters else None
            least = self.floor.get(key, 0)
        if key is None:
            return
        seen = int(client.get(key) or 0)
        if seen < least:
            self.violations.append(f"{key} went back: read {seen} after {least} was acknowledged or read")
        self._raise_floor(key, seen)

    def _probe(self, slot):
        """Writes a key of one region all the time; any failure means: ask the next process at once."""
        ports = [self.cluster.resp_port(name) for name in self.cluster.node_names]
        key = key_of_slot(slot)
        port, connection = ports[0], None
        while not self.stopping.is_set():
            try:
                connection = connection or resp.Connection(port, timeout=1.0)
                answer = connection.ask("SET", key, "1")
                if answer == b"OK":
                    self.probe_gaps.acknowledged(slot)
                    self.stopping.wait(0.02)
                    continue
            except (OSError, ValueError):
                answer = ""
            if connection:
                connection.close()
            connection = None
            moved = str(answer).split() if isinstance(answer, resp.Error) else []
            if moved[:1] == ["MOVED"] and int(moved[2].rsplit(":", 1)[1]) != port:
                port = int(moved[2].rsplit(":", 1)[1])
            else:
                port = ports[(ports.index(port) + 1) % len(ports)]
                self.stopping.wait(0.01)

    # ---- afterwards ----

    def verify(self):
        """Reads everything back through a fresh client."""
        assert not self.violations, "\n".join(self.violations[:10])
        client = self.cluster.redis_cluster()

        # python3-redis asks three times without a pause, and a leadership may be on its way: then it is asked again.
        def read(keys):
            with client.pipeline() as pipeline:
                for key in keys:
                    pipeline.get(key)
                return pipeline.execute()

        missing = []
        for begin in range(0, len(self.unique), 500):
            keys = self.unique[begin:begin + 500]
            values = system.until(lambda keys=keys: read(keys), 10, "what was written is read back")
            missing += [key for key, value in zip(keys, values) if value != key]
        assert not missing, f"{len(missing)} of {len(self.unique)} acknowledged writes are gone, such as {missing[:5]}"
        counters = list(self.floor.items())
        values = system.until(lambda: read([key for key, _ in counters]), 10, "the counters are read back") if counters else []
        back = [(key, least, value) for (key, least), value in zip(counters, values) if int(value or 0) < least]
        assert not back, f"counters went back (key, acknowledged, now): {back[:5]}"
        client.close()


def key_of_slot(slot):
    number = 0
    while binascii.crc_hqx(b"probe%d" % number, 0) % 16384 != slot:  # CRC16/XMODEM, what Redis' slots are
        number += 1
    return f"probe{number}"
