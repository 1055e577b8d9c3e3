#include "posttrain/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "base/error.h"

namespace fathom {
namespace {

// The kernel's interface as of version 6; headers may be older.
struct RulesetAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;  // from version 4 on
  std::uint64_t scoped = 0;              // from version 6 on
};

constexpr std::uint64_t kExecute = 1U << 0U;
constexpr std::uint64_t kReadFile = 1U << 2U;
constexpr std::uint64_t kReadFolder = 1U << 3U;
constexpr std::uint64_t kRead = kExecute | kReadFile | kReadFolder;
constexpr std::uint64_t kOfFiles = kExecute | (1U << 1U) | kReadFile;  // rights that a file can have
constexpr std::uint64_t kNetwork = 3;                                  // bind and connect, TCP
constexpr std::uint64_t kScopes = 3;                                   // abstract sockets and signals

/// All rights that a version knows.
std::uint64_t all_rights(int version) {
  unsigned bits = 13;
  if (version >= 2) ++bits;  // links and renames between folders
  if (version >= 3) ++bits;  // truncating
  if (version >= 5) ++bits;  // ioctl of devices
  return (std::uint64_t{1} << bits) - 1;
}

std::size_t attributes_size(int version) {
  if (version >= kLandlockScopesSignals) return sizeof(RulesetAttributes);
  return version >= 4 ? 2 * sizeof(std::uint64_t) : sizeof(std::uint64_t);
}

}  // namespace

int landlock_version() {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U /* version */);
  return version < 0 ? 0 : static_cast<int>(version);
}

LandlockRules::LandlockRules(int version, std::span<const std::filesystem::path> readable,
                             const std::filesystem::path& writable) {
  RulesetAttributes attributes{all_rights(version), kNetwork, kScopes};
  rules_ =
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, attributes_size(version), 0U));
  require(rules_ >= 0, "Landlock cannot be set up for a sandbox: {}", errno_text(errno));
  try {
    for (const std::filesystem::path& place : readable) allow(place, kRead);
    allow("/dev/null", kReadFile | (1U << 1U));
    allow("/dev/zero", kReadFile);
    allow("/dev/urandom", kReadFile);
    allow(writable, all_rights(version));
  } catch (...) {
    ::close(rules_);
    throw;
  }
}

LandlockRules::~LandlockRules() {
  ::close(rules_);
}

void LandlockRules::allow(const std::filesystem::path& place, std::uint64_t access) const {
  const int file = ::open(place.c_str(), O_PATH | O_CLOEXEC);
  if (file < 0) return;
  struct stat info {};
  const bool is_folder = ::fstat(file, &info) == 0 && S_ISDIR(info.st_mode);
  landlock_path_beneath_attr beneath{};
  beneath.allowed_access = is_folder ? access : access & kOfFiles;
  beneath.parent_fd = file;
  const long result = ::syscall(SYS_landlock_add_rule, rules_, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0U);
  const int error = errno;
  ::close(file);
  require(result == 0, "Landlock cannot be set up for {}: {}", place.string(), errno_text(error));
}

bool LandlockRules::enter() const {
  return ::syscall(SYS_landlock_restrict_self, rules_, 0U) == 0;
}

}  // namespace fathom
