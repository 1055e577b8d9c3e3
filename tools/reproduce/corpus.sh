#!/usr/bin/env bash
# The text the other reproductions train on: the sources of the Linux kernel's and Python's documentation (Debian's
# linux-doc-6.1 and python3.11-doc; GPL-2 and PSF licence), about 32 MB, downloaded and not installed. Makes
# reproduce-run/corpus/data, shards of a vocabulary of 4,096; whole documents are held out. Does nothing if it's there.
#
# usage: tools/reproduce/corpus.sh [path of the fathom binary]
set -euo pipefail
cd "$(dirname "$0")/../.."
fathom=$(realpath "${1:-build/release/fathom}")
run=reproduce-run/corpus
if [ -e "$run/data/manifest.json" ]; then exit 0; fi

rm -rf "$run"
mkdir -p "$run/packages"
(cd "$run/packages" && apt-get download -q linux-doc-6.1 python3.11-doc)
for package in "$run"/packages/*.deb; do dpkg-deb --extract "$package" "$run/packages"; done
# Each page's source, as plain text; its path becomes its name.
mkdir "$run/texts"
(cd "$run/packages/usr/share/doc" && find . -path '*/_sources/*' -name '*.txt' -printf '%P\0') |
  while IFS= read -r -d '' page; do
    mv "$run/packages/usr/share/doc/$page" "$run/texts/${page//\//_}"
  done
rm -r "$run/packages"
"$fathom" prepare "$run/texts" --output "$run/data" --train-tokenizer --vocab-size 4096 \
  --held-out 0.02 --held-out-by document
