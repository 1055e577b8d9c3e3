"""The demo's training run done by PyTorch: transformers' DeepseekV3ForCausalLM (f32, no MTP module, which it does not
train), the same token shards, batch, schedule, optimizer and bias balancing. Prints the held-out loss that it reaches.

Needs torch, transformers, numpy, and the demo's data (`make demo`, or its first two steps).

usage: python3 bench/demo_peer.py configs/demo.json demo-run/data [--threads 2] [--steps N]
"""

import argparse
import json
import math
import pathlib
import time

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("config")
parser.add_argument("data")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int)
parser.add_argument("--experts", default="grouped_mm", choices=["eager", "grouped_mm"])
args = parser.parse_args()

import torch
import torch.nn.functional as F
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

torch.set_num_threads(args.threads)
torch.manual_seed(1)


def read_shard(path):
    """The tokens of a shard (src/train/token_shards.h has the format)."""
    raw = path.read_bytes()
    width = int.from_bytes(raw[12:16], "little")
    count = int.from_bytes(raw[-32:-24], "little")
    return np.frombuffer(raw, dtype="<u2" if width == 2 else "<u4", count=count, offset=32).astype(np.int64)


data = pathlib.Path(args.data)
manifest = json.loads((data / "manifest.json").read_text())
splits = {name: np.concatenate([read_shard(data / shard["file"]) for shard in manifest["splits"][name]["shards"]])
          for name in ("train", "held_out")}

values = json.loads(pathlib.Path(args.config).read_text())
training = values.pop("training")
values.pop("num_nextn_predict_layers", None)
steps = args.steps or training["steps"]
length = training["sequence_length"]
batch = training["batch_size"]
peak = training["learning_rate"]
floor = peak * training.get("final_learning_rate_factor", 0.1)
warmup = training.get("warmup_steps", 0)
decay = training.get("decay_steps", steps - warmup)


def learning_rate(step):
    if step < warmup:
        return peak * (step + 1) / warmup
    if step < steps - decay:
        return peak
    done = (step - (steps - decay) + 1) / decay
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * done))


model = DeepseekV3ForCausalLM(DeepseekV3Config(**values))
model.set_experts_implementation(args.experts)
decayed = [p for p in model.parameters() if p.dim() > 1]
others = [p for p in model.parameters() if p.dim() <= 1]
optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": training.get("weight_decay", 0.1)},
                               {"params": others, "weight_decay": 0.0}], betas=(0.9, 0.95))

loads = {}


def count_load(gate, inputs, outputs):
    loads[gate] = torch.bincount(outputs[2].flatten(), minlength=values["n_routed_experts"]).float()


gates = [m for m in model.modules() if hasattr(m, "e_score_correction_bias")]
for gate in gates:
    gate.register_forward_hook(count_load)

order = np.random.default_rng(1).permutation((len(splits["train"]) - 1) // length)
start = time.perf_counter()
for step in range(steps):
    rows = [order[(step * batch + i) % len(order)] * length for i in range(batch)]
    ids = torch.from_numpy(np.stack([splits["train"][r:r + length + 1] for r in rows]))
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step)
    loss = F.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), training.get("gradient_clip", 1.0))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        for gate in gates:
            gate.e_score_correction_bias += training.get("router_bias_update_rate", 1e-3) * torch.sign(
                loads[gate].mean() - loads[gate])
    if step % 50 == 49:
        print(f"step {step + 1}/{steps} loss {loss.item():.3f} {(time.perf_counter() - start) / (step + 1):.2f} s/step",
              flush=True)
seconds = time.perf_counter() - start

model.eval()
held_out = torch.from_numpy(splits["held_out"])
nats = 0.0
with torch.no_grad():
    for begin in range(0, len(held_out) - 1, length):
        piece = held_out[begin:begin + length + 1]
        logits = model(piece[None, :-1]).logits[0]
        nats += F.cross_entropy(logits, piece[1:], reduction="sum").item()
print(json.dumps({"peer": f"pytorch {torch.__version__}, transformers DeepseekV3, {args.experts}", "steps": steps,
                  "seconds": seconds, "tokens_per_second": steps * batch * length / seconds,
                  "held_out_nats_per_token": nats / (len(held_out) - 1),
                  "held_out_bits_per_byte": nats / math.log(2) / manifest["splits"]["held_out"]["bytes"]}))
