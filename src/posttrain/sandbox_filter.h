#pragma once

#include <cstddef>
#include <vector>

namespace fathom {

struct SandboxFilter {
  bool allows_processes = true;
  bool allows_signals = true;  // to whoever may be signalled: others are kept away by other means
};

/// The seccomp filter of `Sandbox`, as instructions for the kernel. Throws `Error` where it cannot be made.
std::vector<std::byte> make_sandbox_filter(const SandboxFilter& filter);

}  // namespace fathom
