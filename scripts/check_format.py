#!/usr/bin/python3
"""Sources are formatted as clang-format 19 does it with .clang-format.

    scripts/check_format.py [--fix] [FILE ...]    # last line "N passed, N failed", one case per file
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOPS = ("src", "sim", "tests", "bench", "fuzz", "proto")


def sources():
    for top in TOPS:
        for directory, children, names in os.walk(os.path.join(ROOT, top)):
            children[:] = [c for c in children if c != "node_modules"]
            for name in names:
                if name.endswith((".h", ".cc", ".proto")):
                    yield os.path.relpath(os.path.join(directory, name), ROOT)


def main(arguments):
    tool = shutil.which("clang-format-19")
    if tool is None:
        print("clang-format-19 is not installed\n0 passed, 1 failed")
        return 1
    named = [os.path.relpath(os.path.abspath(a), ROOT) for a in arguments if not a.startswith("--")]
    files = sorted(named or sources())
    if "--fix" in arguments:
        for start in range(0, len(files), 50):
            subprocess.run([tool, "-i", *files[start:start + 50]], cwd=ROOT, check=True)
        print(f"formatted {len(files)} files")
        return 0

    def check(file):
        return file, subprocess.run([tool, "--dry-run", "-Werror", file], cwd=ROOT, capture_output=True, text=True)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for file, run in pool.map(check, files):
            if run.returncode != 0:
                failed += 1
                first = run.stderr.splitlines()[:1] or [""]
                print(f"{file}: not formatted (./dev format): {first[0]}")
    print(f"format: {len(files) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
