#pragma once

#include <cstddef>
#include <memory>

namespace fathom {

/// Memory for one tensor, 64-byte aligned, values undefined. Freed blocks are kept for the next request of a
/// like size: a training step asks for the same sizes again and again, and fresh pages from the kernel cost
/// more than the arithmetic on them. Thread-safe.
std::shared_ptr<void> allocate_storage(std::size_t bytes);

/// Fresh pages that nobody has touched, on a boundary of huge pages, given back to the system when freed:
/// where it matters which memory they come from. Throws `Error` where there are none.
std::shared_ptr<void> allocate_untouched(std::size_t bytes);

/// Bytes that freed blocks hold for reuse now.
std::size_t idle_storage_bytes();

/// Gives idle blocks back to the system.
void release_idle_storage();

}  // namespace fathom
