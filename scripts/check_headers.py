#!/usr/bin/python3
"""Every header under src/, sim/ and tests/ stands alone: it includes what it uses, itself or through headers of ours.

    scripts/check_headers.py [--all] [FILE ...]    # last line "N passed, N failed", one case per header

Each is compiled by itself. What of the standard library and of a few more is slow to read is precompiled for that, so
the compiler would not miss an include of it: for those headers, the table USES says which names come from which.

A header that passed is not compiled again until it, or a file of the repository it includes, or the flags change:
build/lint/headers.json holds the hashes of what each success depended on. --all forgets them.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STATE = os.path.join(ROOT, "build", "lint", "headers.json")
PROTO_OUT = os.path.join(ROOT, "build", "lint", "proto")
FLAGS = ["-std=c++20", "-pthread", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
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


INCLUDE = re.compile(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")', re.M)
COMMENT = re.compile(r"//[^\n]*")
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)

# What is precompiled, besides the generated headers, and the names that need it. A name in front of "|" needs the header itself; those behind come
# with any header of the standard library that uses them.
STANDARD = {
    "algorithm": "any_of all_of none_of copy copy_n count count_if equal fill find find_if lower_bound max max_element "
                 "min min_element nth_element ranges remove_if reverse shuffle sort stable_sort unique upper_bound",
    "array": "array to_array", "atomic": "atomic atomic_flag memory_order_acquire memory_order_relaxed "
    "memory_order_release memory_order_seq_cst", "charconv": "from_chars to_chars",
    "chrono": "chrono chrono_literals", "compare": "strong_ordering weak_ordering partial_ordering",
    "concepts": "convertible_to same_as invocable integral", "coroutine": "coroutine_handle noop_coroutine suspend_always "
    "suspend_never", "cstdlib": "abort exit getenv strtoll strtoull", "cstring": "memcpy memcmp memset strlen",
    "deque": "deque", "functional": "function bind_front | less greater hash invoke", "limits": "numeric_limits",
    "list": "list", "map": "map multimap", "memory": "unique_ptr shared_ptr weak_ptr make_unique make_shared "
    "enable_shared_from_this addressof", "mutex": "mutex lock_guard unique_lock scoped_lock once_flag call_once",
    "optional": "optional nullopt", "set": "set multiset", "span": "span as_bytes",
    "string": "string to_string stoul stoull stoi getline", "string_view": "string_view", "thread": "thread this_thread",
    "condition_variable": "condition_variable cv_status", "tuple": "tuple tie apply", "type_traits": "decay_t is_same_v "
    "is_void_v is_integral_v enable_if_t conditional_t remove_cvref_t invoke_result_t underlying_type_t",
    "unordered_map": "unordered_map", "unordered_set": "unordered_set", "utility": "| move exchange forward pair swap "
    "as_const in_place in_place_t index_sequence make_pair", "variant": "variant get_if monostate visit "
    "holds_alternative", "vector": "vector", "system_error": "| error_code errc", "cstddef": "| size_t ptrdiff_t byte",
    "initializer_list": "| initializer_list", "iterator": "| back_inserter begin end get erase_if size advance next prev",
}
OTHERS = [  # pattern, headers of which one is needed
    (r"\bu?int(8|16|32|64)_t\b", "<cstdint>"),
    (r"\babsl::\w*(Status|Error)\b", "<absl/status/status.h> <absl/status/statusor.h>"),
    (r"\bfmt::", "<fmt/format.h>"),
    (r"\bgoogle::protobuf::", "<google/protobuf/message.h> <google/protobuf/repeated_field.h> .pb.h"),
    (r"\b(EXPECT|ASSERT|TEST|FAIL|ADD_FAILURE|MATCHER)(_\w+)?\(|\btesting::", "<gtest/gtest.h> <gmock/gmock.h>"),
]
PRECOMPILED = sorted({f"<{h}>" for h in STANDARD} | {"<cstdint>", "<absl/status/statusor.h>", "<fmt/format.h>",
                                                     "<google/protobuf/message.h>", "<gmock/gmock.h>"})


def includes(header, cache={}):
    if header not in cache:
        with open(os.path.join(ROOT, header), encoding="utf-8") as f:
            cache[header] = INCLUDE.findall(f.read())
    return cache[header]


def included(header, cache={}):
    """Files of the repository that a header includes itself; generated ones are none."""
    if header not in cache:
        names = [n[1:-1] for n in includes(header) if n[0] == '"']
        places = [p for n in names for p in (n, os.path.join("src", n)) if os.path.exists(os.path.join(ROOT, p))]
        cache[header] = sorted({os.path.normpath(p) for p in places})
    return cache[header]


def closure(header, cache={}):
    """All files of the repository that a header includes, without itself."""
    if header not in cache:
        cache[header] = set()  # ends cycles
        cache[header] = set(included(header)).union(*(closure(h) for h in included(header))) - {header}
    return cache[header]


def protos(cache={}):
    """Name of a message, enumeration or value -> the generated headers that bring it."""
    if not cache:
        texts = {}
        for proto in find("proto", ".proto"):
            with open(os.path.join(ROOT, proto), encoding="utf-8") as f:
                texts[os.path.relpath(proto, "proto")] = COMMENT.sub(" ", f.read())
        imports = {p: set(re.findall(r'^import (?:public )?"([^"]+)"', t, re.M)) for p, t in texts.items()}

        def brings(proto):
            return {proto}.union(*(brings(p) for p in imports[proto] if p in texts))

        for proto in texts:
            for origin in brings(proto):
                for name in re.findall(r"\b(?:message|enum)\s+(\w+)|^\s*([A-Z][A-Z0-9_]+)\s*=", texts[origin], re.M):
                    cache.setdefault(name[0] or name[1], set()).add(f'"{proto[:-6]}.pb.h"')
    return cache


def not_included(header):
    """The names of precompiled headers that a header uses and includes nothing for."""
    with open(os.path.join(ROOT, header), encoding="utf-8") as f:
        text = COMMENT_OR_TEXT.sub(" ", f.read())
    there = {n for h in closure(header) | {header} for n in includes(h)}
    standard = {n for n in there if n[1:-1] in STANDARD or n == "<cstdint>"}
    missing = []
    for name in sorted(set(re.findall(r"\bstd::(\w+)", text))):
        home = next((h for h in STANDARD if name in STANDARD[h].split()), None)
        if home is None:
            missing.append(f"std::{name} is not in the table of scripts/check_headers.py")
        elif name in STANDARD[home].partition("|")[2].split() and standard:
            continue
        elif f"<{home}>" not in there:
            missing.append(f"uses std::{name} and does not include <{home}>")
    for name in sorted(set(re.findall(r"\b(?:i?pb|v1)::(\w+)", text))):
        homes = protos().get(name, {"a header of it"})
        if not homes & there:
            missing.append(f"uses {name} and does not include {min(homes)}")
    for pattern, homes in OTHERS:
        used = re.search(pattern, text)
        if used and not any(n == h or n[1:-1].endswith(h) for n in there for h in homes.split()):
            missing.append(f"uses {used.group()} and does not include {homes.split()[0]}")
    return missing


class Compiler:
    def __init__(self, clang, directory):
        self.clang, self.begin = clang, os.path.join(directory, "headers.pch")
        source = os.path.join(directory, "headers.h")
        generated = sorted(set().union(*protos().values()))
        with open(source, "w") as f:
            f.write("".join(f"#include {h}\n" for h in PRECOMPILED + generated))
        subprocess.run([clang, *FLAGS, "-fpch-instantiate-templates", "-x", "c++-header", source, "-o", self.begin], cwd=ROOT, check=True)

    def check(self, header):
        """(header, what is wrong or None)"""
        missing = not_included(header)
        if missing:
            return header, "\n".join(missing)
        run = subprocess.run([self.clang, *FLAGS, "-fsyntax-only", "-x", "c++", "-include-pch", self.begin,
                              "-include", header, "/dev/null"], cwd=ROOT, capture_output=True, text=True)
        return header, run.stderr if run.returncode != 0 else None


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
    with tempfile.TemporaryDirectory() as directory, \
            concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        compiler = Compiler(clang, directory) if todo else None
        for header, error in pool.map(lambda h: compiler.check(h), todo):
            known.pop(header, None)
            if error is None:
                known[header] = {n: digest(n) for n in sorted(closure(header) | {header})}
            else:
                failed += 1
                print(f"{header} does not stand alone:")
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
