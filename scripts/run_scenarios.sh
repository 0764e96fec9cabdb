#!/usr/bin/env bash
# Runs every scenario of docs/scenarios: each must be survived. Last line "N passed, N failed".
#
#     scripts/run_scenarios.sh BINARY
set -euo pipefail
passed=0 failed=0
for scenario in docs/scenarios/*.toml; do
  if "$1" --scenario "$scenario"; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED $scenario"; fi
done
echo "scenarios: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
