"""Checks with the `gguf` and `safetensors` libraries that a GGUF file which `fathom convert` wrote holds the values of the
Hugging Face folder that it was made of. Prints the largest error of each type, relative to the tensor's largest value.

usage: python check_gguf.py FOLDER FILE.gguf   (F32, F16 or BF16 folders; needs torch, safetensors, gguf)
"""

import json
import pathlib
import re
import sys

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors import safe_open

NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm", "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp", "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp", "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps", "mlp.experts.down_proj": "ffn_down_exps", "enorm": "nextn.enorm",
    "hnorm": "nextn.hnorm", "eh_proj": "nextn.eh_proj", "shared_head.norm": "nextn.shared_head_norm",
}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}


def folder_tensors(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                tensors[name] = file.get_tensor(name).float()
    return tensors


def gguf_name(name: str) -> tuple[str, int]:
    if name in OUTER:
        return OUTER[name], -1
    layer, rest = re.fullmatch(r"model\.layers\.(\d+)\.(.*)", name).groups()
    if rest == "mlp.gate.e_score_correction_bias":
        return f"blk.{layer}.exp_probs_b.bias", -1
    expert = re.search(r"experts\.(\d+)\.", rest)
    rest = re.sub(r"experts\.\d+\.", "experts.", rest).removesuffix(".weight")
    return f"blk.{layer}.{NAMES[rest]}.weight", int(expert.group(1)) if expert else -1


def main() -> None:
    folder, path = pathlib.Path(sys.argv[1]), sys.argv[2]
    config = json.loads((folder / "config.json").read_text())
    reader = GGUFReader(path)
    found = {tensor.name: tensor for tensor in reader.tensors}
    used = set()
    errors: dict[str, float] = {}

    def values(name: str) -> np.ndarray:
        tensor = found[name]
        used.add(name)
        return dequantize(tensor.data, tensor.tensor_type).reshape(tuple(int(d) for d in reversed(tensor.shape)))

    def compare(name: str, got: np.ndarray, want: torch.Tensor) -> None:
        assert got.shape == tuple(want.shape), (name, got.shape, want.shape)
        error = float(np.abs(got - want.numpy()).max() / max(1e-30, float(want.abs().max())))
        kind = found[name].tensor_type.name
        errors[kind] = max(errors.get(kind, 0.0), error)

    for name, want in folder_tensors(folder).items():
        place, expert = gguf_name(name)
        if place.endswith("attn_kv_b.weight") and place not in found:
            heads, nope = config["num_attention_heads"], config["qk_nope_head_dim"]
            both = want.reshape(heads, -1, want.shape[-1])
            key, value = place.replace("attn_kv_b", "attn_k_b"), place.replace("attn_kv_b", "attn_v_b")
            compare(key, values(key), both[:, :nope].transpose(1, 2))
            compare(value, values(value), both[:, nope:])
        else:
            got = values(place)
            compare(place, got[expert] if expert >= 0 else got, want)
    assert used == found.keys(), used ^ found.keys()
    print(f"{path}: {len(found)} tensors, {len(reader.fields)} keys")
    for kind, error in sorted(errors.items()):
        print(f"  {kind}: largest error {error:.2e}")


if __name__ == "__main__":
    main()
