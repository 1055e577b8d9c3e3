#!/usr/bin/env python3
"""Checks that transformers reads the FP8 checkpoint of a run as `fathom score` does.

usage: check_fp8_checkpoint.py FATHOM MODEL_FOLDER     (needs torch, transformers and accelerate)

transformers' FineGrainedFP8 quantizer loads the folder (on a CPU it dequantises the weights, here to f32); the
log-probabilities of some tokens are compared with those that `fathom score --json` gives.
"""

import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM


def main():
    fathom, folder = sys.argv[1:]
    config = json.load(open(f"{folder}/config.json"))
    assert config["quantization_config"] == {
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]
    }, config.get("quantization_config")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    print("loaded as", type(model).__name__, {str(p.dtype) for p in model.parameters()})
    ids = [(7 * i * i + 3 * i + 1) % config["vocab_size"] for i in range(40)]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float()
    expected = torch.log_softmax(logits, -1)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    command = [fathom, "score", folder, "--json", "--tokens", ",".join(map(str, ids))]
    scores = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    got = torch.tensor(scores["logprobs"][1:])
    difference = (got - expected).abs().max().item()
    print(f"{len(got)} log-probabilities, largest difference {difference:.2e}")
    assert len(got) == len(expected) and difference < 1e-3


main()
