#include "posttrain/sandbox.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/progress.h"
#include "posttrain/landlock.h"
#include "posttrain/sandbox_filter.h"

namespace fathom {
namespace {

/// An open file, closed when it goes.
class Descriptor {
 public:
  explicit Descriptor(int descriptor = -1) : descriptor_(descriptor) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void reset(int descriptor = -1) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = descriptor;
  }
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

struct Pipe {
  Descriptor read;
  Descriptor write;

  Pipe() {
    std::array<int, 2> ends{};
    require(::pipe2(ends.data(), O_CLOEXEC) == 0, "a sandbox has no pipes: {}", errno_text(errno));
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
};

/// A folder that goes with all that is in it.
class SandboxFolder {
 public:
  SandboxFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fathom-sandbox-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr, "{}: cannot be made: {}", name, errno_text(errno));
    path_ = name;
  }
  ~SandboxFolder() {
    std::error_code ignored;
    // A program may have taken its own rights away.
    for (std::filesystem::recursive_directory_iterator at(path_, ignored), end; !ignored && at != end;
         at.increment(ignored))
      if (at->is_directory(ignored) && !at->is_symlink(ignored))
        std::filesystem::permissions(at->path(), std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(path_, ignored);
  }
  SandboxFolder(const SandboxFolder&) = delete;
  SandboxFolder& operator=(const SandboxFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// @param owner  of the file; none: us
  void add(const std::string& name, const std::string& content, std::optional<uid_t> owner) const {
    require(!name.empty() && name.find('/') == std::string::npos && name != "." && name != "..",
            "\"{}\" is no name for a file of a sandbox", printable(name));
    const std::filesystem::path file = path_ / name;
    const Descriptor out(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
    bool is_written = out.get() >= 0;
    for (std::size_t done = 0; is_written && done < content.size();) {
      const ssize_t count = ::write(out.get(), content.data() + done, content.size() - done);
      is_written = count > 0;
      done += is_written ? static_cast<std::size_t>(count) : 0;
    }
    if (is_written && owner) is_written = ::fchown(out.get(), *owner, *owner) == 0;
    require(is_written, "{}: cannot be written: {}", file.string(), errno_text(errno));
  }
  void give_to(uid_t owner) const {
    require(::chown(path_.c_str(), owner, owner) == 0, "{}: cannot be given away: {}", path_.string(),
            errno_text(errno));
  }

 private:
  std::filesystem::path path_;
};

/// A file in memory that is read from its beginning.
int input_file(std::string_view input) {
  const int file = ::memfd_create("fathom-input", MFD_CLOEXEC);
  require(file >= 0, "no memory for a program's input: {}", errno_text(errno));
  while (!input.empty()) {
    const ssize_t count = ::write(file, input.data(), input.size());
    if (count <= 0) {
      ::close(file);
      fail("no memory for a program's input: {}", errno_text(errno));
    }
    input.remove_prefix(static_cast<std::size_t>(count));
  }
  ::lseek(file, 0, SEEK_SET);
  return file;
}

/// All that a child needs between fork and exec, made before: there, nothing may be allocated.
struct Start {
  const char* folder;
  char* const* command;
  char* const* environment;
  const SandboxLimits* limits;
  const LandlockRules* rules;
  sock_fprog filter;
  std::optional<uid_t> user;  // to become
  bool enters_user_namespace;
  int in;
  int out;
  int err;
  int fault;
};

/// Tells the parent which step failed, and why.
[[noreturn]] void give_up(int fault, char step) {
  const int error = errno;
  std::array<unsigned char, 5> message{static_cast<unsigned char>(step)};
  std::memcpy(message.data() + 1, &error, sizeof(error));
  static_cast<void>(!::write(fault, message.data(), message.size()));
  ::_exit(127);
}

bool limit_to(int resource, std::uint64_t value) {
  const rlimit limit{value, value};
  return ::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) == 0;
}

/// In the child. Calls only what may be called between fork and exec of a process with threads.
[[noreturn]] void start_program(const Start& start) {
  const SandboxLimits& limits = *start.limits;
  if (::setpgid(0, 0) != 0) give_up(start.fault, 'g');
  if (::dup2(start.in, 0) < 0 || ::dup2(start.out, 1) < 0 || ::dup2(start.err, 2) < 0)
    give_up(start.fault, 'p');
  if (::syscall(SYS_close_range, 3U, ~0U, 4U /* close on exec */) != 0) give_up(start.fault, 'c');
  if (::chdir(start.folder) != 0) give_up(start.fault, 'd');
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signal = 1; signal < NSIG; ++signal) std::signal(signal, SIG_DFL);
  if (start.user) {
    const uid_t user = *start.user;
    if (::setgroups(0, nullptr) != 0 || ::setresgid(user, user, user) != 0 ||
        ::setresuid(user, user, user) != 0)
      give_up(start.fault, 'u');
  } else if (start.enters_user_namespace) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) != 0) give_up(start.fault, 'n');
  }
  const auto cpu = static_cast<std::uint64_t>(limits.cpu_seconds);
  if (!limit_to(RLIMIT_CPU, cpu) || !limit_to(RLIMIT_AS, limits.memory_bytes) ||
      !limit_to(RLIMIT_FSIZE, limits.file_bytes) || !limit_to(RLIMIT_CORE, 0) ||
      !limit_to(RLIMIT_NOFILE, static_cast<std::uint64_t>(limits.open_files)))
    give_up(start.fault, 'l');
  // Counts all processes of a user: of one of its own, or of a namespace.
  if ((start.user || start.enters_user_namespace) &&
      !limit_to(RLIMIT_NPROC, static_cast<std::uint64_t>(limits.processes)))
    give_up(start.fault, 'l');
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    give_up(start.fault, 'l');
  if (!start.rules->enter()) give_up(start.fault, 'r');
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &start.filter) != 0) give_up(start.fault, 's');
  ::execve(start.command[0], start.command, start.environment);
  give_up(start.fault, 'x');
}

std::string_view step_name(unsigned char step) {
  switch (step) {
    case 'g':
      return "a process group of its own";
    case 'p':
      return "its standard streams";
    case 'c':
      return "closing files";
    case 'd':
      return "its folder";
    case 'u':
      return "a user of its own";
    case 'n':
      return "a user namespace";
    case 'l':
      return "its limits";
    case 'r':
      return "Landlock";
    case 's':
      return "its seccomp filter";
    default:
      return "executing it";
  }
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// Users that no system gives to anybody: 2^30 on, one for each of our children.
uid_t user_of_next_program() {
  static std::atomic<unsigned> next{0};
  return (1U << 30U) + (static_cast<unsigned>(::getpid()) % 65536) * 1024 + next++ % 1024;
}

bool can_make_user_namespace() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) == 0 ? 0 : 1);
  int status = 1;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && status == 0;
}

/// A program on its way: collects what it writes until it ends or is over a limit, and then ends all of it.
class RunningProgram {
 public:
  RunningProgram(pid_t pid, Pipe& out, Pipe& err, const SandboxLimits& limits)
      : pid_(pid), limits_(limits), process_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U))) {
    streams_ = {&out.read, &err.read};
  }
  ~RunningProgram() {
    if (!has_ended_) end();
  }
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  SandboxResult wait() {
    const double deadline = monotonic_seconds() + limits_.wall_seconds;
    bool exited = false;
    while (!exited && result_.end == SandboxResult::End::exited) exited = wait_for_event(deadline);
    end();
    // Nobody is left who could write more.
    for (int stream = 0; stream < 2; ++stream)
      while (streams_.at(stream)->get() >= 0) read_from(stream);
    const bool is_over_limit = result_.end != SandboxResult::End::exited;
    if (!is_over_limit) {
      if (WIFSIGNALED(status_)) result_.end = SandboxResult::End::signalled;
      result_.status = WIFSIGNALED(status_) ? WTERMSIG(status_) : WEXITSTATUS(status_);
    }
    return std::move(result_);
  }

 private:
  /// @return whether the program has exited
  bool wait_for_event(double deadline) {
    const double left = deadline - monotonic_seconds();
    if (left <= 0) {
      result_.end = SandboxResult::End::out_of_time;
      return false;
    }
    std::array<pollfd, 3> events{
        {{streams_[0]->get(), POLLIN, 0}, {streams_[1]->get(), POLLIN, 0}, {process_.get(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), static_cast<int>(std::ceil(1000 * std::min(left, 60.0)))) < 0)
      return false;
    for (int stream = 0; stream < 2; ++stream)
      if (events.at(stream).revents != 0) read_from(stream);
    return events[2].revents != 0;
  }

  void read_from(int stream) {
    std::array<char, 65536> buffer{};
    const ssize_t count = ::read(streams_.at(stream)->get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) return;
    if (count <= 0) {
      streams_.at(stream)->reset();
      return;
    }
    std::string& text = stream == 0 ? result_.out : result_.err;
    const std::size_t room = limits_.output_bytes - result_.out.size() - result_.err.size();
    text.append(buffer.data(), std::min(room, static_cast<std::size_t>(count)));
    if (static_cast<std::size_t>(count) > room) result_.end = SandboxResult::End::too_much_output;
  }

  /// Kills the group while its leader has not been waited for, so that its number is nobody else's.
  void end() {
    has_ended_ = true;
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
  }

  pid_t pid_;
  const SandboxLimits& limits_;
  Descriptor process_;
  std::array<Descriptor*, 2> streams_{};
  SandboxResult result_;
  int status_ = 0;
  bool has_ended_ = false;
};

std::string explain(const SandboxResult& result, const SandboxLimits& limits) {
  switch (result.end) {
    case SandboxResult::End::out_of_time:
      return fmt::format("ran longer than {:g} s", limits.wall_seconds);
    case SandboxResult::End::too_much_output:
      return fmt::format("wrote more than {} bytes", limits.output_bytes);
    case SandboxResult::End::signalled:
      if (result.status == SIGXCPU || result.status == SIGKILL)
        return fmt::format("was killed: over {} s of processor time, or out of memory", limits.cpu_seconds);
      return fmt::format("was ended by signal {}", result.status);
    case SandboxResult::End::exited:
      break;
  }
  return fmt::format("exited with status {}", result.status);
}

}  // namespace

Sandbox::Sandbox(const SandboxLimits& limits)
    : limits_(limits),
      is_root_(::geteuid() == 0),
      has_user_namespaces_(!is_root_ && can_make_user_namespace()),
      landlock_version_(landlock_version()) {
  require(landlock_version_ > 0,
          "programs cannot be run in a sandbox here: this kernel has no Landlock (Linux 5.13 and newer, "
          "unless it is "
          "switched off: see /sys/kernel/security/lsm), and without it they could write anywhere");
  filter_ = make_sandbox_filter({.allows_processes = allows_processes(),
                                 // Another user cannot be signalled, and Landlock keeps signals inside.
                                 .allows_signals = is_root_ || landlock_version_ >= kLandlockScopesSignals});
}

SandboxResult Sandbox::run(const std::vector<std::string>& command, std::string_view input,
                           const std::map<std::string, std::string>& files) const {
  require(!command.empty() && command.front().starts_with('/'), "a sandbox runs a program by its whole path");
  const SandboxFolder folder;
  const std::optional<uid_t> user = is_root_ ? std::optional(user_of_next_program()) : std::nullopt;
  for (const auto& [name, content] : files) folder.add(name, content, user);
  if (user) folder.give_to(*user);

  std::error_code ignored;
  const std::vector<std::filesystem::path> readable = {
      "/usr",
      "/lib",
      "/lib64",
      "/bin",
      "/etc/ld.so.cache",
      "/etc/alternatives",
      std::filesystem::canonical(command.front(), ignored).parent_path(),
      std::filesystem::path(command.front()).parent_path()};
  const LandlockRules rules(landlock_version_, readable, folder.path());
  std::vector<std::string> arguments = command;
  std::vector<std::string> variables = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + folder.path().string(),
                                        "TMPDIR=" + folder.path().string(), "LANG=C.UTF-8",
                                        "PYTHONDONTWRITEBYTECODE=1"};
  const std::vector<char*> argument_pointers = pointers_to(arguments);
  const std::vector<char*> variable_pointers = pointers_to(variables);
  const Descriptor in(input_file(input));
  Pipe out;
  Pipe err;
  Pipe fault;
  const sock_fprog filter{static_cast<unsigned short>(filter_.size() / sizeof(sock_filter)),
                          reinterpret_cast<sock_filter*>(const_cast<std::byte*>(filter_.data()))};
  const Start start{folder.path().c_str(),
                    argument_pointers.data(),
                    variable_pointers.data(),
                    &limits_,
                    &rules,
                    filter,
                    user,
                    has_user_namespaces_,
                    in.get(),
                    out.write.get(),
                    err.write.get(),
                    fault.write.get()};
  const pid_t pid = ::fork();
  require(pid >= 0, "a program cannot be started: {}", errno_text(errno));
  if (pid == 0) start_program(start);
  ::setpgid(pid, pid);  // whoever comes first, so that its group can be killed from here on
  out.write.reset();
  err.write.reset();
  fault.write.reset();
  RunningProgram program(pid, out, err, limits_);
  std::array<unsigned char, 5> message{};
  ssize_t count = 0;
  while ((count = ::read(fault.read.get(), message.data(), message.size())) < 0 && errno == EINTR) {
  }
  if (count == static_cast<ssize_t>(message.size())) {
    int error = 0;
    std::memcpy(&error, message.data() + 1, sizeof(error));
    fail("{}: cannot be run in a sandbox: {}: {}", command.front(), step_name(message[0]), errno_text(error));
  }
  SandboxResult result = program.wait();
  result.explanation = explain(result, limits_);
  return result;
}

std::filesystem::path find_executable(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    require(::access(name.c_str(), X_OK) == 0, "{}: cannot be executed: {}", printable(name),
            errno_text(errno));
    return std::filesystem::absolute(name);
  }
  const char* path = std::getenv("PATH");
  std::string places = "/usr/local/bin:/usr/bin:/bin:";
  if (path != nullptr) places += path;
  for (std::size_t begin = 0; begin < places.size();) {
    const std::size_t end = std::min(places.find(':', begin), places.size());
    std::filesystem::path candidate = std::filesystem::path(places.substr(begin, end - begin)) / name;
    if (candidate.is_absolute() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  fail("there is no program \"{}\" on this machine", printable(name));
}

}  // namespace fathom
