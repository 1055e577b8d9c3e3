"""Writes a GGUF model of random weights at the sizes of a real one: for measurements of speed, memory and loading. All of
Fathom, llama.cpp and ik_llama.cpp read it. Its text is nonsense.

Matrices are normal with the deviation that keeps activations of order one, 1/sqrt(inputs); the down and output
projections are smaller by sqrt(2 layers), as in trained models. A type of blocks is filled by quantising one such
matrix and repeating its blocks in another order, so that a file of any size takes as long as writing it.

usage: python make_synthetic_checkpoint.py CONFIG.json VOCABULARY.gguf OUT.gguf [--type Q4_0] [--layers N] [--experts N]
           [--expert-type Q4_0] [--kv-b split|whole]
    CONFIG.json      as Hugging Face has it: deepseek_v2, deepseek_v3, kimi_k2
    VOCABULARY.gguf  any GGUF with a tokenizer; ids beyond it are filled up
    --layers, --experts  cut the model down; sizes of each layer stay
(needs numpy and gguf 0.18 or newer)
"""

import argparse
import json
import math

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T, GGUFReader, GGUFWriter
from gguf.quants import quantize

# A prime number of the largest blocks: rows then begin at any place of the pool. Were rows to repeat within a matrix, all
# tokens would be alike and choose the same experts.
POOL_VALUES = 256 * 16411


def field_values(reader: GGUFReader, key: str) -> list:
    field = reader.fields[key]
    return field.contents()


class Pools:
    """Values and stored blocks to draw from, one pool per type and deviation."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.pools: dict = {}

    def matrix(self, kind: T, shape: tuple[int, ...], deviation: float) -> np.ndarray:
        """Stored bytes of a tensor, [..., bytes of a row]."""
        values, size = GGML_QUANT_SIZES[kind]
        blocks = math.prod(shape) // values
        if values == 1:
            pool = self.pools.setdefault(T.F32, self.rng.standard_normal(POOL_VALUES, dtype=np.float32))
            data = np.resize(np.roll(pool, int(self.rng.integers(len(pool)))), blocks) * np.float32(deviation)
            return quantize(data.reshape(shape), kind).view(np.uint8)
        pool = self.scaled(kind, deviation)
        start = int(self.rng.integers(len(pool)))
        return np.resize(np.roll(pool, start, axis=0), (blocks, size)).reshape(*shape[:-1], -1)

    def scaled(self, kind: T, deviation: float) -> np.ndarray:
        key = (kind, round(deviation, 12))
        if key not in self.pools:
            values, _ = GGML_QUANT_SIZES[kind]
            normal = self.rng.standard_normal(POOL_VALUES, dtype=np.float32).reshape(-1, values)
            self.pools[key] = quantize(normal * np.float32(deviation), kind).reshape(len(normal), -1)
        return self.pools[key]


def rope_keys(writer: GGUFWriter, config: dict) -> None:
    writer.add_rope_dimension_count(config["qk_rope_head_dim"])
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    scaling = config.get("rope_scaling")
    if not scaling:
        return
    writer.add_string("deepseek2.rope.scaling.type", "yarn")
    writer.add_rope_scaling_factor(scaling["factor"])
    writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_log_mul(0.1 * scaling["mscale_all_dim"])


def config_keys(writer: GGUFWriter, config: dict, split: bool) -> None:
    heads, latent = config["num_attention_heads"], config["kv_lora_rank"]
    key, value = config["qk_nope_head_dim"] + config["qk_rope_head_dim"], config["v_head_dim"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(1 if split else heads)
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-6))
    writer.add_vocab_size(config["vocab_size"])
    if config.get("q_lora_rank"):
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_kv_lora_rank(latent)
    writer.add_key_length(latent + config["qk_rope_head_dim"] if split else key)
    writer.add_value_length(latent if split else value)
    if split:
        writer.add_key_length_mla(key)
        writer.add_value_length_mla(value)
    writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    writer.add_expert_count(config["n_routed_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_shared_count(config["n_shared_experts"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_expert_weights_scale(config.get("routed_scaling_factor", 1.0))
    sigmoid = config.get("scoring_func", "softmax") == "sigmoid"
    writer.add_uint32("deepseek2.expert_gating_func", 2 if sigmoid else 1)
    if sigmoid and config.get("norm_topk_prob"):
        writer.add_expert_weights_norm(True)
    if config.get("n_group", 1) and config.get("n_group", 1) > 1:
        writer.add_uint32("deepseek2.expert_group_count", config["n_group"])
        writer.add_uint32("deepseek2.expert_group_used_count", config["topk_group"])
    rope_keys(writer, config)


def tokenizer_keys(writer: GGUFWriter, vocabulary: str, size: int) -> None:
    reader = GGUFReader(vocabulary)
    tokens, kinds = field_values(reader, "tokenizer.ggml.tokens")[:size], field_values(reader, "tokenizer.ggml.token_type")
    kinds = kinds[:size] + [5] * (size - len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(field_values(reader, "tokenizer.ggml.pre"))
    writer.add_token_list(tokens + [f"[PAD{i}]" for i in range(len(tokens), size)])
    writer.add_token_types(kinds)
    writer.add_token_merges(field_values(reader, "tokenizer.ggml.merges"))
    writer.add_bos_token_id(int(field_values(reader, "tokenizer.ggml.bos_token_id")))
    writer.add_eos_token_id(int(field_values(reader, "tokenizer.ggml.eos_token_id")))


def tensors(config: dict, split: bool):
    """(name, shape, kind: matrix, expert, router or norm, deviation) in the order of the file."""
    hidden, latent, heads = config["hidden_size"], config["kv_lora_rank"], config["num_attention_heads"]
    nope, rope, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    layers, experts, moe = config["num_hidden_layers"], config["n_routed_experts"], config["moe_intermediate_size"]
    narrow = 1 / math.sqrt(2 * layers)

    def matrix(name: str, *shape: int, kind: str = "matrix", factor: float = 1.0):
        return name + ".weight", shape, kind, factor / math.sqrt(shape[-1])

    def norm(name: str, size: int):
        return name + ".weight", (size,), "norm", 1.0

    yield "token_embd.weight", (config["vocab_size"], hidden), "matrix", 1.0
    yield norm("output_norm", hidden)
    yield matrix("output", config["vocab_size"], hidden)
    for i in range(layers):
        b = f"blk.{i}."
        yield norm(b + "attn_norm", hidden)
        if config.get("q_lora_rank"):
            yield matrix(b + "attn_q_a", config["q_lora_rank"], hidden)
            yield norm(b + "attn_q_a_norm", config["q_lora_rank"])
            yield matrix(b + "attn_q_b", heads * (nope + rope), config["q_lora_rank"])
        else:
            yield matrix(b + "attn_q", heads * (nope + rope), hidden)
        yield matrix(b + "attn_kv_a_mqa", latent + rope, hidden)
        yield norm(b + "attn_kv_a_norm", latent)
        if split:
            yield b + "attn_k_b.weight", (heads, latent, nope), "matrix", 1 / math.sqrt(latent)
            yield matrix(b + "attn_v_b", heads, value, latent)
        else:
            yield matrix(b + "attn_kv_b", heads * (nope + value), latent)
        yield matrix(b + "attn_output", hidden, heads * value, factor=narrow)
        yield norm(b + "ffn_norm", hidden)
        if i < config["first_k_dense_replace"]:
            yield matrix(b + "ffn_gate", config["intermediate_size"], hidden)
            yield matrix(b + "ffn_up", config["intermediate_size"], hidden)
            yield matrix(b + "ffn_down", hidden, config["intermediate_size"], factor=narrow)
            continue
        yield b + "ffn_gate_inp.weight", (experts, hidden), "router", 1 / math.sqrt(hidden)
        if config.get("scoring_func", "softmax") == "sigmoid":
            yield b + "exp_probs_b.bias", (experts,), "router", 0.01
        yield matrix(b + "ffn_gate_exps", experts, moe, hidden, kind="expert")
        yield matrix(b + "ffn_up_exps", experts, moe, hidden, kind="expert")
        yield matrix(b + "ffn_down_exps", experts, hidden, moe, kind="expert", factor=narrow)
        shared = config["n_shared_experts"] * moe
        yield matrix(b + "ffn_gate_shexp", shared, hidden)
        yield matrix(b + "ffn_up_shexp", shared, hidden)
        yield matrix(b + "ffn_down_shexp", hidden, shared, factor=narrow)


def stored_type(kind: str, wanted: T, shape: tuple[int, ...]) -> T:
    if kind in ("norm", "router"):
        return T.F32
    return wanted if shape[-1] % GGML_QUANT_SIZES[wanted][0] == 0 else T.Q8_0 if shape[-1] % 32 == 0 else T.F16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("vocabulary")
    parser.add_argument("out")
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--expert-type")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--experts", type=int)
    parser.add_argument("--kv-b", choices=("split", "whole"), default="split")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    config = json.load(open(args.config))
    if args.layers:
        config["num_hidden_layers"] = args.layers
        config["first_k_dense_replace"] = min(config["first_k_dense_replace"], args.layers)
    if args.experts:
        config["n_routed_experts"] = args.experts
        config["num_experts_per_tok"] = min(config["num_experts_per_tok"], args.experts)
        if args.experts % config.get("n_group", 1) or args.experts < 2 * config.get("n_group", 1):
            config["n_group"] = config["topk_group"] = 1
    split = args.kv_b == "split"
    types = {"matrix": T[args.type], "expert": T[args.expert_type or args.type], "norm": T.F32, "router": T.F32}
    rng = np.random.default_rng(args.seed)
    pools = Pools(rng)
    writer = GGUFWriter(args.out, "deepseek2")
    writer.add_type("model")
    writer.add_quantization_version(2)
    config_keys(writer, config, split)
    tokenizer_keys(writer, args.vocabulary, config["vocab_size"])
    layout = [(name, shape, stored_type(kind, types[kind], shape), kind, s) for name, shape, kind, s in tensors(config, split)]
    for name, shape, t, _, _ in layout:
        values, size = GGML_QUANT_SIZES[t]
        row = shape[-1] // values * size
        writer.add_tensor_info(name, shape[:-1] + (row,), np.dtype(np.uint8), math.prod(shape[:-1]) * row, raw_dtype=t)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, shape, t, kind, deviation in layout:
        if kind == "norm":
            data = np.ones(shape, np.float32)
        elif kind == "router":
            data = (rng.standard_normal(shape) * deviation).astype(np.float32)
        else:
            data = pools.matrix(t, shape, deviation)
        writer.write_tensor_data(data)
    writer.close()
    print(f"{args.out}: {len(layout)} tensors")


if __name__ == "__main__":
    main()
