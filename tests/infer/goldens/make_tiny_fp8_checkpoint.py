#!/usr/bin/env python3
"""Makes tiny_fp8/: a small DeepseekV3ForCausalLM whose projections are stored as DeepSeek releases them, E4M3 with
one f32 `weight_scale_inv` for each block of 128 x 128, and tiny_fp8_expected.json: what transformers computes with
the weights that such a file stands for. Needs torch, transformers 5.24, accelerate, safetensors and tokenizers; the
output is deterministic.

Sizes are such that blocks end early at the lower and right edges. transformers' own dequantisation divides a matrix
evenly by its number of scales, which is another matrix wherever blocks are partial (and an error for DeepSeek-V3's
`kv_a_proj_with_mqa`). So the weights are widened here, as DeepSeek's inference/kernel.py does it, by code that shares
nothing with Fathom; for a model of whole blocks the script checks that transformers reads the same file to the
same logits.
"""

import json
import pathlib
import shutil
import tempfile

import safetensors.torch
import torch
from make_tiny_checkpoint import FOLDER, expectations, make_model, make_tokenizer
from transformers import AutoModelForCausalLM, FineGrainedFP8Config

BLOCK = 128
LARGEST = torch.finfo(torch.float8_e4m3fn).max


def of_blocks(scales, shape):
    """Each block's scale at each of its elements."""
    wide = scales.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return wide[: shape[0], : shape[1]]


def quantise(weight):
    rows, columns = weight.shape
    padded = torch.nn.functional.pad(weight, (0, -columns % BLOCK, 0, -rows % BLOCK))
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    scales = blocks.abs().amax(dim=(1, 3)) / LARGEST
    return (weight / of_blocks(scales, weight.shape)).to(torch.float8_e4m3fn), scales


def save(model, tokenizer, folder):
    """The FP8 folder; returns the state that it stands for, in f32."""
    stored, meant = {}, {}
    for name, value in model.state_dict().items():
        parts = {name: value}
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):  # transformers stacks the experts
            parts = {}
            prefix = name.rpartition(".")[0]
            for i, expert in enumerate(value):
                if name.endswith("gate_up_proj"):
                    gate, up = expert.chunk(2)
                    parts |= {f"{prefix}.{i}.gate_proj.weight": gate, f"{prefix}.{i}.up_proj.weight": up}
                else:
                    parts[f"{prefix}.{i}.down_proj.weight"] = expert
        for part, weight in parts.items():
            if part == "lm_head.weight":
                continue  # tied
            if part.endswith("_proj.weight") or part.endswith("_proj_with_mqa.weight"):
                codes, scales = quantise(weight)
                stored[part], stored[f"{part}_scale_inv"] = codes, scales
                meant[part] = codes.float() * of_blocks(scales, weight.shape)
            else:
                dtype = torch.float32 if part.endswith("e_score_correction_bias") else torch.bfloat16
                stored[part] = weight.to(dtype).contiguous()
                meant[part] = stored[part].float()
    shutil.rmtree(folder, ignore_errors=True)
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [BLOCK, BLOCK],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    safetensors.torch.save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return meant


def widened(model, tokenizer, folder, scratch):
    """transformers' model of what the FP8 folder stands for."""
    meant = save(model, tokenizer, folder)
    plain = scratch / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    model.config.save_pretrained(plain)
    safetensors.torch.save_file(meant, plain / "model.safetensors", metadata={"format": "pt"})
    return load(plain)


def load(folder, **options):
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **options
    ).eval()


def check_against_transformers(tokenizer, scratch):
    """Where all blocks are whole, transformers itself reads the FP8 folder to the same logits."""
    model = make_model(
        len(tokenizer), 0, hidden_size=256, intermediate_size=128, n_routed_experts=4, tie_word_embeddings=True
    )
    ours = widened(model, tokenizer, scratch / "whole_blocks", scratch)
    theirs = load(scratch / "whole_blocks", quantization_config=FineGrainedFP8Config(dequantize=True))
    ids = torch.arange(2, 40)[None]
    with torch.no_grad():
        difference = (ours(ids).logits - theirs(ids).logits).abs().max().item()
    assert difference == 0.0, difference


def make(seed, tokenizer, scratch):
    model = make_model(
        len(tokenizer),
        seed,
        hidden_size=136,
        intermediate_size=132,
        n_routed_experts=4,
        tie_word_embeddings=True,
    )
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(0.25)  # the head too: logits as spread out as those of tiny_f32
    return expectations(widened(model, tokenizer, FOLDER / "tiny_fp8", scratch), tokenizer)


def main():
    tokenizer = make_tokenizer()
    with tempfile.TemporaryDirectory() as scratch:
        check_against_transformers(tokenizer, pathlib.Path(scratch))
        results = next(
            filter(None, (make(seed, tokenizer, pathlib.Path(scratch)) for seed in range(100)))
        )
    expected = {"made_by": "make_tiny_fp8_checkpoint.py", "tiny_fp8": results}
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (FOLDER / "tiny_fp8_expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
