#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

struct SandboxLimits {
  int cpu_seconds = 5;                               // of each process
  double wall_seconds = 10;                          // of all
  std::uint64_t memory_bytes = 1ULL << 30U;          // address space of each process
  std::uint64_t file_bytes = 16ULL << 20U;           // of each file that is written
  std::size_t output_bytes = std::size_t{1} << 16U;  // of standard output and standard error together
  int processes = 32;                                // threads included
  int open_files = 64;                               // of each process
};

struct SandboxResult {
  enum class End : std::uint8_t { exited, signalled, out_of_time, too_much_output };
  End end = End::exited;
  int status = 0;  // exit status, or the signal
  std::string out;
  std::string err;

  [[nodiscard]] bool succeeded() const { return end == End::exited && status == 0; }
  /// "exited with status 1", "ended by signal 9", "ran longer than 10 s", "wrote more than 65536 bytes".
  std::string explanation;
};

/// Runs programs that nobody has looked at. Each runs in a fresh folder, which is removed afterwards, and
///   - may read system libraries and programs (/usr, /lib, /bin), the folder of its own executable, and
///     /dev/null, /dev/zero and /dev/urandom; may write in its folder alone (Landlock);
///   - has no network and no way to make one, and cannot leave its process group, trace, mount, load or use
///   what
///     kernels have had most holes in (seccomp);
///   - has limits on time, memory, files, processes and output; when it ends, or is over one of them, its
///   whole
///     process group is killed;
///   - is a user of its own where we are root, and in a user namespace where we are not and the system lets
///   us;
///     where it does not, it cannot start other processes at all.
/// What is not isolated: it shares the kernel and the clock, sees which files there are as far as their
/// folders' rights go, and all its processes together may take `processes` times the memory, and fill the
/// disk file by file until its time is over. Programs that are expected to attack the kernel need a virtual
/// machine.
class Sandbox {
 public:
  /// Throws `Error` where this system lacks what isolation needs (Landlock: Linux 5.13; seccomp), saying
  /// which.
  explicit Sandbox(const SandboxLimits& limits);

  /// @param command  an absolute path and its arguments
  /// @param input    on its standard input
  /// @param files    put into its folder, by name without folders; arguments name them so
  /// Throws `Error` where the program cannot be started. Threads may share a sandbox.
  [[nodiscard]] SandboxResult run(const std::vector<std::string>& command, std::string_view input,
                                  const std::map<std::string, std::string>& files) const;

  /// Whether programs may start others.
  [[nodiscard]] bool allows_processes() const { return is_root_ || has_user_namespaces_; }

 private:
  SandboxLimits limits_;
  bool is_root_;
  bool has_user_namespaces_;
  int landlock_version_;
  std::vector<std::byte> filter_;  // of seccomp, as the kernel takes it
};

/// Where an executable of a name lies: itself where it has a slash, else the first in /usr/local/bin,
/// /usr/bin and /bin, else in PATH. Throws `Error` where there is none.
std::filesystem::path find_executable(const std::string& name);

}  // namespace fathom
