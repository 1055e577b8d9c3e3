"""Writes block_scale.bin: the weight of block_scale_test.cpp quantised with PyTorch as the V3 reference code does
(scale = max(amax, 1e-4) / 448 per 128×128 block; ue8m0: rounded up to a power of two).

For f32 scales, then power-of-two scales: f32 scale_inv[2][2]; u8 codes[131][150].

usage: python make_block_scale.py   (needs torch, numpy)
"""

import pathlib

import numpy as np
import torch

ROWS, COLUMNS, BLOCK = 131, 150, 128


def weight() -> torch.Tensor:
    """The same integers as the test makes, so that the file need not hold them."""
    i = np.arange(ROWS * COLUMNS, dtype=np.uint32)
    noise = (i * np.uint32(2654435761)).view(np.int32).astype(np.float32) * np.float32(2.0**-31)
    values = torch.from_numpy(noise.reshape(ROWS, COLUMNS))
    values[:, BLOCK:] *= 2.0**-20  # a block so small that the floor of 1e-4 decides its scale
    values[BLOCK:, :BLOCK] *= 448.0  # a block of another scale
    values[BLOCK, 3] = 448.0  # whose largest value makes the scale exactly one
    return values


def quantise(values: torch.Tensor, power_of_two: bool) -> bytes:
    scales = torch.empty(2, 2)
    codes = torch.empty(ROWS, COLUMNS, dtype=torch.float8_e4m3fn)
    for r in range(2):
        for c in range(2):
            part = (slice(r * BLOCK, (r + 1) * BLOCK), slice(c * BLOCK, (c + 1) * BLOCK))
            scale = values[part].abs().max().clamp(min=1e-4) / 448.0
            if power_of_two:
                scale = torch.exp2(torch.ceil(torch.log2(scale.double()))).float()
            scales[r, c] = scale
            codes[part] = (values[part] / scale).to(torch.float8_e4m3fn)
    return scales.numpy().tobytes() + codes.view(torch.uint8).numpy().tobytes()


def main() -> None:
    values = weight()
    out = quantise(values, False) + quantise(values, True)
    pathlib.Path(__file__).with_name("block_scale.bin").write_bytes(out)
    print(len(out), "bytes")


main()
