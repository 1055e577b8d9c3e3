#pragma once

#include <cstdint>

namespace fathom::kernels {

/// Multiplies 8-bit codes from registers, as fast as the instruction set can, for about a millisecond: the
/// limit of integer kernels. Four bits of one side, as of the smaller weight types.
/// @return  a number that depends on all products
std::int64_t multiply_integers(std::uint32_t seed);

/// Operations of one call, two a multiply-add.
double integer_operations();

}  // namespace fathom::kernels
