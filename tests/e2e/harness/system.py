"""Processes and ports of this machine. Whatever the suite starts carries a mark in its environment, so that all of it
can be found and ended, whoever started it and whatever it has become."""

import fcntl
import os
import pathlib
import random
import signal
import socket
import tempfile
import time
import uuid

SUITE = pathlib.Path(__file__).resolve().parent.parent
MARK = "TENURE_E2E_MARK"
RESERVED = {}  # base port: its lock


def new_mark():
    return uuid.uuid4().hex


def marked(mark):
    """Pids of running processes that carry the mark, zombies and this process excepted."""
    wanted = f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as f:
                if wanted not in f.read().split(b"\0"):
                    continue
            with open(f"/proc/{name}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    continue
        except OSError:
            continue
        yield int(name)


def end_marked(mark):
    """SIGKILL to all of them, until there is none."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pids = list(marked(mark))
        if not pids:
            return
        for pid in pids:
            send(pid, signal.SIGKILL)
        time.sleep(0.02)


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def reserve(base):
    """For as long as this process lives: cases run side by side."""
    if base in RESERVED:
        return False
    lock = open(os.path.join(tempfile.gettempdir(), f"tenure-e2e-ports-{base}.lock"), "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return False
    RESERVED[base] = lock
    return True


def find_base_port():
    """A base B for `tenure up --base-port B` with B+10 .. B+199 free, below the range of outgoing connections."""
    for _ in range(200):
        base = random.randrange(10000, 31000, 200)
        if reserve(base) and all(free(base + 10 * i + k) for i in range(1, 20) for k in range(3)):
            return base
    raise RuntimeError("no 200 free ports in a row between 10000 and 31000")


def until(condition, limit, what, interval=0.05):
    """Waits until condition() is true and returns its value; a failure names `what` and the last exception."""
    deadline = time.monotonic() + limit
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except Exception as e:  # what is waited for may be refused, absent, half there
            last = e
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {limit} s: {what}" + (f" (last: {last!r})" if last else ""))
        time.sleep(interval)
