#include "support/program.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "support/shared_data.h"

namespace fathom::test {
namespace {

std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// In the child, between fork and exec: the streams become these files. Only calls that are safe there.
void redirect_and_run(const char* in, const char* out, const char* err, char* const* argv) {
  const std::array<std::pair<const char*, int>, 3> streams = {
      {{in, O_RDONLY}, {out, O_WRONLY | O_CREAT | O_TRUNC}, {err, O_WRONLY | O_CREAT | O_TRUNC}}};
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const int descriptor = open(streams[i].first, streams[i].second, 0600);
    if (descriptor < 0 || dup2(descriptor, static_cast<int>(i)) < 0) _exit(126);
    close(descriptor);
  }
  execv(argv[0], argv);
  _exit(127);
}

/// A running program, with its streams in files.
class Program {
 public:
  /// @param start  the program, and its first arguments
  Program(std::vector<std::string> start, const std::vector<std::string>& arguments, const std::string& input,
          const std::string& output)
      : out_(output.empty() ? (folder_.path() / "out").string() : output) {
    const std::string in = folder_.path() / "in";
    std::ofstream(in, std::ios::binary) << input;
    std::vector<std::string> words = std::move(start);
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    child_ = fork();
    require(child_ >= 0, "fork: {}", errno_text(errno));
    if (child_ == 0) redirect_and_run(in.c_str(), out_.c_str(), err_.c_str(), argv.data());
  }

  [[nodiscard]] pid_t pid() const { return child_; }

  void wait_until_it_writes(Stream stream) const {
    const std::string& file = stream == Stream::out ? out_ : err_;
    std::error_code ignored;
    while (!(std::filesystem::file_size(file, ignored) > 0) || ignored)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

  [[nodiscard]] std::string err() const { return read_all(err_); }

  /// @return  whether it did, on standard error, before it ended
  [[nodiscard]] bool wait_until_it_says(const std::string& text) const {
    while (err().find(text) == std::string::npos) {
      siginfo_t ended{};
      if (waitid(P_PID, static_cast<id_t>(child_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          ended.si_pid != 0)
        return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }

  void signal_once_it_writes(Stream stream, const std::vector<int>& signals,
                             std::chrono::milliseconds delay) const {
    wait_until_it_writes(stream);
    for (const int signal : signals) {
      std::this_thread::sleep_for(delay);
      kill(child_, signal);
    }
  }

  void kill_after(std::chrono::milliseconds time) const {
    std::this_thread::sleep_for(time);
    kill(child_, SIGKILL);  // of a child that has ended and is not waited for yet, nothing comes
  }

  ProgramResult wait() const {
    int status = 0;
    rusage usage{};
    while (wait4(child_, &status, 0, &usage) < 0) require(errno == EINTR, "wait4: {}", errno_text(errno));
    ProgramResult result;
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (std::filesystem::is_regular_file(out_)) result.out = read_all(out_);
    result.err = read_all(err_);
    result.peak_kib = usage.ru_maxrss;
    return result;
  }

 private:
  TemporaryFolder folder_;
  std::string out_;
  std::string err_ = folder_.path() / "err";
  pid_t child_ = -1;
};

std::vector<std::string> fathom() {
  return {FATHOM_BINARY};
}

std::vector<std::string> mpirun(int processes) {
  return {source_folder() / "tests" / "mpirun.sh", std::to_string(processes), FATHOM_BINARY};
}

}  // namespace

ProgramResult run_fathom(const std::vector<std::string>& arguments, const std::string& input,
                         const std::string& output) {
  return Program(fathom(), arguments, input, output).wait();
}

ProgramResult run_fathom_and_interrupt(const std::vector<std::string>& arguments, Stream stream,
                                       const std::vector<int>& signals, std::chrono::milliseconds delay) {
  const Program program(fathom(), arguments, {}, {});
  program.signal_once_it_writes(stream, signals, delay);
  return program.wait();
}

bool run_fathom_and_kill(const std::vector<std::string>& arguments, std::chrono::milliseconds after) {
  const Program program(fathom(), arguments, {}, {});
  program.kill_after(after);
  return program.wait().status == 128 + SIGKILL;
}

ProgramResult mpirun_fathom(int processes, const std::vector<std::string>& arguments) {
  return Program(mpirun(processes), arguments, {}, {}).wait();
}

ProgramResult hosts_fathom(int hosts, int processes_per_host, const std::vector<std::string>& arguments) {
  return Program({source_folder() / "tests" / "hosts.sh", std::to_string(hosts),
                  std::to_string(processes_per_host), FATHOM_BINARY},
                 arguments, {}, {})
      .wait();
}

ProgramResult mpirun_fathom_and(int processes, const std::vector<std::string>& arguments,
                                std::chrono::milliseconds delay,
                                const std::function<void(pid_t mpirun)>& act) {
  const Program program(mpirun(processes), arguments, {}, {});
  program.wait_until_it_writes(Stream::err);
  std::this_thread::sleep_for(delay);
  act(program.pid());
  return program.wait();
}

ProgramResult fathom_while(int processes, const std::vector<std::string>& arguments,
                           const std::string& awaited,
                           const std::function<void(const std::string& err, pid_t pid)>& act) {
  const Program program(processes == 1 ? fathom() : mpirun(processes), arguments, {}, {});
  if (program.wait_until_it_says(awaited)) act(program.err(), program.pid());
  return program.wait();
}

pid_t pid_of_rank(pid_t mpirun, int rank) {
  const std::string parent = fmt::format("\nPPid:\t{}\n", mpirun);
  const std::string variable = fmt::format("OMPI_COMM_WORLD_RANK={}", rank) + '\0';
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    // A process that ends meanwhile reads as nothing.
    if (read_all(entry.path() / "status").find(parent) == std::string::npos) continue;
    if (read_all(entry.path() / "environ").find(variable) != std::string::npos)
      return static_cast<pid_t>(std::stoi(entry.path().filename()));
  }
  return -1;
}

std::string not_a_clean_failure(const ProgramResult& result, int status) {
  if (result.status != status)
    return fmt::format("exit status {}, not {}; stderr: {}", result.status, status, result.err);
  if (!result.err.starts_with("fathom: "))
    return fmt::format("stderr does not begin with `fathom: `: {}", result.err);
  const auto lines = std::ranges::count(result.err, '\n');
  // A usage error adds a line that says where help is.
  if (lines != 1 && !(status == 2 && lines == 2))
    return fmt::format("stderr is {} lines: {}", lines, result.err);
  return {};
}

}  // namespace fathom::test
