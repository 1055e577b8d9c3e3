"""Training speed and memory of PyTorch on the model of bench/train_bench: transformers' DeepseekV3ForCausalLM,
AdamW.

Needs torch and transformers. Prints one JSON line per way of running it, each in a process of its own so that its
peak memory is its own; the fastest way is the peer.

usage: python3 bench/train_peer.py CONFIG.json [--precision f32|bf16] [--compile] [--batch 4] [--length 512]
                                   [--steps 4] [--threads 2]
"""

import argparse
import itertools
import json
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("config")
parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
parser.add_argument("--compile", action="store_true", help="also what torch.compile makes of every way")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--length", type=int, default=512)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--way", help="one way only, in this process: EXPERTS,PRECISION,eager|compiled")
args = parser.parse_args()


def peak_bytes():
    """The most memory that this process has had at once."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def run(experts, precision, how):
    import torch
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    libraries = peak_bytes()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    with open(args.config) as file:
        values = json.load(file)
    values = {k: v for k, v in values.items() if k not in ("training", "num_nextn_predict_layers")}
    model = DeepseekV3ForCausalLM(DeepseekV3Config(**values))
    if precision == "to_bf16":
        model = model.to(torch.bfloat16)
    model.set_experts_implementation(experts)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    tokens = torch.randint(0, values["vocab_size"], (args.batch, args.length + 1))

    def loss_of(tokens):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
            logits = model(tokens[:, :-1]).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())

    if how == "compiled":
        loss_of = torch.compile(loss_of)
    times = []
    for _ in range(args.steps):
        start = time.perf_counter()
        loss = loss_of(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
    best = min(times[1:])
    return {
        "peer": "pytorch " + torch.__version__,
        "step_seconds": best,
        "tokens_per_second": args.batch * args.length / best,
        "peak_bytes": peak_bytes(),
        "library_bytes": libraries,
        "loss": loss.item(),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


if args.way:
    try:
        result = run(*args.way.split(","))
    except Exception as error:  # a way of running that this build or machine lacks
        result = {"error": str(error).splitlines()[0][:200]}
    print(json.dumps({"way": args.way, **result}), flush=True)
else:
    experts = ("eager", "grouped_mm")  # batched_mm copies weights per token: it runs out of memory
    precisions = ("f32",) if args.precision == "f32" else ("autocast", "to_bf16")
    hows = ("eager", "compiled") if args.compile else ("eager",)
    for way in itertools.product(experts, precisions, hows):
        subprocess.run([sys.executable, *sys.argv, "--way", ",".join(way)], check=False)
