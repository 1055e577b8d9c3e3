"""Which experts to keep in memory: shares of uses that are hits, by policy and by how much of all experts fits, on traces of
which experts each token used. A quarter of a trace passes before hits are counted.

    random       any expert goes
    LRU, LFU     the one that was used least recently, or least often, goes
    rate         the one used least of late goes: each use counts half as much after HALF_LIFE more tokens
    rate, turn   the one goes whose next use is farthest: layers / rate + layers until its turn (src/model/expert_cache.h)
    Belady       the one goes whose next use is farthest indeed

The trace "drifting" is made up: 12 layers of 64 experts, 6 used, popularity like Zipf's and topics of some 150 tokens. With
a checkpoint of transformers' DeepseekV3 and a text, also one of what that model does.

usage: python3 bench/expert_policies.py [--half-life 64] [--model FOLDER --text FILE]
(needs numpy; for a model torch, transformers and tokenizers)
"""

import argparse

import numpy as np


def drifting_trace(tokens: int = 1500, layers: int = 12, used: int = 6, experts: int = 64) -> tuple[np.ndarray, int]:
    """[tokens, layers, used]."""
    rng = np.random.default_rng(1)
    popularity = -0.6 * np.log(np.arange(1, experts + 1))
    popularity = np.stack([rng.permutation(popularity) for _ in range(layers)])
    topic = rng.normal(size=(layers, experts))
    keep = np.exp(-1 / 150)
    trace = []
    for _ in range(tokens):
        topic = keep * topic + np.sqrt(1 - keep * keep) * rng.normal(size=(layers, experts))
        score = popularity + 0.8 * topic + rng.gumbel(size=(layers, experts))
        trace.append(np.argsort(-score, axis=1)[:, :used])
    return np.array(trace), experts


def model_trace(folder: str, text: str, window: int = 512, tokens: int = 8192) -> tuple[np.ndarray, int]:
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = Tokenizer.from_file(f"{folder}/tokenizer.json").encode(open(text).read()).ids[:tokens]
    config = model.config
    moe = [layer for i, layer in enumerate(model.model.layers) if i >= config.first_k_dense_replace]
    inputs: dict = {}
    for layer in moe:
        layer.mlp.register_forward_pre_hook(lambda module, args: inputs.__setitem__(module, args[0].detach()))

    def choice(gate, x):
        score = (x.reshape(-1, x.shape[-1]).float() @ gate.weight.float().T).sigmoid() + gate.e_score_correction_bias
        groups = score.view(len(score), config.n_group, -1)
        best = groups.topk(2, -1)[0].sum(-1).topk(config.topk_group, -1)[1]
        allowed = torch.zeros(groups.shape[:2]).scatter_(1, best, 1)[:, :, None].expand_as(groups).reshape(score.shape)
        return score.masked_fill(allowed == 0, -torch.inf).topk(config.num_experts_per_tok, -1)[1]

    trace = []
    with torch.no_grad():
        for begin in range(0, len(ids), window):
            model(torch.tensor([ids[begin:begin + window]]))
            trace.append(np.stack([choice(layer.mlp.gate, inputs[layer.mlp]).numpy() for layer in moe], 1))
    return np.concatenate(trace), config.n_routed_experts


def hit_rate(trace: np.ndarray, experts: int, policy: str, slots: int, half_life: float) -> float:
    tokens, layers, used = trace.shape
    count = layers * experts
    layer_of = np.arange(count) // experts
    decay = 2.0 ** (-1 / half_life)
    weight, touched, last, uses = (np.zeros(count) for _ in range(4))
    cached = np.zeros(count, bool)
    rng = np.random.default_rng(2)
    following = np.full(count, np.inf)  # when each is used next
    next_use = np.zeros((tokens, layers, used))
    for t in range(tokens - 1, -1, -1):
        for l in range(layers - 1, -1, -1):
            ids = l * experts + trace[t, l]
            next_use[t, l] = following[ids]
            following[ids] = t * layers + l
    hits = asked = 0
    for t in range(tokens):
        for l in range(layers):
            ids = l * experts + trace[t, l]
            weight[ids] = weight[ids] * decay ** (t - touched[ids]) + 1
            touched[ids] = t
            uses[ids] += 1
            if t >= tokens // 4:
                hits += int(cached[ids].sum())
                asked += used
            needed = np.zeros(count, bool)
            needed[ids] = True
            for expert in ids[~cached[ids]]:
                if cached.sum() >= slots:
                    others = np.flatnonzero(cached & ~needed)
                    rate = weight[others] * decay ** (t - touched[others]) * (1 - decay)
                    distance = {
                        "random": lambda: rng.random(len(others)),
                        "LRU": lambda: -last[others],
                        "LFU": lambda: -uses[others],
                        "rate": lambda: -rate,
                        "rate, turn": lambda: layers / np.maximum(rate, 1e-9) + (layer_of[others] - l - 1) % layers + 1,
                        "Belady": lambda: following[others],
                    }[policy]()
                    cached[others[np.argmax(distance)]] = False
                cached[expert] = True
            last[ids] = t * layers + l
            following[ids] = next_use[t, l]
    return hits / asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half-life", type=float, default=64)
    parser.add_argument("--model")
    parser.add_argument("--text")
    args = parser.parse_args()
    traces = {"drifting": drifting_trace()}
    if args.model:
        traces["model"] = model_trace(args.model, args.text)
    policies = ["random", "LRU", "LFU", "rate", "rate, turn", "Belady"]
    print(f"{'trace':<10} {'fits':>6}" + "".join(f"{policy:>12}" for policy in policies))
    for name, (trace, experts) in traces.items():
        for share in (0.1, 0.25, 0.5, 0.75):
            slots = max(trace.shape[2], int(share * trace.shape[1] * experts))
            rates = [hit_rate(trace, experts, policy, slots, args.half_life) for policy in policies]
            print(f"{name:<10} {100 * share:>4.0f} %" + "".join(f"{100 * rate:>10.1f} %" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
