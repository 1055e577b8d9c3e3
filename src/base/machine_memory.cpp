#include "base/machine_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

namespace fathom {
namespace {

namespace fs = std::filesystem;

/// How a version of control groups names its files.
struct GroupFiles {
  std::string_view limit;
  std::string_view usage;
  std::string_view file_pages[2];  // keys of memory.stat: pages that can go, as they are on disk, too
};
constexpr GroupFiles kVersion1 = {
    "memory.limit_in_bytes", "memory.usage_in_bytes", {"total_active_file", "total_inactive_file"}};
constexpr GroupFiles kVersion2 = {"memory.max", "memory.current", {"active_file", "inactive_file"}};

/// Nothing where there is no such file, or no number in it ("max").
std::optional<std::uint64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

/// Takes a group's limit into account, where it has one.
void limit_by(const fs::path& group, const GroupFiles& files, MachineMemory& memory) {
  const auto limit = number_in(group / files.limit);
  const auto usage = number_in(group / files.usage);
  if (!limit || !usage) return;
  std::uint64_t file_pages = 0;
  std::ifstream stat(group / "memory.stat");
  std::string key;
  for (std::uint64_t value = 0; stat >> key >> value;)
    if (std::ranges::find(files.file_pages, key) != std::end(files.file_pages)) file_pages += value;
  const std::uint64_t taken = *usage - std::min(*usage, file_pages);
  memory.available = std::min(memory.available, *limit - std::min(*limit, taken));
  memory.all = std::min(memory.all, *limit);
}

}  // namespace

MachineMemory machine_memory(const fs::path& proc, const fs::path& cgroups) {
  MachineMemory memory;
  std::ifstream facts(proc / "meminfo");
  std::string name;
  std::uint64_t kib = 0;
  for (std::string unit; facts >> name >> kib; std::getline(facts, unit)) {
    if (name == "MemAvailable:") memory.available = kib * 1024;
    if (name == "MemTotal:" || name == "SwapTotal:") memory.all += kib * 1024;
  }
  // "4:memory:/some/group" in version 1, "0::/some/group" in version 2. A container may see only the end of
  // its path: what is not there limits nothing, and the root of what it sees is looked at, too.
  std::ifstream groups(proc / "self" / "cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string kind = line.substr(first + 1, second - first - 1);
    if (kind != "memory" && !kind.empty()) continue;
    const fs::path root = kind.empty() ? cgroups : cgroups / "memory";
    const fs::path group = fs::path(line.substr(second + 1)).relative_path();
    limit_by(root, kind.empty() ? kVersion2 : kVersion1, memory);
    fs::path at = root;
    for (const fs::path& part : group) limit_by(at /= part, kind.empty() ? kVersion2 : kVersion1, memory);
  }
  return memory;
}

}  // namespace fathom
