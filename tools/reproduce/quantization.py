"""Perplexity of a trained model under each type of blocks: `fathom quantize` beside llama.cpp's quantisers, in the same types
for the same matrices, without and with an importance matrix. `transformers` computes, from values that the `gguf` library
decodes, so neither quantiser is judged by its own code.

usage: python quantization.py FATHOM MODEL DATA LIBGGML_BASE [TYPE...]

MODEL is a checkpoint folder of `fathom train`, DATA the folder it was trained from, LIBGGML_BASE llama.cpp's libggml-base.so.
Needs torch, transformers, safetensors, gguf.
"""

import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
from safetensors.torch import load_file
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

TYPES = ["Q2_K", "Q3_K", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0"]
# What llama.cpp and Fathom take where rows are no whole blocks of 256.
SMALLER = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"}
SEQUENCE, EVALUATED, CALIBRATED, BATCH = 256, 96, 160, 16
PRIOR_TOKENS = 32  # as ImportanceMatrix::kPriorTokens

NAMES = {
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.q_proj": "attn_q",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_b_proj": "attn_kv_b",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}


def gguf_name(name: str) -> str | None:
    """Of a matrix of the model; None for what stays as it is, and for the fused experts, which are taken apart."""
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "lm_head.weight":
        return "output.weight"
    _, _, layer, rest = (name.split(".", 3) + ["", "", ""])[:4]
    short = NAMES.get(rest.removesuffix(".weight"))
    return f"blk.{layer}.{short}.weight" if short else None


class Model:
    """The trained model, its matrices under their GGUF names, [rows, columns] or [experts, rows, columns]."""

    def __init__(self, folder: pathlib.Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        unwanted = ("training", "architectures", "model_type")
        self.config = DeepseekV3Config(**{k: v for k, v in config.items() if k not in unwanted})
        weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
        mtp = tuple(f"model.layers.{self.config.num_hidden_layers + k}." for k in range(8))
        weights = {k: v for k, v in weights.items() if not k.startswith(mtp)}
        experts = range(self.config.n_routed_experts)
        for layer in range(self.config.num_hidden_layers):
            prefix = f"model.layers.{layer}.mlp.experts."
            if prefix + "0.gate_proj.weight" not in weights:
                continue
            parts = {p: torch.stack([weights.pop(f"{prefix}{e}.{p}_proj.weight") for e in experts]) for p in ("gate", "up", "down")}
            weights[prefix + "gate_up_proj"] = torch.cat([parts["gate"], parts["up"]], dim=1)
            weights[prefix + "down_proj"] = parts["down"]
        self.module = DeepseekV3ForCausalLM(self.config).eval().float()
        result = self.module.load_state_dict(weights, strict=False)
        assert not result.missing_keys and not result.unexpected_keys, result
        self.weights = {k: v.clone() for k, v in self.module.state_dict().items()}

    def matrices(self) -> dict[str, torch.Tensor]:
        found = {}
        for name, value in self.weights.items():
            if name.endswith("experts.gate_up_proj"):
                layer = name.split(".")[2]
                gate, up = value.chunk(2, dim=1)
                found[f"blk.{layer}.ffn_gate_exps.weight"], found[f"blk.{layer}.ffn_up_exps.weight"] = gate, up
            elif name.endswith("experts.down_proj"):
                found[f"blk.{name.split('.')[2]}.ffn_down_exps.weight"] = value
            elif (short := gguf_name(name)) is not None:
                found[short] = value
        return found

    def use(self, matrices: dict[str, torch.Tensor]) -> None:
        weights = dict(self.weights)
        for name in weights:
            layer = name.split(".")[2] if name.startswith("model.layers.") else ""
            if name.endswith("experts.gate_up_proj"):
                weights[name] = torch.cat([matrices[f"blk.{layer}.ffn_{p}_exps.weight"] for p in ("gate", "up")], dim=1)
            elif name.endswith("experts.down_proj"):
                weights[name] = matrices[f"blk.{layer}.ffn_down_exps.weight"]
            elif (short := gguf_name(name)) is not None:
                weights[name] = matrices[short]
        self.module.load_state_dict(weights)

    def nats(self, tokens: torch.Tensor) -> torch.Tensor:
        """Mean of each sequence, [sequences]."""
        means = []
        with torch.no_grad():
            for batch in tokens.split(BATCH):
                logits = self.module(batch, use_cache=False).logits[:, :-1]
                loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2).double(), batch[:, 1:], reduction="none")
                means.append(loss.mean(1))
        return torch.cat(means)

    def importance(self, tokens: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Sums of squares of each matrix's inputs, [matrices, columns], and tokens, [matrices]."""
        found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

        def add(name: str, matrices: int, matrix: int, x: torch.Tensor) -> None:
            sums, counts = found.setdefault(name, (torch.zeros(matrices, x.shape[-1], dtype=torch.double), torch.zeros(matrices)))
            sums[matrix] += (x.double() ** 2).sum(0)
            counts[matrix] += x.shape[0]

        def linear(name: str):
            return lambda _, inputs: add(name, 1, 0, inputs[0].reshape(-1, inputs[0].shape[-1]))

        def experts(layer: str):
            def look(module, inputs) -> None:
                hidden = inputs[0].reshape(-1, inputs[0].shape[-1])
                chosen = inputs[1].reshape(hidden.shape[0], -1)
                for e in range(self.config.n_routed_experts):
                    x = hidden[(chosen == e).any(-1)]
                    gate, up = torch.nn.functional.linear(x, module.gate_up_proj[e]).chunk(2, -1)
                    for part, values in (("gate", x), ("up", x), ("down", torch.nn.functional.silu(gate) * up)):
                        add(f"blk.{layer}.ffn_{part}_exps.weight", self.config.n_routed_experts, e, values)

            return look

        hooks = []
        for name, module in self.module.named_modules():
            short = gguf_name(name + ".weight")
            if name.endswith("mlp.experts"):
                hooks.append(module.register_forward_pre_hook(experts(name.split(".")[2])))
            elif isinstance(module, torch.nn.Linear) and short is not None and short != "output.weight":
                hooks.append(module.register_forward_pre_hook(linear(short)))
        with torch.no_grad():
            for batch in tokens.split(BATCH):
                self.module.model(batch, use_cache=False)
        for hook in hooks:
            hook.remove()
        return found


def tokens_of(shard: pathlib.Path, sequences: int) -> torch.Tensor:
    ids = np.frombuffer(shard.read_bytes()[32:], np.uint16)[: sequences * SEQUENCE]
    return torch.from_numpy(ids.astype(np.int64)).reshape(-1, SEQUENCE)


def write_gguf(path: pathlib.Path, tensors: dict[str, np.ndarray], kind: str) -> None:
    writer = gguf.GGUFWriter(path, "deepseek2")
    writer.add_type(kind)
    for name, value in tensors.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def decoded(path: pathlib.Path) -> dict[str, torch.Tensor]:
    reader = gguf.GGUFReader(path)
    return {t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type)) for t in reader.tensors}


def quantised_by_peer(library: ctypes.CDLL, kind: str, matrix: torch.Tensor, importance: np.ndarray | None) -> torch.Tensor:
    number = gguf.GGMLQuantizationType[kind]
    if matrix.shape[-1] % gguf.GGML_QUANT_SIZES[number][0] != 0:
        kind = SMALLER[kind]
        number = gguf.GGMLQuantizationType[kind]
    values, size = gguf.GGML_QUANT_SIZES[number]
    encode = getattr(library, "quantize_" + kind.lower().replace("_k", "_K"))
    encode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    encode.restype = ctypes.c_size_t
    stacked = np.ascontiguousarray(matrix.numpy().reshape(-1, *matrix.shape[-2:]))
    blocks = np.zeros((*stacked.shape[:2], stacked.shape[2] // values * size), dtype=np.uint8)
    for m in range(len(stacked)):
        columns = None if importance is None else np.ascontiguousarray(importance[m if len(importance) > 1 else 0])
        given = None if columns is None else columns.ctypes.data
        encode(stacked[m].ctypes.data, blocks[m].ctypes.data, *stacked[m].shape, given)
    return torch.from_numpy(gguf.quants.dequantize(blocks, number)).reshape(matrix.shape)


def main() -> None:
    fathom, model_folder, data, library = sys.argv[1:5]
    library = ctypes.CDLL(library)
    model = Model(pathlib.Path(model_folder))
    held_out = tokens_of(pathlib.Path(data) / "held_out-00000.tokens", EVALUATED)
    sums = model.importance(tokens_of(pathlib.Path(data) / "train-00000.tokens", CALIBRATED))
    means = {}
    for name, (squares, counts) in sums.items():
        prior = squares.sum(0) / counts.sum()
        means[name] = ((squares + PRIOR_TOKENS * prior) / (counts + PRIOR_TOKENS)[:, None]).float().numpy()

    print(f"F32: perplexity {model.nats(held_out).mean().exp():.4f} of {held_out.numel()} held-out tokens")
    print(f"{'type':8} {'importance':10} {'fathom':>9} {'llama.cpp':>9}   difference, twice its standard error over sequences")
    with tempfile.TemporaryDirectory() as folder:
        source, imatrix, target = (pathlib.Path(folder) / f"{name}.gguf" for name in ("f32", "imatrix", "quantised"))
        write_gguf(source, {name: m.numpy() for name, m in model.matrices().items()}, "model")
        measured = {}
        for name, (squares, counts) in sums.items():
            measured[name + ".in_sum2"] = squares.float().numpy()
            measured[name + ".counts"] = counts.numpy().reshape(-1, 1)
        write_gguf(imatrix, measured, "imatrix")
        for kind in sys.argv[5:] or TYPES:
            for weighted in (False, True):
                command = [fathom, "quantize", source, target, "--type", "Q8_0", "--recipe", f".={kind}"]
                subprocess.run(command + (["--imatrix", imatrix] if weighted else []), check=True, capture_output=True)
                model.use(decoded(target))
                ours = model.nats(held_out)
                model.use({
                    name: quantised_by_peer(library, kind, matrix, means.get(name) if weighted else None)
                    for name, matrix in model.matrices().items()
                })
                theirs = model.nats(held_out)
                more = ours - theirs
                print(
                    f"{kind:8} {'yes' if weighted else 'no':10} {ours.mean().exp():9.4f} {theirs.mean().exp():9.4f}"
                    f"   {100 * more.mean():+.3f} % ± {200 * more.std() / len(more) ** 0.5:.3f} %",
                    flush=True,
                )


main()
