#pragma once

// The instruction sets that kernels are built for. Each costs its share of build time, so x86 has only three:
// the compiler's baseline, AVX2 and AVX-512; integer kernels (FATHOM_SIMD_FOR_INTEGERS) also SSE4 and AVX-512
// with VNNI. AArch64 has its baseline NEON, and integer kernels once more with products of bytes
// (kernels/byte_products.h). Define before any header of Highway.
#ifdef FATHOM_SIMD_FOR_INTEGERS
#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS HWY_SSSE3
#else
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif

#if defined(__aarch64__)
// No other set at run time: vectors of SVE cannot be members of a struct, and code for NEON with AES, which
// Highway would also have, is not inlined into the members that the compiler makes of itself.
#define TOOLCHAIN_MISS_SYS_AUXV_H
#endif
