#!/usr/bin/env bash
# Multi-token prediction on and off (technical report, sections 2.2, 4.5.1 and 5.4.3): the same model of 5 million
# parameters, the same seed and data, 4 million tokens; with it, one MTP module, which is dropped after training. Ten
# minutes on two idle cores. Runs lie in reproduce-run/mtp/, the picture in docs/figures/.
#
# usage: tools/reproduce/mtp.sh [path of the fathom binary]
set -euo pipefail
cd "$(dirname "$0")/../.."
fathom=${1:-build/release/fathom}
run=reproduce-run/mtp
# number of MTP modules, then further options
train() {
  "$fathom" train tools/reproduce/small.json --data reproduce-run/corpus/data --output "$run/$1" \
    --set num_nextn_predict_layers="$1" "${@:2}"
}

tools/reproduce/corpus.sh "$fathom"
rm -rf "$run"
train 0
# The report's λ: 0.3 for the first two thirds, then 0.1.
train 1 --set 'training.mtp_loss_factor=[{"value": 0.3, "until": "67.6%"}, {"value": 0.1}]'
"$fathom" compare "without MTP"="$run/0" "with MTP"="$run/1" --svg docs/figures/mtp.svg
