#!/usr/bin/env bash
# Runs every benchmark of the build tree given (default build/release), one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
for benchmark in "$build"/bench/*_bench; do
  [ -x "$benchmark" ] || continue
  echo "== $(basename "$benchmark")"
  "$benchmark"
done
