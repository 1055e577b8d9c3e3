// quant_linear_coded.cpp once more, see kernels/byte_products.h.

#if defined(__aarch64__)
#include "kernels/byte_products_pass.h"
// After byte_products_pass.h.
#include "kernels/quant_linear_coded.cpp"
#endif
