"""Writes encode_blocks.bin: what llama.cpp's quantisers and the `gguf` library make of the values of encode_blocks_test.cpp.

First u8 blocks[ROWS][bytes of a row] of Q8_0 by gguf. Then for each other type, in the order of DType, and each of
KINDS of values: f64 Σ error² without importance, f64 Σ importance × error² with it, by llama.cpp.

usage: python make_encode_blocks.py LIBGGML_BASE   (needs gguf, numpy and llama.cpp's libggml-base.so)
"""

import ctypes
import pathlib
import sys

import gguf
import numpy as np

ROWS, COLUMNS, KINDS = 8, 1024, 3
TYPES = ["q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"]


def noise(i: np.ndarray) -> np.ndarray:
    """Sums of four uniform numbers, exact in f32: nearly bell-shaped, from -2 to 2."""
    total = np.zeros(i.shape, dtype=np.float32)
    for k in range(4):
        h = (i * np.uint32(4) + np.uint32(k)) * np.uint32(2654435761)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(2246822519)
        h ^= h >> np.uint32(13)
        total += (h >> np.uint32(16)).astype(np.float32) * np.float32(2.0**-16) - np.float32(0.5)
    return total


def values(kind: int) -> np.ndarray:
    v = noise(np.arange(ROWS * COLUMNS, dtype=np.uint32) + np.uint32(kind * ROWS * COLUMNS))
    if kind == 0:
        v = v * np.float32(0.0625)
    elif kind == 1:  # heavy tails
        v = v * v * v * np.float32(0.0625)
    else:  # not centred
        v = v * np.float32(0.0625) + np.float32(0.03125)
    return v.reshape(ROWS, COLUMNS)


def importance() -> np.ndarray:
    v = noise(np.arange(COLUMNS, dtype=np.uint32) + np.uint32(1 << 24))
    return v * v * v * v + np.float32(2.0**-10)


def main() -> None:
    lib = ctypes.CDLL(sys.argv[1])
    pointer = ctypes.POINTER(ctypes.c_float)
    columns = np.ascontiguousarray(importance())
    out = gguf.quants.quantize(values(0), gguf.GGMLQuantizationType.Q8_0).tobytes()
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name.upper()]
        encode = getattr(lib, f"quantize_{name}")
        encode.argtypes = [pointer, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, pointer]
        encode.restype = ctypes.c_size_t
        block, size = gguf.GGML_QUANT_SIZES[kind]
        for k in range(KINDS):
            x = np.ascontiguousarray(values(k))
            for weights in (None, columns):
                blocks = np.zeros((ROWS, COLUMNS // block * size), dtype=np.uint8)
                given = None if weights is None else weights.ctypes.data_as(pointer)
                encode(x.ctypes.data_as(pointer), blocks.ctypes.data, ROWS, COLUMNS, given)
                error = gguf.quants.dequantize(blocks, kind).astype(np.float64) - x
                squares = error * error * (1.0 if weights is None else weights.astype(np.float64))
                out += np.float64(squares.sum()).tobytes()
    pathlib.Path(__file__).with_name("encode_blocks.bin").write_bytes(out)
    print(len(out), "bytes")


main()
