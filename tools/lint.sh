#!/usr/bin/env bash
# One source through clang-tidy. usage: lint.sh STAMP SOURCE FLAGS...
# If it passes, STAMP says so, and STAMP.d names what it includes. cmake/FathomLint.cmake calls this for all sources.
set -euo pipefail
stamp=$1 source=$2
shift 2
rm -f "$stamp"
if ! clang-tidy --quiet "$source" -- "$@" >"$stamp.log" 2>&1; then
  grep -v ' warnings\? generated\.$' "$stamp.log"
  exit 1
fi
c++ -MM -MT "$stamp" -MF "$stamp.d" "$@" "$source"
touch "$stamp"
