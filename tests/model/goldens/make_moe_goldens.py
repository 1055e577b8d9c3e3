"""Writes moe.json and moe.bin: MoE layers of transformers' DeepseekV2 and DeepseekV3, with autograd's gradients.

Inputs and weights are not stored: both sides make them from `values`. The loss is sum(y * dy), plus alpha times
the sequence-wise balance loss (technical report, equations 17 to 20), written out in `balance_loss`, or the
classical one of the whole batch (arXiv 2408.15664, equation 2; of normalised affinities where gates are) in
`batch_loss`.

    python make_moe_goldens.py        (torch, transformers, numpy)
"""

import json
import pathlib

import numpy as np
import torch
from transformers.models.deepseek_v2.configuration_deepseek_v2 import DeepseekV2Config
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

HIDDEN, WIDTH, LENGTHS = 12, 6, [7, 4]
TOKENS = sum(LENGTHS)


def values(seed, shape, scale):
    """A hash of the index, uniform in [-scale, scale): the same in tests/model/moe_golden_test.cpp."""
    h = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint32) * np.uint32(2654435761)
    h ^= np.uint32(seed * 40503 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    h ^= h >> np.uint32(16)
    unit = (h >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return torch.from_numpy((unit * np.float32(scale)).reshape(shape))


def balance_loss(scores, top_k):
    total = 0.0
    for rows in torch.split(scores, LENGTHS):
        tokens, experts = rows.shape
        chosen = torch.zeros_like(rows).scatter_(1, rows.detach().topk(top_k, dim=1).indices, 1.0)
        frequency = experts / (top_k * tokens) * chosen.sum(0)
        share = (rows / rows.sum(1, keepdim=True)).mean(0)
        total = total + (frequency * share).sum()
    return total / len(LENGTHS)


def batch_loss(scores, chosen, normalised):
    tokens, experts = scores.shape
    load = torch.bincount(chosen.flatten(), minlength=experts)
    if normalised:
        scores = scores / scores.sum(1, keepdim=True)
    return (experts / (chosen.shape[1] * tokens) * load * scores.mean(0)).sum()


CASES = [  # name, v3 or v2 method, experts, top_k, groups, kept groups, normalise, factor, shared, alpha, bias offset[, batch-wise loss]
    ("v3_groups", "noaux_tc", 8, 3, 4, 2, True, 2.5, 1, 0.0, 0.0),
    ("v3_plain", "noaux_tc", 6, 2, 1, 1, False, 1.0, 2, 0.7, 0.0),
    ("v3_negative_scores", "noaux_tc", 8, 3, 2, 1, True, 1.0, 0, 0.0, -3.0),
    ("v3_balance", "noaux_tc", 8, 4, 4, 3, True, 1.5, 1, 2.0, 0.0),
    ("v2_greedy", "greedy", 6, 2, 1, 1, False, 1.0, 2, 0.5, 0.0),
    ("v2_groups", "group_limited_greedy", 8, 3, 4, 2, False, 16.0, 1, 0.0, 0.0),
    ("v2_norm_topk_prob", "greedy", 6, 3, 1, 1, True, 2.0, 0, 0.0, 0.0),
    ("v3_batch_loss", "noaux_tc", 8, 3, 4, 2, True, 2.5, 1, 1.5, 0.0, True),
    ("v3_batch_loss_bare", "noaux_tc", 8, 3, 4, 2, False, 2.5, 1, 1.5, 0.0, True),
    ("v2_batch_loss", "group_limited_greedy", 8, 3, 4, 2, False, 1.0, 1, 1.5, 0.0, True),
]


def make(case):
    name, method, experts, top_k, groups, kept, normalise, factor, shared, alpha, bias_offset, *batch_wise = case
    v3 = method == "noaux_tc"
    settings = dict(hidden_size=HIDDEN, moe_intermediate_size=WIDTH, n_routed_experts=experts,
                    num_experts_per_tok=top_k, n_group=groups, topk_group=kept, norm_topk_prob=normalise,
                    routed_scaling_factor=factor, n_shared_experts=shared)
    if v3:
        moe = DeepseekV3MoE(DeepseekV3Config(**settings))
    else:
        moe = DeepseekV2Moe(DeepseekV2Config(**settings, topk_method=method, num_attention_heads=2))
    with torch.no_grad():
        moe.gate.weight.copy_(values(1, (experts, HIDDEN), 0.8))
        if v3:
            moe.gate.e_score_correction_bias.copy_(values(2, (experts,), 0.4) + bias_offset)
        for e in range(experts):
            gate, up = (values(100 + 3 * e + i, (WIDTH, HIDDEN), 0.5) for i in (0, 1))
            moe.experts.gate_up_proj[e].copy_(torch.cat([gate, up]))
            moe.experts.down_proj[e].copy_(values(102 + 3 * e, (HIDDEN, WIDTH), 0.5))
        if shared:
            width = shared * WIDTH
            moe.shared_experts.gate_proj.weight.copy_(values(3, (width, HIDDEN), 0.5))
            moe.shared_experts.up_proj.weight.copy_(values(4, (width, HIDDEN), 0.5))
            moe.shared_experts.down_proj.weight.copy_(values(5, (HIDDEN, width), 0.5))
    x = values(6, (TOKENS, HIDDEN), 1.5).requires_grad_()
    y = moe(x[None])[0]
    logits, gates, chosen = moe.gate(x)
    scores = logits.sigmoid() if v3 else logits.softmax(-1)
    balance = batch_loss(scores, chosen, normalise) if batch_wise else balance_loss(scores, top_k)
    ((y * values(7, (TOKENS, HIDDEN), 1.0)).sum() + alpha * balance).backward()

    order = chosen.argsort(dim=1)
    arrays = {"y": y, "gates": gates.gather(1, order), "dx": x.grad, "drouter": moe.gate.weight.grad,
              "dgate_proj": moe.experts.gate_up_proj.grad[:, :WIDTH], "dup_proj": moe.experts.gate_up_proj.grad[:, WIDTH:],
              "ddown_proj": moe.experts.down_proj.grad}
    if shared:
        for part in ("gate", "up", "down"):
            arrays[f"dshared_{part}"] = getattr(moe.shared_experts, f"{part}_proj").weight.grad
    settings |= dict(name=name, topk_method=method, scoring_func="sigmoid" if v3 else "softmax", alpha=alpha,
                     bias_offset=bias_offset, seq_aux=not batch_wise, lengths=LENGTHS, balance_loss=balance.item(),
                     chosen=chosen.gather(1, order).flatten().tolist())
    return settings, arrays


def main():
    folder = pathlib.Path(__file__).parent
    cases, blob = [], b""
    for case in CASES:
        settings, arrays = make(case)
        settings["arrays"] = {}
        for name, array in arrays.items():
            settings["arrays"][name] = [len(blob) // 4, array.numel()]
            blob += array.detach().numpy().astype("<f4").tobytes()
        cases.append(settings)
    (folder / "moe.bin").write_bytes(blob)
    (folder / "moe.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
