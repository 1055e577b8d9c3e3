#!/usr/bin/env bash
# The demo: trains a small DeepSeek-V3-style model from scratch on the King James Bible (Debian's bible-kjv-text, public
# domain), then lets it continue a few prompts. Everything it makes lies in demo-run/.
#
# usage: tools/demo.sh [path of the fathom binary]
set -euo pipefail
cd "$(dirname "$0")/.."
fathom=${1:-build/release/fathom}
run=demo-run
say() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }

rm -rf "$run"
mkdir -p "$run"

say "1/4  Text: the King James Bible, one chapter a document"
# "Ge1:1 In the beginning ..." a line; a new document begins with each chapter, and verses keep their numbers.
bible -f 'Gen1:1-Rev22:21' 2>/dev/null | awk '
  { place = $1; verse = place; sub(/:.*/, "", place); sub(/.*:/, "", verse); sub(/^[^ ]+ /, "")
    if (place != last) { if (NR > 1) print "<|endoftext|>"; last = place }
    print verse " " $0 }' > "$run/bible.txt"
bytes=$(stat -c %s "$run/bible.txt")
xz_bytes=$(xz -9 -c "$run/bible.txt" | wc -c)
awk -v bytes="$bytes" -v xz="$xz_bytes" 'BEGIN {
  printf "%.1f MB of text; xz -9 packs it to %.2f bits per byte: the figure to beat on held-out chapters\n",
         bytes / 1e6, 8 * xz / bytes }' >&2

say "2/4  Tokenizer and token shards"
"$fathom" prepare "$run/bible.txt" --output "$run/data" --split-on '<|endoftext|>' \
  --train-tokenizer --vocab-size 2048 --held-out 0.05

say "3/4  Training: MLA, 16 experts balanced without an auxiliary loss, one multi-token-prediction module"
"$fathom" train configs/demo.json --data "$run/data" --output "$run/model"

say "4/4  The model continues a prompt"
for prompt in "1 In the beginning" "1 And the LORD spake unto Moses, saying," "23 Blessed are they that"; do
  "$fathom" run "$run/model" "$prompt" --max-tokens 80 --temperature 0.7 --top-p 0.95 --seed 1 --echo
  echo
done

say "Curves and the expert-load heat map: $run/model/report.html"
echo "Try: $fathom run $run/model \"And it came to pass\" --max-tokens 200" >&2
