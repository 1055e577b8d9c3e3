#pragma once

#include <cstddef>

namespace fathom::kernels {

/// Memory of the calling thread for `count` floats, 64-byte aligned, values undefined. The next call on this
/// thread takes it back, so a kernel asks once, uses it, and calls no other kernel that asks. It grows to the
/// largest request and is freed with the thread.
float* thread_scratch(std::size_t count);

}  // namespace fathom::kernels
