#!/usr/bin/env bash
# Speculative decoding (technical report, section 5.4.3): trains a model of 10 million parameters with one MTP module on
# the King James Bible (Debian's bible-kjv-text), then measures on held-out chapters how many drafts are accepted, what
# that gains, and the bound. Ten minutes on two idle cores; everything it makes lies in reproduce-run/speculation/.
#
# usage: tools/reproduce/speculation.sh [build folder]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
run=reproduce-run/speculation

if [ ! -e "$run/model/latest" ]; then
  rm -rf "$run"
  mkdir -p "$run"
  # "Ge1:1 In the beginning ..." a line; a new document begins with each chapter, and verses keep their numbers.
  bible -f 'Gen1:1-Rev22:21' 2>/dev/null | awk '
    { place = $1; verse = place; sub(/:.*/, "", place); sub(/.*:/, "", verse); sub(/^[^ ]+ /, "")
      if (place != last) { if (NR > 1) print "<|endoftext|>"; last = place }
      print verse " " $0 }' > "$run/bible.txt"
  "$build/fathom" prepare "$run/bible.txt" --output "$run/data" --split-on '<|endoftext|>' \
    --train-tokenizer --vocab-size 2048 --held-out 0.05
  "$build/fathom" train tools/reproduce/speculation.json --data "$run/data" --output "$run/model"
fi
"$build/bench/speculation_bench" "$run/model" "$run/data"
