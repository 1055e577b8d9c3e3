#pragma once

#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <vector>

namespace fathom::test {

/// What became of a run of the `fathom` binary.
struct ProgramResult {
  int status = -1;  // exit status; 128 + signal when one ended it
  std::string out;
  std::string err;
  long peak_kib = 0;  // largest resident set
};

/// Runs the binary of this build and waits for it.
/// @param input  what it finds on its standard input, which is no terminal
/// @param output  the file that its standard output goes to, instead of `out`
ProgramResult run_fathom(const std::vector<std::string>& arguments, const std::string& input = {},
                         const std::string& output = {});

/// The same on several processes, by `mpirun` (tests/mpirun.sh).
ProgramResult mpirun_fathom(int processes, const std::vector<std::string>& arguments);

/// The same on several hosts (tests/hosts.sh), as many processes on each. Status 77 where this machine cannot
/// pretend to have any.
ProgramResult hosts_fathom(int hosts, int processes_per_host, const std::vector<std::string>& arguments);
inline constexpr int kNoHosts = 77;

/// The same; when the first word stands on standard error, waits and has `act` do something, with the pid of
/// `mpirun`.
ProgramResult mpirun_fathom_and(int processes, const std::vector<std::string>& arguments,
                                std::chrono::milliseconds delay,
                                const std::function<void(pid_t mpirun)>& act);

/// Runs the binary, on several processes by `mpirun` or on one without; when `awaited` stands on standard
/// error, calls `act` with what stands there and the pid (of `mpirun`), which has to see to it that the
/// program ends; and waits. Does not call it where the program ends before.
ProgramResult fathom_while(int processes, const std::vector<std::string>& arguments,
                           const std::string& awaited,
                           const std::function<void(const std::string& err, pid_t pid)>& act);

/// The pid of one process of a job that was started so; -1 when it is not there.
pid_t pid_of_rank(pid_t mpirun, int rank);

/// Where a program's first words are waited for.
enum class Stream : bool { out, err };

/// Runs the binary, waits for the first of its output, sends signals, `delay` before each, and waits for its
/// end.
ProgramResult run_fathom_and_interrupt(const std::vector<std::string>& arguments, Stream stream = Stream::out,
                                       const std::vector<int>& signals = {SIGINT},
                                       std::chrono::milliseconds delay = {});

/// Runs the binary and kills it (SIGKILL) when it is still running after that time.
/// @return whether it was killed
bool run_fathom_and_kill(const std::vector<std::string>& arguments, std::chrono::milliseconds after);

/// A failure as every command must report it: this exit status, nothing but one line on stderr.
/// @return why it is not; empty when it is
std::string not_a_clean_failure(const ProgramResult& result, int status);

}  // namespace fathom::test

/// Fails unless the command ends with `exit_status` and one line on stderr that holds `text`.
#define EXPECT_CLEAN_FAILURE(result, exit_status, text)                                \
  do {                                                                                 \
    const auto& clean_failure_of = (result);                                           \
    EXPECT_EQ(::fathom::test::not_a_clean_failure(clean_failure_of, exit_status), ""); \
    EXPECT_THAT(clean_failure_of.err, ::testing::HasSubstr(text));                     \
  } while (false)
