#!/usr/bin/env python3
"""Makes sampler_goldens.json: the distributions that transformers' logits processors leave, in the order in
which `generate` runs them. Needs torch and transformers 5.24; the output is deterministic."""

import itertools
import json
import pathlib

import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


def main():
    generator = torch.Generator().manual_seed(5)
    cases = []
    grid = itertools.product([0.5, 1.0, 1.7], [0, 1, 5], [1.0, 0.9, 0.3], [0.0, 0.1], [1.0, 1.3])
    for temperature, top_k, top_p, min_p, penalty in grid:
        logits = (torch.randn(1, 12, generator=generator) * 2.5).float()
        seen = torch.randint(0, 12, (1, 4), generator=generator)
        scores = logits.double()
        if penalty != 1.0:
            scores = RepetitionPenaltyLogitsProcessor(penalty)(seen, scores)
        scores = TemperatureLogitsWarper(temperature)(seen, scores)
        if top_k > 0:
            scores = TopKLogitsWarper(top_k)(seen, scores)
        if top_p < 1.0:
            scores = TopPLogitsWarper(top_p)(seen, scores)
        if min_p > 0.0:
            scores = MinPLogitsWarper(min_p)(seen, scores)
        cases.append(
            {
                "options": {
                    "temperature": temperature,
                    "top_k": top_k,
                    "top_p": top_p,
                    "min_p": min_p,
                    "repetition_penalty": penalty,
                },
                "seen": seen[0].tolist(),
                "logits": logits[0].tolist(),
                "probabilities": [round(p, 9) for p in scores.softmax(-1)[0].tolist()],
            }
        )
    path = pathlib.Path(__file__).parent / "sampler_goldens.json"
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    path.write_text('{"made_by":"make_sampler_goldens.py","cases":[\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
