#!/usr/bin/python3
"""Every header under src/, sim/ and tests/ compiles alone, without the precompiled header.

    scripts/check_headers.py [--all] [FILE ...]    # last line "N passed, N failed", one case per header

A header that passed is not compiled again until it, or a file of the repository it includes, or the flags change:
build/lint/headers.json holds the hashes of what each success depended on. --all forgets them.
"""

import concurrent.futures
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STATE = os.path.join(ROOT, "build", "lint", "headers.json")
PROTO_OUT = os.path.join(ROOT, "build", "lint", "proto")
FLAGS = ["-std=c++20", "-fsyntax-only", "-x", "c++", "-pthread", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
         "-Wthread-safety", "-Werror", "-Wno-missing-field-initializers",
         "-Wno-missing-designated-field-initializers", "-DASIO_STANDALONE", "-DASIO_NO_DEPRECATED",
         "-DSPDLOG_COMPILED_LIB", "-DSPDLOG_FMT_EXTERNAL", "-DTENURE_VERIFY_ON", "-I.", "-Isrc", "-isystem", "build/lint/proto"]


def digest(path, cache={}):
    if path not in cache:
        try:
            with open(os.path.join(ROOT, path), "rb") as f:
                cache[path] = hashlib.sha256(f.read()).hexdigest()
        except OSError:
            cache[path] = None
    return cache[path]


def find(top, suffix):
    for directory, _, names in os.walk(os.path.join(ROOT, top)):
        if "node_modules" in directory:
            continue
        for name in names:
            if name.endswith(suffix):
                yield os.path.relpath(os.path.join(directory, name), ROOT)


def generate_protos():
    protos = sorted(find("proto", ".proto"))
    key = hashlib.sha256("".join(p + str(digest(p)) for p in protos).encode()).hexdigest()
    mark = os.path.join(PROTO_OUT, ".key")
    try:
        with open(mark) as f:
            if f.read() == key:
                return
    except OSError:
        pass
    shutil.rmtree(PROTO_OUT, ignore_errors=True)
    os.makedirs(PROTO_OUT)
    if protos:
        subprocess.run(["protoc", "-I", "proto", f"--cpp_out={PROTO_OUT}", *protos], cwd=ROOT, check=True)
    with open(mark, "w") as f:
        f.write(key)


def compile_alone(clang, header):
    """(header, error text or None, {file of the repository: hash})"""
    # -MMD leaves out the system's headers; generated ones stand in a system directory too, so they enter by .proto.
    with tempfile.NamedTemporaryFile(suffix=".d") as deps:
        run = subprocess.run([clang, *FLAGS, "-include", header, "-MMD", "-MF", deps.name, "-MT", "x", "/dev/null"],
                             cwd=ROOT, capture_output=True, text=True)
        if run.returncode != 0:
            return header, run.stderr, {}
        with open(deps.name) as f:
            names = f.read().replace("\\\n", " ").split()[1:]
    used = {os.path.normpath(n) for n in names if not n.startswith("/dev/")} | {header}
    return header, None, {n: digest(n) for n in sorted(used)}


def main(arguments):
    clang = shutil.which("clang++-19")
    if clang is None:
        print("clang++-19 is not installed\n0 passed, 1 failed")
        return 1
    generate_protos()
    everything = {h for top in ("src", "sim", "tests") for h in find(top, ".h")}
    named = {os.path.relpath(os.path.abspath(a), ROOT) for a in arguments if not a.startswith("--")}
    headers = sorted(named or everything)

    with open(os.path.join(PROTO_OUT, ".key")) as f:
        key = hashlib.sha256((" ".join(FLAGS) + f.read()).encode()).hexdigest()
    state = {"key": key, "headers": {}}
    if "--all" not in arguments:
        try:
            with open(STATE) as f:
                old = json.load(f)
            if old["key"] == key:
                state = old
        except (OSError, ValueError, KeyError):
            pass
    known = {h: d for h, d in state["headers"].items() if h in everything}
    todo = [h for h in headers if h not in known or any(digest(n) != s for n, s in known[h].items())]

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for header, error, used in pool.map(lambda h: compile_alone(clang, h), todo):
            known.pop(header, None)
            if error is None:
                known[header] = used
            else:
                failed += 1
                print(f"{header} does not compile alone:")
                print("\n".join("    " + line for line in error.splitlines()[:12]))
    state["headers"] = known
    os.makedirs(os.path.dirname(STATE), exist_ok=True)
    with open(STATE + ".new", "w") as f:
        json.dump(state, f)
    os.replace(STATE + ".new", STATE)
    print(f"headers alone ({len(todo)} compiled): {len(headers) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
