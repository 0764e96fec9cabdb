"""Changefeeds into files: rows that clients write, and what must hold of what is delivered.

Every acknowledged row is in the files. The changes of a key come in commit order, if what was delivered before is passed over
(a change has an id for ever). Within one file, which one writer made, timestamps only rise. And no file changes any more once
its dispatcher has one of a higher epoch."""

import json
import pathlib
import re
import threading
import time

from harness import system
from harness.case import FULL

NAME = re.compile(r"^(?P<feed>.+)-(?P<dispatcher>(?:t\d+|keys)-r\d+-v\d+)-(?P<epoch>\d{20})-(?P<number>\d{8})\.json(?P<open>\.part)?$")


class Writers:
    """Cluster clients that write rows `orders:<client>-<row>`, each a few rows over and over with rising `qty`."""

    def __init__(self, cluster, clients=16, rows=5, pause=None, table="orders"):
        if pause is None:
            pause = 0.002 if FULL else 0.01  # cases run side by side
        self.cluster, self.rows, self.pause, self.table = cluster, rows, pause, table
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.acknowledged = {}  # key -> values, as they were acknowledged
        self.count = 0
        self.errors = {}
        self.threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    __enter__ = start

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a client hangs"

    def _run(self, number):
        client, value = None, 0
        while not self.stopping.is_set():
            value += 1
            key = f"{number}-{value % self.rows}"
            try:
                client = client or self.cluster.redis_cluster(socket_timeout=5)
                client.hset(f"{self.table}:{key}", mapping={"qty": value, "name": f"n{value}"})
                with self.lock:
                    self.acknowledged.setdefault(key, []).append(value)
                    self.count += 1
            except Exception as error:  # whatever a client sees while harm is done: it goes on with the next value
                with self.lock:
                    text = f"{type(error).__name__}: {error}"[:120]
                    self.errors[text] = self.errors.get(text, 0) + 1
                client = None
                self.stopping.wait(0.05)
            self.stopping.wait(self.pause)

    def wait_for(self, count, limit=60):
        """Until `count` more rows are acknowledged."""
        target = self.count + count
        system.until(lambda: self.count >= target, limit, f"{count} more rows are acknowledged; errors: {self.errors}")


def parse(path):
    """Whole lines of a file, as objects."""
    text = path.read_bytes()
    return [json.loads(line) for line in text[:text.rfind(b"\n") + 1].splitlines()]


class FileFeed:
    def __init__(self, directory, name):
        self.directory, self.name = pathlib.Path(directory), name

    def files(self):
        """(dispatcher, epoch, number, path), in the order of writing."""
        found = []
        for path in self.directory.iterdir() if self.directory.exists() else []:
            match = NAME.match(path.name)
            if match and match["feed"] == self.name:
                found.append((match["dispatcher"], int(match["epoch"]), int(match["number"]), path))
        return sorted(found)

    def epochs(self):
        return sorted({epoch for _, epoch, _, _ in self.files()})

    def read(self):
        """[(file, lines)]; files that are renamed meanwhile are looked for again."""
        for _ in range(20):
            try:
                return [(file, parse(file[3])) for file in self.files()]
            except FileNotFoundError:
                time.sleep(0.01)
        raise AssertionError("the files never stand still")

    def values(self, table="orders"):
        """key -> the values of qty, as they were delivered first; and how many changes there were, and of those again."""
        seen, values, total = set(), {}, 0
        last = {}
        changes = [((file[1], file[2], line["commit_ts"]), line) for file, lines in self.read() for line in lines
                   if line["type"] in ("put", "update", "snapshot", "delete") and line.get("table") == table]
        for _, line in sorted(changes, key=lambda change: change[0]):
            total += 1
            change = (line["region"], line["index"], line.get("ordinal", 0), line["type"] == "snapshot")
            if change in seen:
                continue
            seen.add(change)
            assert line["commit_ts"] > last.get(line["key"], 0), (
                f"key {line['key']}: the change at {line['commit_ts']} comes behind that at {last[line['key']]}")
            last[line["key"]] = line["commit_ts"]
            values.setdefault(line["key"], []).append(line["new"]["qty"] if line["type"] != "delete" else None)
        return values, total, total - len(seen)

    def missing(self, acknowledged, table="orders"):
        values, _, _ = self.values(table)
        return [(key, value) for key, wanted in acknowledged.items()
                for value in sorted(set(wanted) - set(values.get(key, [])))]

    def check_files(self):
        for (dispatcher, epoch, number, path), lines in self.read():
            stamps = [line.get("commit_ts", line.get("resolved_ts")) for line in lines if line["type"] != "resolved"]
            assert stamps == sorted(set(stamps)), f"{path.name}: timestamps go back or are repeated"
            resolved = 0
            for line in lines:
                resolved = max(resolved, line.get("resolved_ts", 0))
                assert line.get("commit_ts", resolved + 1) > resolved, f"{path.name}: {line} comes behind resolved {resolved}"

    def verify(self, t, writers, limit=60):
        """Everything acknowledged comes to be in the files, in order."""
        rows = dict(writers.acknowledged)
        system.until(lambda: not self.missing(rows), limit,
                     f"every acknowledged row is delivered (of {writers.count}, {len(self.missing(rows))} are missing, "
                     f"as {self.missing(rows)[:3]})", interval=0.5)
        self.check_files()
        values, total, repeated = self.values()
        for key, wanted in rows.items():
            # A client may repeat a write whose answer it has not got.
            order = list(dict.fromkeys(value for value in values[key] if value in set(wanted)))
            assert order == sorted(set(wanted)), f"order of key {key}: {order}"
        t.note(f"{writers.count} rows acknowledged, {total} changes in {len(self.files())} files of epochs {self.epochs()}, "
               f"{repeated} of them again; errors seen by clients: {sum(writers.errors.values())}")

    def snapshot(self, below):
        """The contents of all files of epochs below that one."""
        return {(dispatcher, epoch, number): path.read_bytes() for dispatcher, epoch, number, path in self.files()
                if epoch < below}
