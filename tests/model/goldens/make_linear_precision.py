#!/usr/bin/env python3
"""Makes linear_precision.bin: a linear map's three products as PyTorch emulates the BF16 and FP8 recipes, for
tests/model/precision_test.cpp.

Run from anywhere with torch and numpy installed; the output is deterministic. Inputs are not stored: both sides
make them (`values`). Products of the rounded operands are summed in float64, those of FP8 apart for each 128 of k
and scaled then, so that what differs is the order of f32 sums alone. Of each product every 31st element is stored.
"""

import pathlib

import numpy as np
import torch

TOKENS, IN, OUT, TILE = 150, 200, 140, 128
SAMPLE = 31


def values(seed, shape, scale):
    """Uniform numbers from a hash of the index: tests/support/moe_layer.h."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        h = np.arange(1, count + 1, dtype=np.uint32) * np.uint32(2654435761) ^ np.uint32(seed * 40503 & 0xFFFFFFFF)
        h = (h ^ h >> np.uint32(16)) * np.uint32(0x85EBCA6B)
        h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE35)
        h ^= h >> np.uint32(16)
    numbers = ((h >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)) * np.float32(scale)
    return torch.from_numpy(numbers.reshape(shape))


def tiled(x, floor, power_of_two, largest=448.0):
    """Scale of each 1x128 tile, and the codes' type kept: (codes, scales spread over the columns)."""
    padded = torch.nn.functional.pad(x, (0, -x.shape[1] % TILE)).reshape(x.shape[0], -1, TILE)
    scale = padded.abs().amax(-1).clamp(min=floor) / largest
    if power_of_two:
        scale = torch.exp2(torch.ceil(torch.log2(scale.double()))).float()
    return scale.repeat_interleave(TILE, dim=1)[:, : x.shape[1]]


def rows_fp8(x, floor, power_of_two=False):
    scale = tiled(x, floor, power_of_two)
    return (x / scale).to(torch.float8_e4m3fn).float(), scale


def columns_fp8(x, floor, power_of_two=False):
    codes, scale = rows_fp8(x.T.contiguous(), floor, power_of_two)
    return codes, scale  # [columns, rows]: as the side of a product


def blocks_fp8(w):
    scale = torch.empty_like(w)
    for r in range(0, w.shape[0], TILE):
        for c in range(0, w.shape[1], TILE):
            part = (slice(r, r + TILE), slice(c, c + TILE))
            scale[part] = w[part].abs().max().clamp(min=1e-4) / 448.0
    return (w / scale).to(torch.float8_e4m3fn).float(), scale


def e5m6(x):
    scale = tiled(x, 1e-4, True, 65024.0)
    scaled = (x / scale).double()
    step = torch.exp2(torch.floor(torch.log2(scaled.abs().clamp(min=2.0**-14))) - 6)
    return (torch.round(scaled / step) * step * scale.double()).float()


def product(a, b):
    """sum over k of A(m, k) B(n, k), promoted every 128 of k."""
    (a, a_scale), (b, b_scale) = a, b
    total = torch.zeros(a.shape[0], b.shape[0], dtype=torch.float64)
    for k in range(0, a.shape[1], TILE):
        part = slice(k, k + TILE)
        partial = a[:, part].double() @ b[:, part].double().T
        total += partial * torch.outer(a_scale[:, k].double(), b_scale[:, k].double())
    return total


def bf16(x):
    x = x.bfloat16().float()
    return x, torch.ones_like(x)


def transposed(side):
    return side[0].T.contiguous(), side[1].T.contiguous()


def main():
    x = values(1, (TOKENS, IN), 1.0)
    x[:, 130:] *= 1e-3
    w = values(2, (OUT, IN), 0.5)
    w[:, 128:] *= 16
    dy = values(3, (TOKENS, OUT), 1e-9)  # below the floor of activations
    dy[::3] *= 100

    blob = b""
    def add(*products):
        nonlocal blob
        for p in products:
            blob += p.flatten()[::SAMPLE].float().numpy().astype("<f4").tobytes()

    add(product(bf16(x), bf16(w)), product(bf16(dy), transposed(bf16(w))), product(bf16(dy.T), bf16(x.T)))
    weight = blocks_fp8(w)
    gradient = columns_fp8(dy, 1e-20)
    for power_of_two in (False, True):
        codes, scale = rows_fp8(x, 1e-4, power_of_two)
        add(product((codes, scale), weight), product(rows_fp8(dy, 1e-20), transposed(weight)),
            product(gradient, columns_fp8(codes * scale, 1e-4, power_of_two)))
    add(product(gradient, columns_fp8(e5m6(x), 1e-4, True)))
    (pathlib.Path(__file__).parent / "linear_precision.bin").write_bytes(blob)


if __name__ == "__main__":
    main()
