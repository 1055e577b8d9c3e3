#!/usr/bin/env python3
"""Makes transformer_goldens.json and .bin: what transformers' DeepseekV2 and DeepseekV3 classes compute for
random tiny models, for tests/model/transformer_parity_test.cpp.

Run from anywhere with torch, numpy and transformers 5.24 installed; the output is deterministic.

Weights are not stored. Both sides make them from base/rng.h's Philox generator:

    u = philox_block(seed, fnv1a_64(name), i / 4)[i % 4]      for element i of the parameter `name`
    weight = offset + ((u >> 8) * 2^-24 - 0.5) * scale        exact in f32 up to one rounding

`offset` and `scale` follow from the name and the shape (see `distribution`). They are far larger than a
trained model's initial weights, so that attention, routing and gates are all far from uniform.

Everything is computed in float64 and stored as f32: the test's tolerance of 1e-4 is then all ours to spend.
transformers' modules ask for float32 inside (norms, router, softmax); while this script runs, the name
`torch.float32` in those two modules means float64. The unmodified classes are run as well, in f32, and must
agree to 2e-5 of the largest logit, so the reference is what a user of transformers gets.

Seeds are taken such that no token's choice of experts or groups hangs by less than 1e-4, which f32 could
decide either way.

The MTP modules are transformers' own `MtpLayer`. Two facts that memory gets wrong, as the public sources
have them (transformers modeling_layers.MtpLayer and generation.MTPCandidateGenerator; vLLM
model_executor/models/deepseek_mtp.py; SGLang srt/models/deepseek_nextn.py):
  - `eh_proj` reads [enorm(embedding); hnorm(hidden)], although the report's equation 21 writes the hidden
    state first;
  - `hidden` of depth 1 is the main model's state after its final norm, and of a deeper module the state
    after the previous module's `shared_head.norm`.
Depth k sees positions 0 .. T-1-k of a sequence of T tokens (equation 22): position i joins the embedding of
token i + k and predicts what follows it.
"""

import json
import math
import pathlib
import random
import types

import numpy as np
import torch
import transformers
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
)
from transformers.modeling_layers import MtpLayer
from transformers.models.deepseek_v2 import modeling_deepseek_v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3

torch.set_num_threads(1)

SAFE_MARGIN = 1e-4
PROJECTIONS = 6
MASK64 = (1 << 64) - 1


# --- Weights ------------------------------------------------------------------------------------------------


def fnv1a_64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK64
    return value


def philox(seed, stream, count):
    """The first `count` 32-bit numbers of (seed, stream), as Rng of base/rng.h gives them."""
    blocks = (count + 3) // 4
    index = np.arange(blocks, dtype=np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    c = [index & mask, index >> shift]
    c += [np.full(blocks, stream & 0xFFFFFFFF, np.uint64), np.full(blocks, stream >> 32, np.uint64)]
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c[0]
        product1 = np.uint64(0xCD9E8D57) * c[2]
        c = [
            (product1 >> shift) ^ c[1] ^ np.uint64(key0),
            product1 & mask,
            (product0 >> shift) ^ c[3] ^ np.uint64(key1),
            product0 & mask,
        ]
        key0 = (key0 + 0x9E3779B9) & 0xFFFFFFFF
        key1 = (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=1).reshape(-1)[:count].astype(np.uint32)


def centred(seed, name, count):
    """Uniform in [-0.5, 0.5), 24 bits, exact in f32."""
    return (philox(seed, fnv1a_64(name), count) >> 8).astype(np.float64) * 2.0**-24 - 0.5


def distribution(name, shape):
    """(offset, scale) of a parameter."""
    if name.endswith("e_score_correction_bias"):
        return 0.0, 0.5
    if name.endswith(".bias"):
        return 0.0, 1.0
    if len(shape) == 1:
        return 1.0, 1.0  # a norm
    if name == "model.embed_tokens.weight":
        return 0.0, 2.0
    if name.endswith("mlp.gate.weight"):
        return 0.0, 1.0  # the router
    scale = 4.0  # a matrix: the largest power of two that keeps the variance near 1 / fan-in
    while scale * scale * shape[-1] > 24.0:
        scale /= 2.0
    return 0.0, scale


def parameter(seed, name, shape):
    offset, scale = distribution(name, shape)
    values = centred(seed, name, math.prod(shape)) * scale + offset
    return torch.from_numpy(values.astype(np.float32)).to(torch.float64).reshape(shape)


# --- Configurations -----------------------------------------------------------------------------------------

YARN = {
    "factor": 40.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}
YARN_UNEQUAL = dict(YARN, factor=8.0, mscale=1.0, mscale_all_dim=0.707, beta_fast=16, beta_slow=2)
YARN_PLAIN = {"factor": 4.0, "original_max_position_embeddings": 32}

# What each configuration is there for; sizes are random.
CASES = [
    # name, family, overrides, has gradients
    ("v3_plain", 3, dict(), True),
    ("v3_groups_2", 3, dict(n_group=2, topk_group=1), False),
    ("v3_groups_4_of_2", 3, dict(n_group=4, topk_group=2, n_routed_experts=16), True),
    ("v3_groups_4_of_3", 3, dict(n_group=4, topk_group=3, n_routed_experts=12, num_experts_per_tok=4), False),
    ("v3_no_q_lora", 3, dict(q_lora_rank=None), False),
    ("v3_no_q_lora_yarn", 3, dict(q_lora_rank=None, rope_scaling=dict(YARN, type="yarn")), False),
    ("v3_yarn_old", 3, dict(rope_scaling=dict(YARN, type="yarn"), rope_theta=500.0), True),
    ("v3_yarn_new", 3, dict(rope_parameters=dict(YARN, rope_type="yarn", rope_theta=500.0)), False),
    ("v3_yarn_unequal", 3, dict(rope_scaling=dict(YARN_UNEQUAL, type="yarn")), False),
    ("v3_yarn_plain", 3, dict(rope_parameters=dict(YARN_PLAIN, rope_type="yarn", rope_theta=1000.0)), False),
    ("v3_default_rope_new", 3, dict(rope_parameters=dict(rope_type="default", rope_theta=2000.0)), False),
    ("v3_half_rope", 3, dict(rope_interleave=False), True),
    ("v3_half_rope_yarn", 3, dict(rope_interleave=False, rope_scaling=dict(YARN, type="yarn")), False),
    ("v3_shared_0", 3, dict(n_shared_experts=0), False),
    ("v3_shared_2", 3, dict(n_shared_experts=2, first_k_dense_replace=0), False),
    ("v3_dense_2", 3, dict(first_k_dense_replace=2, num_hidden_layers=3), False),
    ("v3_all_dense", 3, dict(first_k_dense_replace=2, num_hidden_layers=2), False),
    ("v3_tied", 3, dict(tie_word_embeddings=True), True),
    ("v3_unnormalised", 3, dict(norm_topk_prob=False, routed_scaling_factor=1.0), False),
    ("v3_attention_bias", 3, dict(attention_bias=True), True),
    ("v3_eps", 3, dict(rms_norm_eps=1e-2), False),
    ("v3_mtp_1", 3, dict(num_nextn_predict_layers=1, n_group=2, topk_group=1), True),
    ("v3_mtp_2_tied", 3, dict(num_nextn_predict_layers=2, tie_word_embeddings=True), True),
    ("v2_greedy", 2, dict(topk_method="greedy", norm_topk_prob=False), True),
    ("v2_greedy_no_q_lora", 2, dict(topk_method="greedy", q_lora_rank=None, n_shared_experts=2), False),
    ("v2_group_2", 2, dict(topk_method="group_limited_greedy", n_group=2, topk_group=1), False),
    (
        "v2_group_4_of_2_yarn",
        2,
        dict(
            topk_method="group_limited_greedy",
            n_group=4,
            topk_group=2,
            n_routed_experts=16,
            rope_scaling=dict(YARN_UNEQUAL, type="yarn", mscale=0.707),
        ),
        True,
    ),
    ("v2_dense_0_tied", 2, dict(first_k_dense_replace=0, tie_word_embeddings=True, attention_bias=True), False),
    ("v2_shared_0_scaled", 2, dict(n_shared_experts=0, routed_scaling_factor=16.0), False),
    ("v2_yarn_new", 2, dict(rope_parameters=dict(YARN, rope_type="yarn", rope_theta=300.0)), False),
]


def make_config(rng, family, overrides):
    config = {
        "architectures": [f"DeepseekV{family}ForCausalLM"],
        "model_type": f"deepseek_v{family}",
        "vocab_size": rng.choice([40, 47, 56]),
        "hidden_size": rng.choice([24, 32, 40]),
        "intermediate_size": rng.choice([24, 44]),
        "moe_intermediate_size": rng.choice([8, 12, 20]),
        "num_hidden_layers": 2,
        "num_attention_heads": rng.choice([2, 4]),
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "initializer_range": 0.02,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "q_lora_rank": rng.choice([12, 20]),
        "kv_lora_rank": rng.choice([8, 16, 20]),
        "qk_nope_head_dim": rng.choice([6, 8, 12]),
        "qk_rope_head_dim": rng.choice([4, 8]),
        "v_head_dim": rng.choice([6, 8, 10]),
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "tie_word_embeddings": False,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "num_experts_per_tok": rng.choice([2, 3]),
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": family == 3,
        "routed_scaling_factor": 2.5 if family == 3 else 1.0,
        "scoring_func": "sigmoid" if family == 3 else "softmax",
        "topk_method": "noaux_tc" if family == 3 else "greedy",
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32",
    }
    config["num_key_value_heads"] = config["num_attention_heads"]
    if family == 3:
        config["num_nextn_predict_layers"] = 0
        config["rope_interleave"] = True
    config.update(overrides)
    if "rope_parameters" in config:
        del config["rope_theta"], config["rope_scaling"]
    return config


# --- transformers' classes ----------------------------------------------------------------------------------


class Float64Torch(types.SimpleNamespace):
    """`torch` whose float32 is float64."""

    float32 = torch.float64
    float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def in_float64(on):
    for module in (modeling_deepseek_v2, modeling_deepseek_v3):
        module.torch = Float64Torch() if on else torch


def build(config):
    family = 2 if config["model_type"] == "deepseek_v2" else 3
    config_class = DeepseekV2Config if family == 2 else DeepseekV3Config
    model_class = DeepseekV2ForCausalLM if family == 2 else DeepseekV3ForCausalLM
    hf_config = config_class.from_dict(config)
    hf_config._attn_implementation = "eager"
    hf_config._experts_implementation = "eager"
    return model_class(hf_config).eval(), hf_config


def build_mtp(hf_config, count):
    """MTP modules as transformers' MtpModel makes them: every block is a MoE."""
    if count == 0:
        return torch.nn.ModuleList()
    mtp_config = hf_config.get_mtp_config()
    layer_class = modeling_deepseek_v3.DeepseekV3DecoderLayer
    norm_class = modeling_deepseek_v3.DeepseekV3RMSNorm
    return torch.nn.ModuleList([MtpLayer(mtp_config, layer_class, norm_class, k) for k in range(count)])


class Leaves:
    """Checkpoint-named float64 parameters, and the modules that use them."""

    def __init__(self, seed):
        self.seed = seed
        self.by_name = {}

    def make(self, name, shape):
        if name not in self.by_name:
            self.by_name[name] = parameter(self.seed, name, tuple(shape)).requires_grad_()
        return self.by_name[name]

    def for_module(self, module, prefix):
        """{name within `module`: tensor} for functional_call; experts are stacked from their own leaves."""
        result = {}
        for name, value in list(module.named_parameters()) + list(module.named_buffers()):
            if name.endswith("inv_freq"):
                continue
            if value.numel() == 0:  # no shared experts: matrices of no rows, which no checkpoint holds
                result[name] = value.to(torch.float64)
                continue
            checkpoint = prefix(name)
            if name.endswith("experts.gate_up_proj"):
                experts, double, hidden = value.shape
                base = checkpoint.removesuffix("gate_up_proj")
                result[name] = torch.stack(
                    [
                        torch.cat(
                            [
                                self.make(f"{base}{e}.{part}_proj.weight", (double // 2, hidden))
                                for part in ("gate", "up")
                            ]
                        )
                        for e in range(experts)
                    ]
                )
            elif name.endswith("experts.down_proj"):
                base = checkpoint.removesuffix("down_proj")
                result[name] = torch.stack(
                    [self.make(f"{base}{e}.down_proj.weight", value.shape[1:]) for e in range(value.shape[0])]
                )
            else:
                result[name] = self.make(checkpoint, value.shape)
        return result


def mtp_prefix(layer):
    def rename(name):
        if name == "post_norm.weight":
            return f"model.layers.{layer}.shared_head.norm.weight"
        return f"model.layers.{layer}." + name.removeprefix("mtp_block.")

    return rename


class RouterTap:
    """Collects every router's logits and choice during a forward."""

    def __init__(self, modules):
        self.calls = []
        kinds = (modeling_deepseek_v2.DeepseekV2TopkRouter, modeling_deepseek_v3.DeepseekV3TopkRouter)
        for module in modules:
            for part in module.modules():
                if isinstance(part, kinds):
                    part.register_forward_hook(self.hook)

    def hook(self, module, args, output):
        logits, _, indices = output
        bias = getattr(module, "e_score_correction_bias", None)
        self.calls.append((logits, indices, bias))

    def take(self):
        calls, self.calls = self.calls, []
        return calls


def gap(scores, k):
    """Distance between the last score that is taken and the first that is not; infinite when all are."""
    ordered = scores.sort(dim=-1, descending=True).values
    if k >= scores.shape[-1]:
        return math.inf
    return (ordered[..., k - 1] - ordered[..., k]).min().item()


def routing_margin(config, logits, bias):
    sigmoid = config["scoring_func"] == "sigmoid"
    affinity = logits.sigmoid() if sigmoid else logits.softmax(-1)
    score = affinity + bias if bias is not None else affinity
    groups = config["n_group"] if config["topk_method"] != "greedy" else 1
    by_group = score.view(len(score), groups, -1)
    group_score = by_group.topk(2, -1).values.sum(-1) if sigmoid else by_group.max(-1).values
    kept = group_score.topk(config["topk_group"] if groups > 1 else 1, -1).indices
    allowed = torch.zeros_like(group_score, dtype=torch.bool).scatter_(1, kept, True)
    masked = by_group.masked_fill(~allowed[..., None], -math.inf).view(len(score), -1)
    margin = min(gap(masked, config["num_experts_per_tok"]), gap(affinity, config["num_experts_per_tok"]))
    return min(margin, gap(group_score, config["topk_group"]) if groups > 1 else math.inf)


def balance_loss(config, logits):
    """The sequence-wise loss of one sequence and layer (equations 17 to 20), before its factor."""
    top_k, experts = config["num_experts_per_tok"], config["n_routed_experts"]
    affinity = logits.sigmoid() if config["scoring_func"] == "sigmoid" else logits.softmax(-1)
    chosen = torch.zeros_like(affinity).scatter_(1, affinity.topk(top_k, -1).indices, 1.0)
    frequency = chosen.mean(0) * experts / top_k
    probability = (affinity / affinity.sum(-1, keepdim=True)).mean(0)
    return (frequency * probability).sum()


# --- One case -----------------------------------------------------------------------------------------------


def run_case(name, config, seed, rng, with_gradients):
    """The golden record of a case and its arrays, or None when a routing choice is too close to call."""
    depth = config.get("num_nextn_predict_layers", 0)
    model, hf_config = build(config)
    mtp = build_mtp(hf_config, depth)
    leaves = Leaves(seed)
    tied = config["tie_word_embeddings"]
    weights = leaves.for_module(
        model, lambda n: "model.embed_tokens.weight" if tied and n == "lm_head.weight" else n
    )
    head = leaves.by_name["model.embed_tokens.weight" if tied else "lm_head.weight"]
    layers = config["num_hidden_layers"]
    mtp_weights = [leaves.for_module(mtp[k], mtp_prefix(layers + k)) for k in range(depth)]

    lengths = [rng.randint(9, 13), rng.randint(5, 8)]
    streams = [[rng.randrange(config["vocab_size"]) for _ in range(length + 1)] for length in lengths]
    tap = RouterTap([model, *mtp])

    in_float64(True)
    torch.set_default_dtype(torch.float64)
    logits, routing, balances, cross_entropy = [], [], [], [[] for _ in range(depth + 1)]
    targets_of = []
    margin = math.inf
    for stream in streams:
        tokens = torch.tensor([stream[:-1]])
        targets = torch.tensor(stream[1:])
        targets[2] = -1  # a position without a loss
        targets_of.append(targets.tolist())
        output = torch.func.functional_call(
            model, weights, kwargs=dict(input_ids=tokens, use_cache=False, output_hidden_states=True)
        )
        logits.append(output.logits[0])
        hidden = output.hidden_states[-1]  # after the final norm
        assert torch.allclose(torch.nn.functional.linear(hidden, head), output.logits)
        cross_entropy[0].append((logits[-1], targets))
        main_calls = tap.take()

        for k in range(1, depth + 1):
            length = len(stream) - 1 - k
            embedding = torch.nn.functional.embedding(
                tokens[:, k:], leaves.by_name["model.embed_tokens.weight"]
            )
            positions = torch.arange(length)[None]
            mask = torch.full((1, 1, length, length), -math.inf).triu(1)
            hidden = torch.func.functional_call(
                mtp[k - 1],
                mtp_weights[k - 1],
                kwargs=dict(
                    inputs_embeds=embedding,
                    previous_hidden_state=hidden[:, :length],
                    position_embeddings=model.model.rotary_emb(embedding, positions),
                    attention_mask=mask,
                    position_ids=positions,
                    cache=None,
                ),
            )
            mtp_logits = torch.nn.functional.linear(hidden, head)
            cross_entropy[k].append((mtp_logits[0], targets[k:]))
        calls = main_calls + tap.take()
        for call_logits, _, bias in calls:
            margin = min(margin, routing_margin(config, call_logits.detach(), bias))
        routing.append([call[1].sort(-1).values.tolist() for call in main_calls])
        balances.append(sum(balance_loss(config, call[0]) for call in calls) if calls else torch.zeros(()))
    in_float64(False)
    torch.set_default_dtype(torch.float32)
    if margin < SAFE_MARGIN:
        return None

    check_unmodified(config, weights, streams, logits)
    record = {
        "name": name,
        "seed": seed,
        "config": config,
        "sequences": [stream[:-1] for stream in streams],
        "routing": routing,  # [sequence][MoE layer][token]: the chosen experts in ascending order
    }
    arrays = [np.concatenate([part.detach().numpy().ravel() for part in logits])]
    if with_gradients:
        record["targets"] = targets_of
        record["factors"] = {"mtp": 0.3, "balance": 0.05}  # balance far above training's, to be seen
        means = []
        for parts in cross_entropy:
            total = sum(
                torch.nn.functional.cross_entropy(part, wanted, ignore_index=-1, reduction="sum")
                for part, wanted in parts
            )
            means.append(total / sum((wanted >= 0).sum().item() for _, wanted in parts))
        balance = sum(balances) / len(balances)
        loss = means[0] + record["factors"]["balance"] * balance
        if depth:
            loss = loss + record["factors"]["mtp"] * sum(means[1:]) / depth
        loss.backward()
        record["losses"] = {
            "main": means[0].item(),
            "mtp": [mean.item() for mean in means[1:]],
            "balance": balance.item(),
            "total": loss.item(),
        }
        record["gradients"] = []
        digests = []
        for parameter_name, leaf in leaves.by_name.items():
            if parameter_name.endswith("e_score_correction_bias"):
                continue  # it selects only: no gradient reaches it
            gradient = leaf.grad.numpy().ravel() if leaf.grad is not None else np.zeros(leaf.numel())
            record["gradients"].append(parameter_name)
            digests.append(np.linalg.norm(gradient))
            for p in range(PROJECTIONS):
                digests.append(gradient @ centred(seed, f"projection {p} of {parameter_name}", gradient.size))
        arrays.append(np.array(digests))
    return record, arrays


def check_unmodified(config, weights, streams, expected):
    model, _ = build(config)
    single = {name: value.detach().float() for name, value in weights.items()}
    for stream, wanted in zip(streams, expected):
        with torch.no_grad():
            got = torch.func.functional_call(model, single, kwargs=dict(input_ids=torch.tensor([stream[:-1]])))
        error = (got.logits[0] - wanted).abs().max() / wanted.abs().max()
        assert error < 2e-5, f"f32 transformers differs from float64 by {error:.1e}"


def main():
    folder = pathlib.Path(__file__).parent
    rng = random.Random(20241227)
    records, blob = [], []
    for ordinal, (name, family, overrides, with_gradients) in enumerate(CASES):
        config = make_config(rng, family, overrides)
        for attempt in range(200):
            case = run_case(name, config, 1000 * (ordinal + 1) + attempt, rng, with_gradients)
            if case is not None:
                break
        else:
            raise SystemExit(f"{name}: every seed has a choice of experts that is too close to call")
        record, arrays = case
        offset = sum(len(array) for array in blob)
        record["logits_offset"] = offset
        blob.append(arrays[0].astype("<f4"))
        if with_gradients:
            record["gradients_offset"] = offset + len(arrays[0])
            blob.append(arrays[1].astype("<f4"))
        records.append(record)
        print(f"{name}: seed {record['seed']}, largest logit {abs(arrays[0]).max():.2f}")
    goldens = {
        "made_by": "make_transformer_goldens.py",
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "projections": PROJECTIONS,
        "cases": records,
    }
    with open(folder / "transformer_goldens.json", "w") as file:
        file.write("{\n")
        for key, value in goldens.items():
            if key != "cases":
                file.write(f"{json.dumps(key)}: {json.dumps(value)},\n")
        file.write('"cases": [\n')
        file.write(",\n".join(json.dumps(record, separators=(",", ":")) for record in records))
        file.write("\n]}\n")
    np.concatenate(blob).tofile(folder / "transformer_goldens.bin")


if __name__ == "__main__":
    main()
