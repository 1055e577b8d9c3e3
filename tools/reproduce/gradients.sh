#!/usr/bin/env bash
# The gradients of bf16 and fp8 against those of f32, tensor by tensor: the model of tools/reproduce/fp8.sh, which runs
# first where it has not, on 4,096 tokens of held-out text. The picture lies in docs/figures/.
#
# usage: tools/reproduce/gradients.sh [build folder]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
run=reproduce-run/fp8/bf16/latest

[ -e "$run" ] || tools/reproduce/fp8.sh "$build/fathom"
"$build/bench/gradient_bench" "$run" reproduce-run/corpus/data docs/figures/gradients.svg
