#!/usr/bin/env bash
# Runs clang-tidy over every source of the build tree given (default build/release), as .clang-tidy says.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
command -v clang-tidy >/dev/null || { echo "clang-tidy is needed: apt-get install clang-tidy" >&2; exit 1; }
find src tests bench -name '*.cpp' | sort |
  xargs -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet
