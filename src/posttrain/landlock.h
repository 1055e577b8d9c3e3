#pragma once

#include <filesystem>
#include <span>

namespace fathom {

/// The kernel's version of Landlock; 0: it has none.
int landlock_version();
/// From which version on signals to processes outside can be kept away.
inline constexpr int kLandlockScopesSignals = 6;

/// What a process may reach of the file system, once it enters it: some places to read and execute in, one to
/// do anything in. Nothing else can be opened, TCP is refused, and signals and abstract sockets stay inside
/// (as far as the version has that).
class LandlockRules {
 public:
  /// Places that do not exist are left out. Throws `Error` where the kernel refuses.
  LandlockRules(int version, std::span<const std::filesystem::path> readable,
                const std::filesystem::path& writable);
  ~LandlockRules();
  LandlockRules(const LandlockRules&) = delete;
  LandlockRules& operator=(const LandlockRules&) = delete;

  /// Binds the calling process, for good, which must not be able to gain privileges. May be called between
  /// fork and exec.
  /// @return whether it worked; else errno says why not
  [[nodiscard]] bool enter() const;

 private:
  void allow(const std::filesystem::path& place, std::uint64_t access) const;

  int rules_ = -1;
};

}  // namespace fathom
