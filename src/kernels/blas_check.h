#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace fathom::kernels {

/// C[m, n] = A · Bᵀ, or Aᵀ · B where `transposed`; A and B dense as stored.
using GemmUnderTest = std::function<void(bool transposed, std::int64_t m, std::int64_t n, std::int64_t k,
                                         const float* a, const float* b, float* c)>;

/// Compares a few products of odd sizes with plain loops (some 100 microseconds) and throws `Error` where
/// they differ: OpenBLAS picks its inner kernel by the CPU's name, and has been wrong on CPUs newer than
/// itself.
/// @param library  what the message calls it
void check_gemm(const GemmUnderTest& gemm, std::string_view library);

}  // namespace fathom::kernels
