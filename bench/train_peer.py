"""Training speed of PyTorch on the model of bench/train_bench: transformers' DeepseekV3ForCausalLM, f32, AdamW.

Needs torch and transformers. Prints one JSON line per way of running the experts; the fastest one is the peer.

usage: python3 bench/train_peer.py CONFIG.json [--batch 4] [--length 512] [--steps 4] [--threads 2]
"""

import argparse
import json
import time

parser = argparse.ArgumentParser()
parser.add_argument("config")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--length", type=int, default=512)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

torch.set_num_threads(args.threads)
with open(args.config) as file:
    values = json.load(file)
values = {k: v for k, v in values.items() if k not in ("training", "num_nextn_predict_layers")}

for experts in ("eager", "grouped_mm"):  # batched_mm copies weights per token: it runs out of memory
    torch.manual_seed(1)
    try:
        model = DeepseekV3ForCausalLM(DeepseekV3Config(**values))
        model.set_experts_implementation(experts)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
        tokens = torch.randint(0, values["vocab_size"], (args.batch, args.length + 1))
        times = []
        for step in range(args.steps):
            start = time.perf_counter()
            logits = model(tokens[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            times.append(time.perf_counter() - start)
        best = min(times[1:])
        print(json.dumps({"peer": "pytorch " + torch.__version__, "experts": experts, "step_seconds": best,
                          "tokens_per_second": args.batch * args.length / best, "loss": loss.item(),
                          "parameters": sum(p.numel() for p in model.parameters())}), flush=True)
    except Exception as error:  # a way of running that this build or machine lacks
        print(json.dumps({"experts": experts, "error": str(error).splitlines()[0][:200]}), flush=True)
