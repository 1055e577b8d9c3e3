"""Makes mla.json and mla.bin: DeepseekV2Attention and DeepseekV3Attention of transformers 5.24, run in float64 with
eager attention, outputs and autograd gradients. Inputs and weights are not stored: `hashed` makes them here and in
mla_golden.h. Also rope.json: frequencies, cosines and sines of the rotary classes.

    python make_mla.py        (needs torch, transformers, numpy)
"""
import json
import pathlib

import numpy as np
import torch
from transformers import DeepseekV2Config, DeepseekV3Config
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3

HERE = pathlib.Path(__file__).parent


def hashed(stream, shape, scale):
    """Values in [-scale/2, scale/2) from integers alone, so that C++ makes the same."""
    count = int(np.prod(shape))
    x = np.arange(count, dtype=np.uint64) * 747796405 + np.uint64(stream) * 2891336453
    x = (x & 0xFFFFFFFF).astype(np.uint64)
    for _ in range(2):
        x ^= x >> np.uint64(16)
        x = (x * 0x45D9F3B) & 0xFFFFFFFF
    x ^= x >> np.uint64(16)
    unit = (x >> np.uint64(8)).astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)
    return torch.from_numpy((unit * np.float32(scale)).reshape(shape)).double()


YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=40.0, beta_fast=32.0, beta_slow=1.0,
            original_max_position_embeddings=32, mscale=0.707, mscale_all_dim=0.707)
DEFAULT = dict(rope_type="default", rope_theta=10000.0)

CASES = [
    dict(name="v3_q_lora_yarn", family="v3", q_lora_rank=10, rope=YARN),
    dict(name="v3_plain_query_two_sequences", family="v3", q_lora_rank=None, rope=DEFAULT, lengths=[9, 4]),
    dict(name="v3_half_split", family="v3", q_lora_rank=10, rope=DEFAULT, interleave=False),
    dict(name="v3_bias_uneven_mscale", family="v3", q_lora_rank=10, bias=True,
         rope=dict(YARN, mscale=1.0, mscale_all_dim=0.5)),
    dict(name="v2_plain_query_yarn", family="v2", q_lora_rank=None, rope=YARN),
    dict(name="v2_q_lora_bias", family="v2", q_lora_rank=10, rope=DEFAULT, bias=True, lengths=[5, 1, 7]),
]


def run(case):
    lengths = case.get("lengths", [13])
    sizes = dict(hidden_size=24, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=case["q_lora_rank"],
                 kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=8, v_head_dim=10,
                 attention_bias=case.get("bias", False), max_position_embeddings=1280,
                 rope_parameters=dict(case["rope"]), attn_implementation="eager")
    if case["family"] == "v3":
        config = DeepseekV3Config(**sizes, rope_interleave=case.get("interleave", True))
        attention = v3.DeepseekV3Attention(config, 0).double()
        rotary = v3.DeepseekV3RotaryEmbedding(config)
    else:
        config = DeepseekV2Config(**sizes)
        attention = v2.DeepseekV2Attention(config, 0).double()
        rotary = v2.DeepseekV2RotaryEmbedding(config)
    names = []
    for stream, (name, parameter) in enumerate(sorted(attention.named_parameters())):
        names.append(name)
        value = hashed(stream + 10, parameter.shape, 1.0)
        parameter.data.copy_(value + 1.0 if "layernorm" in name else value)
    tokens = sum(lengths)
    x = hashed(1, (tokens, 24), 4.0).requires_grad_(True)
    dy = hashed(2, (tokens, 24), 2.0)
    outputs, begin = [], 0
    for length in lengths:
        rows = x[begin:begin + length][None]
        mask = torch.full((length, length), float("-inf"), dtype=torch.float64).triu(1)[None, None]
        positions = torch.arange(length)[None]
        angles = rotary(rows, positions)
        outputs.append(attention(hidden_states=rows, position_embeddings=angles, attention_mask=mask)[0][0])
        begin += length
    y = torch.cat(outputs)
    y.backward(dy)
    tensors = [y.detach(), x.grad] + [dict(attention.named_parameters())[n].grad for n in names]
    return lengths, names, np.concatenate([t.numpy().astype("<f4").ravel() for t in tensors])


def mla():
    index, blob = [], []
    for case in CASES:
        lengths, names, values = run(case)
        index.append(dict(case, lengths=lengths, parameters=names, offset=sum(map(len, blob)), values=len(values)))
        blob.append(values)
    (HERE / "mla.json").write_text(json.dumps(index, indent=1) + "\n")
    np.concatenate(blob).tofile(HERE / "mla.bin")


ROPES = [
    dict(name="plain", dim=64, rope=DEFAULT),
    dict(name="plain_theta", dim=16, rope=dict(DEFAULT, rope_theta=50000.0)),
    dict(name="v3_released", dim=64, rope=dict(YARN, original_max_position_embeddings=4096, mscale=1.0,
                                              mscale_all_dim=1.0)),
    dict(name="no_mscale_all_dim", dim=64, rope=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0,
                                                     original_max_position_embeddings=4096)),
    dict(name="ramp_of_no_width", dim=4, rope=dict(YARN, original_max_position_embeddings=4, factor=2.0)),
]
POSITIONS = [0, 1, 63, 4095, 100000]


def rope():
    out = []
    for case in ROPES:
        config = DeepseekV3Config(hidden_size=256, num_attention_heads=4, qk_rope_head_dim=case["dim"],
                                  max_position_embeddings=163840, rope_parameters=dict(case["rope"]))
        rotary = v3.DeepseekV3RotaryEmbedding(config)
        cos, sin = rotary(torch.zeros(1, 1), torch.tensor([POSITIONS]))
        half = case["dim"] // 2
        out.append(dict(case, positions=POSITIONS, frequencies=rotary.inv_freq.tolist(),
                        cosines=cos[0, :, :half].flatten().tolist(), sines=sin[0, :, :half].flatten().tolist()))
    (HERE / "rope.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    mla()
    rope()
