#!/usr/bin/env bash
# One source, or one that includes several, through clang-tidy. usage: lint.sh STAMP SOURCE FLAGS...
# If it passes, STAMP says so, and STAMP.d names what it includes. cmake/FathomLint.cmake calls this for all sources.
set -euo pipefail
stamp=$1 source=$2
shift 2
rm -f "$stamp"
# The analyzer walks every branch of every EXPECT_ and takes twice as long as all other checks together; what it looks
# for, tests show by running, under sanitizers too. Nor need tests reserve memory before they fill a vector.
fewer=()
case $stamp in */lint/tests/*) fewer=(--checks=-clang-analyzer-*,-performance-inefficient-vector-operation) ;; esac
if ! clang-tidy --quiet "${fewer[@]}" "$source" -- "$@" >"$stamp.log" 2>&1; then
  grep -v ' warnings\? generated\.$' "$stamp.log"
  exit 1
fi
c++ -MM -MT "$stamp" -MF "$stamp.d" "$@" "$source"
touch "$stamp"
