#!/usr/bin/env bash
# Long context in miniature: a model learns to find facts in texts of 128 tokens, and YaRN extends it in two stages,
# to 512 and to 2,048, as the technical report extends DeepSeek-V3 from 4K to 32K and 128K (section 4.3). Needle maps of
# the model before and after each stage; some minutes on two idle cores. Everything it makes lies in
# reproduce-run/long_context/; the pictures go to docs/figures/.
#
# usage: tools/reproduce/long_context.sh [path of the fathom binary]
set -euo pipefail
cd "$(dirname "$0")/../.."
fathom=${1:-build/release/fathom}
run=reproduce-run/long_context
lengths=64,128,256,512,1024,2048
say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }
# Needle map of a model: name, then further options.
needle() { "$fathom" needle "$run/$1" --lengths "$lengths" --trials 10 "${@:2}"; }
# A stage of the extension: name, model to begin with, data, further options.
extend() {
  "$fathom" train "$run/$2/config.json" --init "$run/$2" --data "$run/data-$3" --output "$run/$1" \
    --set training.learning_rate=5e-4 --set training.warmup_steps=0 --set training.decay_steps=0 \
    --set training.needle_length=0 --set training.eval_interval=0 "${@:4}"
}

rm -rf "$run"
mkdir -p "$run" docs/figures

say "1/5  Documents of about 128, 512 and 2,048 tokens, and a tokenizer"
"$fathom" needle-corpus "$run/short.jsonl" --documents 40000 --sentences 13 --filler 0.1 --seed 1
"$fathom" needle-corpus "$run/middle.jsonl" --documents 4000 --sentences 50 --filler 0.5 --seed 2
"$fathom" needle-corpus "$run/long.jsonl" --documents 1000 --sentences 200 --filler 0.5 --seed 3
"$fathom" prepare "$run/short.jsonl" --output "$run/data-short" --train-tokenizer --vocab-size 512
for length in middle long; do
  "$fathom" prepare "$run/$length.jsonl" --output "$run/data-$length" --tokenizer "$run/data-short"
done

say "2/5  Training on sequences of 128 tokens"
"$fathom" train configs/long-context.json --data "$run/data-short" --output "$run/base"

say "3/5  Stage 1: YaRN by a factor of 20, sequences of 512 tokens, constant learning rate"
extend stage1 base middle --extend-context 20 --steps 100 \
  --set training.sequence_length=512 --set training.batch_size=8

say "4/5  Stage 2: sequences of 2,048 tokens"
extend stage2 stage1 long --steps 60 \
  --set training.sequence_length=2048 --set training.batch_size=2

say "5/5  Needles in haystacks of up to 2,048 tokens: before, and after each stage"
for model in base stage1 stage2; do
  say "$model"
  needle "$model" --beyond
  cp "$run/$model/needle.svg" "docs/figures/needle-$model.svg"
done
