"""Writes small_float.bin: what PyTorch's casts do, for tests/numerics/small_float_test.cpp.

Sections, little-endian:
  u32 n; f32 inputs[n]; u16 bf16[n]; u16 f16[n]; u8 e4m3[n]; u8 e5m2[n]
  for e4m3, e5m2, f16: all 65,536 bfloat16 bit patterns cast to the type, as u32 runs and runs × (u16 code, u16 length)
  f32 e4m3_values[256]; f32 e5m2_values[256]
  u32 m; m × (u16 f16 code, f32 value)

usage: python make_small_float.py   (needs torch 2.12 or later, whose e4m3fn casts saturate; numpy)
"""

import pathlib
import struct

import numpy as np
import torch

TYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
CODES = {"bf16": np.uint16, "f16": np.uint16, "e4m3": np.uint8, "e5m2": np.uint8}


def cast(values: np.ndarray, kind: str) -> np.ndarray:
    """The bits of f32 `values` after PyTorch's cast."""
    tensor = torch.from_numpy(values.copy()).to(TYPES[kind])
    width = torch.uint8 if CODES[kind] is np.uint8 else torch.int16
    return tensor.view(width).numpy().view(CODES[kind])


def values_of(codes: np.ndarray, kind: str) -> np.ndarray:
    width = codes if CODES[kind] is np.uint8 else codes.view(np.int16)
    return torch.from_numpy(width.copy()).view(TYPES[kind]).to(torch.float32).numpy()


def near(word: int) -> list[int]:
    """f32 bit patterns around `word`, both signs."""
    return [w | sign for w in (word - 1, word, word + 1) for sign in (0, 0x80000000) if 0 <= w < 0x7F800000]


def inputs() -> np.ndarray:
    words = {0, 0x80000000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7FFFFF, 1, 0x007FFFFF, 0x00800000}
    with np.errstate(all="ignore"):
        for kind, step in (("e4m3", 1), ("e5m2", 1), ("f16", 509), ("bf16", 509)):
            count = 1 << (7 if CODES[kind] is np.uint8 else 15)
            for code in range(0, count - 1, step):
                low, high = values_of(np.array([code, code + 1], CODES[kind]), kind).astype(np.float64)
                if np.isfinite(low) and np.isfinite(high):
                    tie = np.float32((low + high) / 2)  # exact: one more bit than the type has
                    words.update(near(int(tie.view(np.uint32))))
                    words.update(near(int(np.float32(low).view(np.uint32))))
    for limit in (448, 464, 480, 57344, 61440, 65504, 65520, 2.0**-10, 2.0**-17, 2.0**-25, 3.3961776292304601e38):
        words.update(near(int(np.float32(limit).view(np.uint32))))
    generator = np.random.default_rng(20240613)
    words.update(int(w) for w in generator.integers(0, 0xFF800000, 400) if (int(w) & 0x7FFFFFFF) <= 0x7F800000)
    return np.array(sorted(words), np.uint32).view(np.float32)


def runs(codes: np.ndarray) -> bytes:
    starts = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    lengths = np.diff(np.concatenate((starts, [len(codes)])))
    body = np.stack((codes[starts].astype(np.uint16), lengths.astype(np.uint16)), axis=1)
    return struct.pack("<I", len(starts)) + body.tobytes()


def main() -> None:
    values = inputs()
    out = struct.pack("<I", len(values)) + values.tobytes()
    for kind in TYPES:
        out += cast(values, kind).tobytes()
    all_bf16 = (np.arange(65536, dtype=np.uint32) << 16).view(np.float32)
    for kind in ("e4m3", "e5m2", "f16"):
        codes = cast(all_bf16, kind).copy()
        codes[np.isnan(all_bf16)] = 0  # which NaN a cast gives depends on the machine; the test knows where they are
        out += runs(codes)
    for kind in ("e4m3", "e5m2"):
        out += values_of(np.arange(256, dtype=np.uint8), kind).tobytes()
    sample = np.array(sorted({*range(0, 65536, 61), 0, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0x8001, 0xFC00}), np.uint16)
    out += struct.pack("<I", len(sample))
    for code, value in zip(sample, values_of(sample, "f16")):
        out += struct.pack("<Hf", code, value)
    pathlib.Path(__file__).with_name("small_float.bin").write_bytes(out)
    print(len(values), "inputs,", len(out), "bytes")


main()
