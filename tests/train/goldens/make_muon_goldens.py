"""Writes muon.json: Muon's steps on a few matrices, written out in float64, and checked here against torch.optim.Muon.

Inputs are not stored: both sides make them from `values`. torch orthogonalises in BF16, so the two agree to BF16's
rounding grown over five iterations; the script refuses to write when they differ by more than that.

    python make_muon_goldens.py        (torch >= 2.9, numpy)
"""

import json
import math
import pathlib

import numpy as np
import torch

SHAPES = [(6, 6), (5, 9), (12, 4), (3, 17), (1, 8)]
STEPS = 3
LEARNING_RATE, DECAY, MOMENTUM = 0.02, 0.1, 0.95
BF16_AGREEMENT = 0.05  # of the update's size


def values(seed, shape, scale):
    """A hash of the index, uniform in [-scale, scale): `hashed_values` of tests/support/moe_layer.h."""
    h = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint32) * np.uint32(2654435761)
    h ^= np.uint32(seed * 40503 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    h ^= h >> np.uint32(16)
    unit = (h >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return torch.from_numpy((unit * np.float32(scale)).reshape(shape))


def orthogonalised(g):
    x = g / max(g.norm().item(), 1e-7)
    if tall := g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


def steps(shape, seed):
    w = values(seed, shape, 0.5).double()
    m = torch.zeros_like(w)
    for step in range(STEPS):
        g = values(seed + 1 + step, shape, 1.0).double()
        m = MOMENTUM * m + (1 - MOMENTUM) * g
        o = orthogonalised(MOMENTUM * m + (1 - MOMENTUM) * g)
        w = w - LEARNING_RATE * (0.2 * math.sqrt(max(shape)) * o + DECAY * w)
    return w


def torch_steps(shape, seed):
    w = torch.nn.Parameter(values(seed, shape, 0.5))
    muon = torch.optim.Muon([w], lr=LEARNING_RATE, weight_decay=DECAY, momentum=MOMENTUM, nesterov=True,
                            adjust_lr_fn="match_rms_adamw")
    for step in range(STEPS):
        w.grad = values(seed + 1 + step, shape, 1.0)
        muon.step()
    return w.detach().double()


def main():
    cases = []
    for i, shape in enumerate(SHAPES):
        seed = 10 * i + 3
        ours, torchs = steps(shape, seed), torch_steps(shape, seed)
        moved = (ours - values(seed, shape, 0.5).double()).norm()
        difference = ((ours - torchs).norm() / moved).item()
        print(f"{shape}: torch.optim.Muon differs by {difference:.1e} of the movement")
        assert difference < BF16_AGREEMENT, shape
        update = orthogonalised(values(seed, shape, 0.5).double())
        cases.append({"rows": shape[0], "cols": shape[1], "seed": seed,
                      "orthogonalised": update.flatten().tolist(), "weights": ours.flatten().tolist()})
    settings = {"steps": STEPS, "learning_rate": LEARNING_RATE, "weight_decay": DECAY, "momentum": MOMENTUM}
    text = json.dumps(settings | {"cases": cases}, default=float)
    (pathlib.Path(__file__).parent / "muon.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
