#pragma once

// The instruction sets that kernels are built for. Each costs its share of build time, so x86 has only three:
// the compiler's baseline, AVX2 and AVX-512. Define before any header of Highway.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
