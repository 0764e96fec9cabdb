#!/usr/bin/python3
"""Holds the documentation to the tree: what it points to exists, and what users can name is described.

    scripts/check_docs.py            # checks the repository; last line "N passed, N failed", one case per file

- Every relative link of a Markdown page leads to a file, and to a heading of it.
- Every path that a page or a source's comment names (docs/x.md, src/a/b.h, ...) is there, and every test (Suite.Name).
- Every setting of `tenured` stands in docs/configuration.md, every metric in docs/metrics.md, every command of the store in
  docs/resp.md.
- Every deliberate bug in the sources is in tests/mutants/LIST, and the other way round.
"""

import functools
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAMED = re.compile(r"(?<![\w/.-])(?:docs|src|sim|tests|bench|scripts|cmake|proto|fuzz)/[\w./-]*\.(?:md|h|cc|py|pml|toml|proto)\b(?!\.)")
TEST = re.compile(r"`(\w+Test)\.(\w+)`")
MADE = re.compile(r"\.(pb|grpc\.pb)\.|^docs/x\.md$")  # by a build, or by way of example


@functools.lru_cache(None)
def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def tracked():
    try:
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
                                check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, no repository, or one of somebody else
        return list(walked())
    return [path for path in listed.stdout.splitlines() if os.path.exists(os.path.join(ROOT, path))]


def walked():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in (".git", ".cache", "build", "node_modules", "__pycache__")]
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), ROOT)


@functools.lru_cache(None)
def anchors(path):
    """As GitHub makes them of headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S), re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.lower())
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


def check_links(page):
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(os.path.join(ROOT, path)):
            yield f"links to {target}: there is no {path}"
        elif anchor and path.endswith(".md") and anchor not in anchors(path):
            yield f"links to {target}: {path} has no such heading"


def check_names(path, tests):
    text = read(path)
    for name in sorted(set(NAMED.findall(text))):
        if not MADE.search(name) and not any(os.path.exists(os.path.join(ROOT, base, name)) for base in ("", os.path.dirname(path))):
            yield f"names {name}, which does not exist"
    if path.endswith(".md"):
        for suite, name in sorted(set(TEST.findall(text))):
            if (suite, name) not in tests:
                yield f"names the test {suite}.{name}, which does not exist"


def check_described(page, what, names):
    text = read(page)
    for name in names:
        if not re.search(rf"(?<![\w-])(?:--)?{re.escape(name)}(?![\w-])", text):
            yield f"{what} {name} is not described"


def check_mutants(path, sources):
    listed = {line.split()[0] for line in read(path).splitlines() if line and not line.startswith("#")}
    made = {name for source in sources if re.match("src/|sim/", source) for name in re.findall(r"TENURE_MUTANT_(\w+)", read(source))}
    for name in sorted(made - listed):
        yield f"{name} is missing: no run would notice that no test finds it"
    for name in sorted(listed - made):
        yield f"{name} is nowhere in the sources"


def main():
    files = tracked()
    sources = [f for f in files if re.match(r"(src|sim|tests|bench|fuzz)/.*\.(h|cc|py)$", f)]
    pages = [f for f in files if f.endswith(".md")]
    tests = set()
    for source in sources:
        if source.startswith("tests/") and source.endswith(".cc"):
            tests.update(re.findall(r"^TEST(?:_[FP])?\((\w+),\s*(\w+)\)", read(source), re.M))
            tests.update(re.findall(r"^RC_GTEST_(?:FIXTURE_)?PROP\((\w+),\s*(\w+)", read(source), re.M))
    settings = re.findall(r'^    \{"([a-z-]+)",', re.search(r"kFlags\[\] = \{(.*?)^\};", read("src/daemon/config.cc"), re.M | re.S).group(1), re.M)
    commands = re.findall(r'\{"(\w+)",', re.search(r"kCommandSpecs = .*?\}\);", read("src/store/command_list.h"), re.S).group(0))
    metrics = sorted(set(re.findall(r'"((?:tenure|process)_\w+)"', read("src/daemon/metrics.cc"))))
    described = {"docs/configuration.md": ("the setting", settings), "docs/metrics.md": ("the metric", metrics),
                 "docs/resp.md": ("the command", [c.upper() for c in commands])}
    assert len(settings) > 20 and len(commands) > 40 and len(metrics) > 30, "the tables that this script reads have changed their form"
    passed = failed = 0
    mutants = "tests/mutants/LIST"
    for path in pages + sources + [mutants]:
        problems = list(check_names(path, tests))
        if path == mutants:
            problems += check_mutants(path, sources)
        if path in pages:
            problems += check_links(path)
        if path in described:
            problems += check_described(path, *described[path])
        for problem in problems:
            print(f"{path}: {problem}")
        failed += bool(problems)
        passed += not problems
    print(f"docs: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
