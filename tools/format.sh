#!/usr/bin/env bash
# Checks that every C++ source is formatted as .clang-format says; with --fix, formats it.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(--dry-run --Werror)
[ "${1:-}" = --fix ] && mode=(-i)
find src tests bench -name '*.h' -o -name '*.cpp' | sort | xargs clang-format "${mode[@]}"
