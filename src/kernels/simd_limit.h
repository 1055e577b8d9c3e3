#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom::kernels {

/// The instruction sets that kernels can use on this machine, best first: of "avx512", "avx2" or, on
/// AArch64, "dotprod", and at last "baseline", which is what the compiler may use anywhere.
std::vector<std::string> simd_sets();

/// The first of simd_sets() that has not been ruled out.
std::string simd_in_use();

/// Rules out all sets better than `set`; empty: none. To compare instruction sets and to look for faults;
/// results may differ in the last bits. While no kernel runs. Throws `Error` if `set` is not of simd_sets().
void limit_simd(std::string_view set);

/// The same with the value of the environment variable FATHOM_SIMD. OpenBLAS, which multiplies large f32
/// matrices, obeys a variable of its own: OPENBLAS_CORETYPE=Haswell stands for AVX2.
void limit_simd_by_environment();

}  // namespace fathom::kernels
