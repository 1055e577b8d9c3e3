"""Policy losses and their gradients by PyTorch's autograd, of made-up rollouts.

usage: python make_policy_loss_goldens.py        (writes policy_losses.json beside this file; needs torch)
"""

import itertools
import json
import pathlib

import torch

LENGTHS = [3, 7, 1, 5, 4, 6]
CONSTANT_LENGTH = 8


def rollouts(generator: torch.Generator, spread: float) -> dict:
    """Answers padded to one length, as batches of trainers have them."""
    mask = torch.arange(max(LENGTHS))[None, :] < torch.tensor(LENGTHS)[:, None]
    shape = mask.shape
    sampled = -torch.rand(shape, generator=generator, dtype=torch.float64) * 3 - 0.05
    current = sampled + spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    reference = sampled + 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    rewards = torch.tensor([1.0, 0.0, 0.25, 1.0, 0.0, 0.5], dtype=torch.float64)
    # What the other side reads is f32.
    current, sampled, reference = (x.float().double() for x in (current, sampled, reference))
    return {"mask": mask, "sampled": sampled, "current": current, "reference": reference, "rewards": rewards}


def loss_of(data: dict, advantages, ratio, weights, clip_low, clip_high, beta, estimator):
    current = data["current"].clone().requires_grad_(True)
    mask = data["mask"].double()
    log_ratio = current - data["sampled"]
    if ratio == "sequence":
        mean = (log_ratio * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True)
        importance = torch.exp(mean).expand_as(log_ratio)
    else:
        importance = torch.exp(log_ratio)
    advantage = advantages[:, None]
    first = importance * advantage
    second = torch.clamp(importance, 1 - clip_low, 1 + clip_high) * advantage
    per_token = -torch.min(first, second)
    delta = data["reference"] - current
    estimates = {"k1": -delta, "k2": delta**2 / 2, "k3": torch.exp(delta) - delta - 1}
    kl = estimates[estimator]
    per_token = (per_token + beta * kl) * mask
    if weights == "sequence_mean":
        loss = (per_token.sum(-1) / mask.sum(-1)).mean()
    elif weights == "token_mean":
        loss = per_token.sum() / mask.sum()
    else:
        loss = per_token.sum() / (len(LENGTHS) * CONSTANT_LENGTH)
    loss.backward()
    clipped = ((second < first).double() * mask).sum() / mask.sum()
    return loss, current.grad, (kl * mask).sum() / mask.sum(), clipped, (importance * mask).sum() / mask.sum()


def rows(x: torch.Tensor) -> list:
    return [row[:length].tolist() for row, length in zip(x, LENGTHS)]


def main() -> None:
    generator = torch.Generator().manual_seed(7)
    goldens = []
    for spread in (0.02, 0.4):
        data = rollouts(generator, spread)
        rewards = data["rewards"]
        advantages = {
            "normalised": (rewards - rewards.mean()) / (rewards.std() + 1e-4),
            "centred": rewards - rewards.mean(),
        }
        cases = []
        settings = itertools.product(
            ("token", "sequence"), ("sequence_mean", "token_mean", "constant_length"), ((0.2, 0.28), (10.0, 10.0))
        )
        for index, (ratio, weights, (low, high)) in enumerate(settings):
            beta, estimator = [(0.0, "k3"), (0.04, "k3"), (0.1, "k1"), (0.1, "k2")][index % 4]
            kind = ("normalised", "centred")[index % 2]
            loss, grad, kl, clipped, mean_ratio = loss_of(
                data, advantages[kind], ratio, weights, low, high, beta, estimator
            )
            cases.append(
                {
                    "ratio": ratio, "weights": weights, "clip_low": low, "clip_high": high, "kl_factor": beta,
                    "kl": estimator, "advantages": kind, "loss": loss.item(), "gradients": rows(grad),
                    "mean_kl": kl.item(), "clipped": clipped.item(), "mean_ratio": mean_ratio.item(),
                }
            )
        goldens.append(
            {
                "rewards": rewards.tolist(),
                "advantages": {kind: values.tolist() for kind, values in advantages.items()},
                "sampled": rows(data["sampled"]), "current": rows(data["current"]),
                "reference": rows(data["reference"]), "constant_length": CONSTANT_LENGTH, "cases": cases,
            }
        )
    path = pathlib.Path(__file__).parent / "policy_losses.json"
    path.write_text(json.dumps(goldens) + "\n")


if __name__ == "__main__":
    main()
