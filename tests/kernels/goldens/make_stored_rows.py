#!/usr/bin/env python3
"""Makes stored_rows.bin: tile-scaled codes that PyTorch computes, for tests/kernels/stored_rows_test.cpp.

Run from anywhere with torch and numpy installed; the output is deterministic. The matrix is not stored: both
sides make it (see `matrix`). For each case the file has all scales, f32, and the 64-bit FNV-1a checksum of all
codes.
"""

import pathlib

import numpy as np
import torch

ROWS, COLUMNS, TILE = 131, 150, 128


def matrix():
    index = np.arange(ROWS * COLUMNS, dtype=np.uint64)
    bits = (index * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)
    values = (bits.astype(np.float32) * np.float32(2.0**-31)).reshape(ROWS, COLUMNS)
    values[:, 128:] *= np.float32(2.0**-20)  # below what the floor of activations lets through
    values[::7] *= np.float32(100.0)  # rows of other sizes, which 128x1 tiles mix
    return torch.from_numpy(values)


def scales(amax, floor, power_of_two, largest):
    scale = amax.clamp(min=floor) / largest
    return torch.exp2(torch.ceil(torch.log2(scale.double()))).float() if power_of_two else scale


def tiles_along_rows(x):
    return torch.nn.functional.pad(x, (0, -x.shape[1] % TILE)).reshape(x.shape[0], -1, TILE)


def spread(scale, columns):
    return scale.repeat_interleave(TILE, dim=1)[:, :columns]


def quantize_rows(x, floor, power_of_two):
    scale = scales(tiles_along_rows(x).abs().amax(-1), floor, power_of_two, 448.0)
    return (x / spread(scale, x.shape[1])).to(torch.float8_e4m3fn), scale


def quantize_columns(x, floor, power_of_two):
    codes, scale = quantize_rows(x.T.contiguous(), floor, power_of_two)
    return codes.T.contiguous(), scale.T.contiguous()


def quantize_e5m6(x, floor):
    """There is no such type in PyTorch: steps of 2^-6 of the leading bit, in float64, where all is exact."""
    scale = scales(tiles_along_rows(x).abs().amax(-1), floor, True, 65024.0)
    scaled = (x / spread(scale, x.shape[1])).double()
    exponent = torch.floor(torch.log2(scaled.abs().clamp(min=2.0**-14)))
    step = torch.exp2(exponent - 6)
    return torch.round(scaled / step) * step * spread(scale, x.shape[1]).double(), scale


def checksum(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def record(scale, data):
    return scale.numpy().astype("<f4").tobytes() + checksum(data).to_bytes(8, "little")


def main():
    x = matrix()
    blob = b""
    for floor in (1e-4, 1e-20):
        for power_of_two in (False, True):
            codes, scale = quantize_rows(x, floor, power_of_two)
            blob += record(scale, codes.view(torch.uint8).numpy().tobytes())
            widened = codes.float() * spread(scale, COLUMNS)
            blob += record(scale[:0], widened.numpy().astype("<f4").tobytes())
            for source in (x, widened):
                again, column_scale = quantize_columns(source, floor, power_of_two)
                blob += record(column_scale, again.view(torch.uint8).numpy().tobytes())
    values, scale = quantize_e5m6(x, 1e-4)
    blob += record(scale, values.float().numpy().astype("<f4").tobytes())
    (pathlib.Path(__file__).parent / "stored_rows.bin").write_bytes(blob)


if __name__ == "__main__":
    main()
