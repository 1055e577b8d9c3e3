#!/usr/bin/env bash
# Three ways to keep experts busy (arXiv 2408.15664; technical report, sections 2.1.2 and 4.5.2): a bias on selection,
# the classical auxiliary loss, and nothing. The same model of 5 million parameters, the same seed and data, 4 million
# tokens each; a quarter of an hour on two idle cores. Runs lie in reproduce-run/balance/, the picture in docs/figures/.
#
# usage: tools/reproduce/balance.sh [path of the fathom binary]
set -euo pipefail
cd "$(dirname "$0")/../.."
fathom=${1:-build/release/fathom}
run=reproduce-run/balance
# name, then further options
train() {
  "$fathom" train tools/reproduce/small.json --data reproduce-run/corpus/data --output "$run/$1" "${@:2}"
}

tools/reproduce/corpus.sh "$fathom"
rm -rf "$run"
# Loss-free balancing alone, as in 2408.15664: without the sequence-wise loss that V3 has beside it.
train bias --set training.balance=bias --set training.balance_loss_factor=0
train aux_loss --set training.balance=aux_loss --set training.aux_loss_factor=0.001
train none --set training.balance=none
"$fathom" compare "bias"="$run/bias" "auxiliary loss"="$run/aux_loss" "none"="$run/none" --svg docs/figures/balance.svg
