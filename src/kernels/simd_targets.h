#pragma once

// The instruction sets that kernels are built for. Each costs its share of build time, so x86 has only three:
// the compiler's baseline, AVX2 and AVX-512; integer kernels (FATHOM_SIMD_FOR_INTEGERS) also SSE4 and AVX-512
// with VNNI. Define before any header of Highway.
#ifdef FATHOM_SIMD_FOR_INTEGERS
#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS HWY_SSSE3
#else
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
