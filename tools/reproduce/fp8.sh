#!/usr/bin/env bash
# FP8 against BF16 (technical report, section 3.3 and appendix B.1): the same model of 23 million parameters, the same
# seed and data, 4 million tokens. Half an hour on two idle cores. Runs lie in reproduce-run/fp8/, the picture in
# docs/figures/. tools/reproduce/gradients.sh goes on from here.
#
# usage: tools/reproduce/fp8.sh [path of the fathom binary]
set -euo pipefail
cd "$(dirname "$0")/../.."
fathom=${1:-build/release/fathom}
run=reproduce-run/fp8

tools/reproduce/corpus.sh "$fathom"
rm -rf "$run"
for precision in bf16 fp8; do
  "$fathom" train tools/reproduce/fp8.json --data reproduce-run/corpus/data --output "$run/$precision" \
    --set training.precision="$precision"
done
"$fathom" compare BF16="$run/bf16" FP8="$run/fp8" --svg docs/figures/fp8.svg
