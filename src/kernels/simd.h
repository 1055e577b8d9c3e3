// What every kernel with Highway's run-time dispatch includes, after it has defined HWY_TARGET_INCLUDE as its
// own name. Included once per target, hence without a guard. In .cpp files only.
//
// A kernel's result may differ between instruction sets in the last bits (lanes are summed in another order,
// and the baseline has no fused multiply-add); on one machine it is always the same.

#include "kernels/simd_targets.h"
// The targets come first.
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>
