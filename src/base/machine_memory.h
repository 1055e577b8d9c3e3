#pragma once

#include <cstdint>
#include <filesystem>

namespace fathom {

/// Of a machine, or of the control group that the process is confined to, in bytes; 0 where it does not say.
struct MachineMemory {
  std::uint64_t available = 0;  // what it could give now without swapping; what files are cached in counts
  std::uint64_t all = 0;        // swap included
};

/// @param proc     where the system describes itself
/// @param cgroups  where control groups are, of either version
MachineMemory machine_memory(const std::filesystem::path& proc = "/proc",
                             const std::filesystem::path& cgroups = "/sys/fs/cgroup");

}  // namespace fathom
