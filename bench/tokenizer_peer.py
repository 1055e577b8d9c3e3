#!/usr/bin/env python3
"""Times the `tokenizers` library, one thread, on the texts of tokenizer_bench.

usage: tokenizer_peer.py TOKENIZER_JSON DOCUMENTS_JSON
DOCUMENTS_JSON is a list of strings. Prints: processor seconds of the quickest of several passes, number of ids.
"""

import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer

PASSES = 3


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as file:
        documents = json.load(file)
    # The quickest of the library's ways in: a batch at a time, without offsets into the text.
    best, count = float("inf"), 0
    for _ in range(PASSES):
        start = time.process_time()
        encodings = tokenizer.encode_batch_fast(documents, add_special_tokens=False)
        best = min(best, time.process_time() - start)
        count = sum(len(e.ids) for e in encodings)
    print(best, count)


main()
