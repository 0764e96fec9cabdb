#!/usr/bin/python3
"""Counts the single test cases of a ctest run; last line "N passed, N failed".

    scripts/count_tests.py JUNIT_XML RESULTS_DIR

JUNIT_XML is ctest's own report (one entry per binary), RESULTS_DIR holds GoogleTest's JSON report of each binary. A
binary that failed without a failed case in its report (crash, leak found at exit, time limit) counts as one failure.
"""

import json
import os
import sys
import xml.etree.ElementTree


def cases(path):
    """(passed, failed, skipped) of one GoogleTest report."""
    with open(path, encoding="utf-8") as f:
        report = json.load(f)
    passed = failed = skipped = 0
    for suite in report.get("testsuites", []):
        for case in suite.get("testsuite", []):
            if case.get("failures"):
                failed += 1
                print(f"failed: {suite['name']}.{case['name']}")
            elif case.get("result") == "SKIPPED":
                skipped += 1
            elif case.get("status") == "RUN":
                passed += 1
    return passed, failed, skipped


def main(junit, results):
    passed = failed = skipped = 0
    for entry in xml.etree.ElementTree.parse(junit).getroot().iter("testcase"):
        name = entry.get("name")
        ok = entry.get("status") == "run" and entry.find("failure") is None
        p = f = s = 0
        try:
            p, f, s = cases(os.path.join(results, name + ".json"))
        except (OSError, ValueError):
            if ok:
                p = 1
        if not ok and f == 0:
            f = 1
            print(f"failed: {name} ended badly without a failed case (crash, sanitizer, time limit): see the log")
        passed, failed, skipped = passed + p, failed + f, skipped + s
    if skipped:
        print(f"skipped: {skipped}")
    print(f"unit tests: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
