"""Writes src/numerics/quant_grid_points.h: the tables that the codes of the IQ1, IQ2 and IQ3 types of GGUF point into.

They are part of the format, as are the numbers of its types: found once by its authors, the same in every program.
The `gguf` library has them as text, in which each element of a point is a number of two or three bits.

usage: python tools/make_quant_grids.py   (needs gguf, numpy)
"""

import pathlib

import gguf
import numpy as np

TABLES = {"Iq2Xxs": "IQ2_XXS", "Iq2Xs": "IQ2_XS", "Iq2S": "IQ2_S", "Iq3Xxs": "IQ3_XXS", "Iq3S": "IQ3_S", "Iq1": "IQ1_S"}
HEAD = """#pragma once

// Written by tools/make_quant_grids.py.

#include <array>
#include <cstdint>

namespace fathom {

// What the codes of the IQ types of one to three bits point into: lists of points, each of which stands for
// several values. A point is 16 bits, the first element lowest: eight of two bits, or four of four bits, of
// which three are used. What an element stands for is the type's own (numerics/coded_blocks.cpp).

// clang-format off
"""


def main() -> None:
    text = HEAD
    for name, kind in TABLES.items():
        points = np.frombuffer(bytes.fromhex(getattr(gguf.quants, kind).grid_hex.decode()), dtype="<u2")
        text += f"inline constexpr std::array<std::uint16_t, {len(points)}> k{name}Points = {{\n"
        for i in range(0, len(points), 12):
            text += "    " + ", ".join(f"0x{point:04x}" for point in points[i : i + 12]) + ",\n"
        text += "};\n\n"
    text += "// clang-format on\n\n}  // namespace fathom\n"
    pathlib.Path(__file__).parents[1].joinpath("src/numerics/quant_grid_points.h").write_text(text)


main()
