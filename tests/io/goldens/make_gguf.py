"""Makes gguf/: files of the `gguf` library that tests/io/gguf_test.cpp reads and tests/io/gguf_writer_test.cpp writes
again, byte for byte. types.gguf has metadata of every type and a tensor of every type that Fathom computes with;
other_types.gguf has tensors of types that it does not; parts-0000N-of-00003.gguf are one model, split.

usage: python make_gguf.py   (needs numpy and gguf 0.18)
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T, GGUFValueType as V, GGUFWriter

FOLDER = pathlib.Path(__file__).parent / "gguf"
BLOCK_TYPES = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.IQ4_NL, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_XS,
               T.IQ1_S, T.IQ1_M, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS, T.IQ3_S, T.TQ1_0, T.TQ2_0, T.MXFP4]
OTHER_TYPES = [T.NVFP4, T.Q1_0]


def counted_bytes(count: int) -> np.ndarray:
    return (np.arange(count) % 251).astype(np.uint8)


def types() -> None:
    writer = GGUFWriter(FOLDER / "types.gguf", "deepseek2")
    writer.add_custom_alignment(64)
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_uint64("t.u64", 2**63 + 5)
    writer.add_int64("t.i64", -(2**62))
    writer.add_float32("t.f32", 0.1)
    writer.add_float64("t.f64", 0.1)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", 'a "quoted"\nline, 名前')
    writer.add_array("t.strings", ["", "Ġthe", "x" * 300])
    writer.add_array("t.ints", [3, -1, 7])
    writer.add_array("t.floats", [0.5, -2.0])
    writer.add_array("t.bools", [True, False])
    writer.add_key_value("t.nested", [[1, 2], [3]], V.ARRAY, V.ARRAY)
    for dtype in (np.float32, np.float16):
        name = np.dtype(dtype).name
        writer.add_tensor(name, (np.arange(6).reshape(2, 3) - 3).astype(dtype))
    bf16 = ((np.arange(5) - 3).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    writer.add_tensor("bfloat16", bf16.view(np.uint8), raw_dtype=T.BF16)
    writer.add_tensor("experts", np.arange(24, dtype=np.float32).reshape(4, 2, 3))
    add_blocks(writer, BLOCK_TYPES)
    finish(writer)


def add_blocks(writer: GGUFWriter, types: list[T]) -> None:
    for t in types:
        values, size = GGML_QUANT_SIZES[t]
        row = size * (512 // values)
        writer.add_tensor(t.name, counted_bytes(3 * row).reshape(3, row), raw_dtype=t)


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def other_types() -> None:
    writer = GGUFWriter(FOLDER / "other_types.gguf", "deepseek2")
    add_blocks(writer, OTHER_TYPES)
    finish(writer)


def parts() -> None:
    writer = GGUFWriter(FOLDER / "parts.gguf", "deepseek2", split_max_tensors=2)
    writer.add_string("general.name", "parts")
    for i in range(5):
        writer.add_tensor(f"t{i}", np.full((2, 4), i, np.float32))
    finish(writer)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    types()
    other_types()
    parts()
