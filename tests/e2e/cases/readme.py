"""The tours of README.md, typed as they stand there, in one go; what is printed is compared."""

import os
import pathlib
import re
import subprocess

from harness import network
from harness.registry import case

README = pathlib.Path(__file__).resolve().parents[3] / "README.md"
# What differs from run to run. Numbers differ in rows of tables, elsewhere behind these words only.
VOLATILE = [r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"\d+h\d\dm\d\ds|\d+m\d\ds|\d+(?:\.\d+)?(?:us|ms|s)\b",
            r"\brevision \d+", r"\bprocedure \d+", r"\bfenced for \d+ ms"]
HEADER = re.compile(r"[A-Z]+(\s{2,}[A-Za-z ]+)+$")


def steps(text):
    """(command, the lines that it prints) of all blocks with commands."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found and block.startswith("$ "):
                found[-1][1].append(line)
    return found


def pattern(line, in_table):
    volatile = VOLATILE + [r"\d+"] if in_table else VOLATILE
    parts = []
    at = 0
    for match in re.finditer("|".join([r"\.\.\.", r"\s+", *volatile]), line):
        parts.append(re.escape(line[at:match.start()]))
        at = match.end()
        seen = match.group()
        parts.append(".*" if seen == "..." else r"\s+" if seen.isspace() else f"(?:{next(v for v in volatile if re.fullmatch(v, seen))})")
    return re.compile(r"\s*" + "".join(parts) + re.escape(line[at:]) + r"\s*$")


def compare(command, wanted, seen):
    at, skip, in_table = 0, False, False
    for line in wanted:
        if line.strip() == "...":
            skip = True
            continue
        if not line.strip():
            in_table = False
            continue
        wish = pattern(line, in_table)
        if HEADER.match(line):
            in_table = True
        while skip and at < len(seen) and not wish.match(seen[at]):
            at += 1
        shown = "\n".join(seen)
        assert at < len(seen) and wish.match(seen[at]), f"$ {command}\nREADME.md says\n  {line}\nit printed\n{shown}"
        at, skip = at + 1, False
    assert skip or at == len(seen), f"$ {command}\nREADME.md lacks\n  {seen[at]}"


@case(limit=240, quiet=True)
def tours(t):
    network.isolate()  # the ports are those of README.md
    place = t.directory / "tour"
    (place / "build").mkdir(parents=True)
    (place / "build" / "bin").symlink_to(t.binaries.resolve())
    log = []
    for command, wanted in steps(README.read_text()):
        with open(t.directory / "out", "w+b") as out:
            done = subprocess.run(["bash", "-c", command], cwd=place, stdout=out, stderr=out, stdin=subprocess.DEVNULL, timeout=90,
                                  env={**os.environ, "FAKETTY": "1"})  # redis-cli prints as to a terminal
            out.seek(0)
            text = out.read().decode()
        log.append(f"$ {command}\n{text}")
        (t.directory / "typed.log").write_text("".join(log))
        compare(command, wanted, [line for line in text.splitlines() if line.strip()])
        refused = any(line.startswith("error: ") for line in wanted)
        assert (done.returncode == 1) == refused, f"$ {command}\nexit {done.returncode}\n{text}"
    assert len(log) > 30, "the tours are gone from README.md"
