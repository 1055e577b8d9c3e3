#!/usr/bin/env bash
# FP8 against BF16 (technical report, section 3.3 and appendix B.1): the same model of 23 million parameters, the same
# data, 1.8 million tokens, for each of two seeds; what lies between the seeds is what chance does. Half an hour on two
# idle Zen 4 cores. Runs lie in reproduce-run/fp8/, the picture in docs/figures/. tools/reproduce/gradients.sh goes on
# from here.
#
# usage: tools/reproduce/fp8.sh [path of the fathom binary]
set -euo pipefail
cd "$(dirname "$0")/../.."
fathom=${1:-build/release/fathom}
run=reproduce-run/fp8

tools/reproduce/corpus.sh "$fathom"
rm -rf "$run"
train() {  # NAME PRECISION SEED
  "$fathom" train tools/reproduce/fp8.json --data reproduce-run/corpus/data --output "$run/$1" \
    --set training.precision="$2" --seed "$3"
}
train bf16 bf16 1
train fp8 fp8 1
train bf16-seed2 bf16 2
train fp8-seed2 fp8 2
"$fathom" compare BF16="$run/bf16" FP8="$run/fp8" "BF16, seed 2=$run/bf16-seed2" "FP8, seed 2=$run/fp8-seed2" \
  --svg docs/figures/fp8.svg
