#!/usr/bin/python3
"""Holds every #include under src/ and sim/ to the layers, and every primitive of the outside world to its place.

    scripts/check_includes.py            # checks the repository; last line "N passed, N failed", one case per file

Two rules (docs: the architecture's table of folders, and its three zones):

1. A folder may include itself and what its row in MAY_USE names, and whatever those may use in turn. `proto` stands
   for generated messages ("tenure/...pb.h"). So zone 1 (decide) reaches neither zone 2 (drive) nor zone 3 (touch),
   and zone 2 does not reach zone 3; only where the object graph is built (daemon, cli)
   may everything be included.
2. Clocks, threads, chance, sockets, files and the environment occur only in zone 3 (TOUCH). Zone 1 also has no
   coroutine, lock, thread-local or unordered container, and of `kv` only readers, views and batches, not the engine.

A line that has to break rule 2 says why:  // lint: allow(<rule>) reason
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# folder -> folders it may include directly. Longest matching path wins, so runtime/real is not runtime.
MAY_USE = {
    "base": [],
    "runtime": ["base"],
    "runtime/real": ["runtime"],
    "raft": ["base"],
    "wal": ["runtime", "raft"],
    "kv": ["runtime"],
    "kv/rocksdb": ["kv"],
    "group": ["raft", "wal", "kv", "proto"],
    "schema": ["base", "proto"],
    "catalog": ["kv", "schema", "changefeed/protocol", "base", "proto"],
    "planner": ["catalog", "base"],
    "recovery": ["catalog", "wal", "raft", "proto"],
    "controller": ["group", "catalog", "planner", "changefeed/coordinator", "changefeed/sink", "proto"],
    "store": ["kv", "schema", "base", "proto"],
    "client": ["catalog", "runtime", "proto"],
    "node": ["group", "store", "catalog", "client", "proto"],
    "changefeed": ["node", "proto"],
    "changefeed/protocol": ["base", "proto"],
    "changefeed/coordinator": ["changefeed/protocol"],
    "changefeed/maintainer": ["changefeed/protocol"],
    "changefeed/format": ["changefeed/protocol"],
    "changefeed/sink": ["changefeed/format", "runtime"],
    "changefeed/sink/net": ["changefeed/sink"],
    "changefeed/dispatcher": ["changefeed/sink", "changefeed/maintainer", "store", "schema"],
    "changefeed/views": ["changefeed/dispatcher", "node"],
    "changefeed/agent": ["changefeed/views", "changefeed/dispatcher", "changefeed/maintainer", "node", "proto"],
    "resp": ["node", "proto"],
    "resp/asio": ["resp"],
    "rpc": ["runtime", "proto"],
    "cli": ["*"],
    "daemon": ["*"],
    "sim": ["controller", "node", "changefeed", "changefeed/agent", "resp", "client", "group", "planner", "recovery", "proto"],
}

DECIDE = {"base", "raft", "schema", "catalog", "planner", "store",
          "changefeed/protocol", "changefeed/coordinator", "changefeed/maintainer", "changefeed/format"}
# changefeed/sink/net: client libraries (librdkafka, hiredis, cnats) own their sockets and threads.
TOUCH = {"runtime/real", "kv/rocksdb", "rpc", "resp/asio", "changefeed/sink/net", "cli", "daemon"}

# What zone 1 may see of kv: the interfaces, and of those not the engine (rule `engine` below).
KV_FOR_ZONE_1 = {"kv/kv.h", "kv/codec.h"}

# Headers of the outside world -> who may include them. Prefix match on the text between < > or " ".
EXTERNAL = [
    (r"grpc(pp)?/|grpc\+\+/", {"rpc"}),
    (r"rocksdb/", {"kv/rocksdb"}),
    (r"asio(\.hpp|/)", {"resp/asio", "rpc", "daemon", "cli"}),
    (r"CLI/", {"cli", "daemon", "sim"}),
    (r"toml\+\+/", {"cli", "daemon", "sim"}),
    (r"spdlog/", {"runtime/real", "cli", "daemon"}),
    (r"prometheus/", {"cli", "daemon", "runtime/real"}),
    (r"openssl/", {"catalog/join_tokens"}),
    (r"(librdkafka|hiredis|nats)/", {"changefeed/sink/net"}),
    (r"(thread|random|fstream|filesystem|future|condition_variable|semaphore|latch|barrier)$", TOUCH | {"sim/main"}),
    (r"(unistd\.h|fcntl\.h|sys/|netinet/|arpa/|netdb\.h|pthread\.h|signal\.h|csignal$|poll\.h|dirent\.h)", TOUCH),
]

# rule -> pattern; outside TOUCH.
PRIMITIVES = {
    "clock": r"\b(?:system_clock|steady_clock|high_resolution_clock)\b|\babsl::Now\b|\b(?:clock_gettime|gettimeofday)\b"
             r"|\b(?:std::)?time\(\s*(?:nullptr|NULL|0)\s*\)",
    "thread": r"\bstd::(?:thread|jthread|async|this_thread)\b|\bpthread_\w+|\babsl::SleepFor\b|\bsleep_for\b|\b[un]sleep\(",
    "chance": r"\brandom_device\b|\bmt19937|\bminstd_rand|(?<![\w:.>])s?rand\(|\bstd::\w+_distribution\b"
              r"|\bstd::(?:shuffle|sample)\b|\babsl::BitGen\b",
    "socket": r"(?<![\w:.>])::(?:socket|connect|bind|listen|accept4?|recv|send|sendmsg|recvmsg)\(",
    "file": r"\bstd::[io]?fstream\b|\bstd::filesystem\b|\bfopen\(|(?<![\w])::(?:open|openat|read|write|pread|pwrite|fsync"
            r"|fdatasync|unlink|rename|mkdir)\(",
    "environment": r"\bgetenv\(|\bsetenv\(",
    # Addresses differ from run to run: their order must not decide anything (base/order.h).
    "pointer": r"\bstd::(?:set|map)<\s*(?:const\s+)?[\w:]+(?:\s+const)?\s*\*\s*(?:,(?!\s*ByNumber)|>)",
}
# rule -> pattern; in DECIDE only.
ZONE_1 = {
    "coroutine": r"\bco_(?:await|return|yield)\b",
    "lock": r"\bstd::(?:mutex|shared_mutex|recursive_mutex|lock_guard|unique_lock|scoped_lock|condition_variable)\b"
            r"|\babsl::Mutex\b",
    "global": r"\bthread_local\b",
    "engine": r"\bkv::(?:Memory)?Engine\b",
    "unordered": r"\bstd::unordered_|\babsl::(?:flat|node)_hash_",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
ALLOW = re.compile(r"//\s*lint:\s*allow\((\w+)\)\s*\S")
PRIMITIVES = {k: re.compile(v) for k, v in PRIMITIVES.items()}
ZONE_1 = {k: re.compile(v) for k, v in ZONE_1.items()}
EXTERNAL = [(re.compile(p), who) for p, who in EXTERNAL]


def folder_of(path):
    """The row of MAY_USE a path ("raft/raft_core.h", "runtime/real/disk.cc") belongs to, or None."""
    parts = path.split("/")[:-1]
    while parts:
        name = "/".join(parts)
        if name in MAY_USE:
            return name
        parts.pop()
    return None


def closure(folder, seen=None):
    seen = set() if seen is None else seen
    for used in MAY_USE.get(folder, []):
        if used == "*":
            return set(MAY_USE) | {"proto"}
        if used not in seen:
            seen.add(used)
            closure(used, seen)
    return seen


REACH = {folder: closure(folder) | {folder} for folder in MAY_USE}
# Everything may use base; the table says so by leaving it out.
for folder in REACH:
    REACH[folder].add("base")


def check_table():
    """The table itself must respect the zones."""
    for folder, reach in REACH.items():
        if folder in ("daemon", "cli"):
            continue
        for other in reach - {folder}:
            if other in TOUCH:
                yield f"table: {folder} (not daemon, cli) may reach {other}, which touches the world"
            elif folder in DECIDE and other not in DECIDE | {"kv", "runtime", "proto"}:
                yield f"table: {folder} decides but may reach {other}"


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


# A comment, a string, a character: replaced by blanks so that words in them do not count.
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"\w*\(.*?\)\w*"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])\'', re.S)


def check_file(path, inside):
    """Yields (line, message). `inside` is the path below its include root."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    folder = folder_of(inside)
    if folder is None:
        yield 1, f"folder of {inside} has no row in the table"
        return
    allowed = {}
    for number, line in enumerate(text.split("\n"), 1):
        for rule in ALLOW.findall(line):
            allowed.setdefault(number, set()).add(rule)
            allowed.setdefault(number + 1, set()).add(rule)  # a comment line of its own covers the next line

    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        name = match.group(2)
        target = "proto" if name.startswith("tenure/") else folder_of(name) if match.group(1) == '"' else None
        if target is not None:
            if target not in REACH[folder]:
                yield line, f"{folder} may not include {name}: its row allows {', '.join(sorted(REACH[folder]))}"
            elif folder in DECIDE and target == "kv" and name not in KV_FOR_ZONE_1:
                yield line, f"{folder} decides: of kv it may include only {', '.join(sorted(KV_FOR_ZONE_1))}"
            elif folder in DECIDE and target == "runtime":
                yield line, f"{folder} decides: it may not include {name}"
            continue
        for pattern, who in EXTERNAL:
            if pattern.match(name) and folder not in who and inside[:-3] not in who \
                    and "include" not in allowed.get(line, ()):
                yield line, f"{folder} may not include <{name}>: only {', '.join(sorted(who))}"

    rules = {} if folder in TOUCH or inside == "sim/main.cc" else dict(PRIMITIVES)
    if folder in DECIDE:
        rules.update(ZONE_1)
    code = NOT_CODE.sub(blank, text)
    for number, line in enumerate(code.split("\n"), 1):
        for rule, pattern in rules.items():
            match = pattern.search(line)
            if match and rule not in allowed.get(number, ()):
                yield number, f"{rule}: {match.group(0)!r} does not belong in {folder}"


def sources():
    for top, root in (("src", "src"), ("sim", ".")):
        for directory, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if name.endswith((".h", ".cc")):
                    path = os.path.join(directory, name)
                    yield path, os.path.relpath(path, os.path.join(ROOT, root))


def main():
    passed = failed = 0
    for message in check_table():
        print(message)
        failed += 1
    for path, inside in sorted(sources()):
        problems = list(check_file(path, inside))
        for line, message in problems:
            print(f"{os.path.relpath(path, ROOT)}:{line}: {message}")
        failed += bool(problems)
        passed += not problems
    print(f"include edges: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
