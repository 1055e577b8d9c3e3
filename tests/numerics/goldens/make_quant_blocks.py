"""Writes quant_blocks.bin: blocks of random bytes of each type, and what the `gguf` library decodes them to.

For each type, in the order of DType: u8 blocks[BLOCKS][bytes of a block]; f32 values[BLOCKS][values of a block].
The F16 scales are any finite ones: negative, subnormal and zero among them.

usage: python make_quant_blocks.py   (needs gguf, numpy)
"""

import pathlib

import gguf
import numpy as np

BLOCKS = 24
# Where the F16 scales of a block lie.
SCALES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "IQ4_NL": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_XS": [0],
    "IQ1_S": [0],
    "IQ1_M": [],  # in pieces
    "IQ2_XXS": [0],
    "IQ2_XS": [0],
    "IQ2_S": [0],
    "IQ3_XXS": [0],
    "IQ3_S": [0],
    "TQ1_0": [52],
    "TQ2_0": [64],
    "MXFP4": [],  # an exponent
}


def main() -> None:
    rng = np.random.default_rng(1)
    out = b""
    for name, offsets in SCALES.items():
        kind = gguf.GGMLQuantizationType[name]
        blocks = rng.integers(0, 256, (BLOCKS, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
        for offset in offsets:
            bits = blocks[:, offset : offset + 2].copy().view(np.uint16)
            bits &= np.where((bits & 0x7C00) == 0x7C00, 0xBFFF, 0xFFFF).astype(np.uint16)
            bits[0], bits[1] = 0x8001, 0x03FF  # the smallest negative and the largest positive subnormal
            bits[2], bits[3] = 0x8000, 0xFBFF  # minus zero, the most negative
            blocks[:, offset : offset + 2] = bits.view(np.uint8)
        if name == "IQ1_M":
            blocks[:, 55] &= 0xBF  # the scale's highest exponent bit
        if name == "MXFP4":
            blocks[:, 0] = np.concatenate([[0, 1, 2, 251], rng.integers(100, 150, BLOCKS - 4)])
        values = gguf.quants.dequantize(blocks, kind)
        assert np.isfinite(values).all()
        out += blocks.tobytes() + values.astype("<f4").tobytes()
    pathlib.Path(__file__).with_name("quant_blocks.bin").write_bytes(out)
    print(len(out), "bytes")


main()
