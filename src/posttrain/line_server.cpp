#include "posttrain/line_server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <utility>

#include "base/progress.h"

namespace fathom {
namespace {

constexpr std::size_t kLongestAnswer = std::size_t{1} << 20U;
constexpr char kCannotExecute = 127;

void close_if_open(int& descriptor) {
  if (descriptor >= 0) ::close(descriptor);
  descriptor = -1;
}

}  // namespace

LineServer::LineServer(std::filesystem::path program, std::vector<std::string> arguments, double seconds)
    : program_(std::move(program)), arguments_(std::move(arguments)), seconds_(seconds) {}

LineServer::~LineServer() {
  stop();
}

std::string LineServer::ask(std::string_view line) {
  if (pid_ < 0) start();
  return exchange(line);
}

void LineServer::start() {
  std::array<int, 2> to{-1, -1};  // a socket, so that writing to a program that has ended is no signal
  std::array<int, 2> from{-1, -1};
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to.data()) == 0, "{}: cannot be started: {}",
          program_.string(), errno_text(errno));
  if (::pipe2(from.data(), O_CLOEXEC) != 0) {
    const int error = errno;
    ::close(to[0]);
    ::close(to[1]);
    fail("{}: cannot be started: {}", program_.string(), errno_text(error));
  }
  std::string path = program_.string();
  std::vector<char*> arguments = {path.data()};
  for (std::string& argument : arguments_) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    // Only what may be called between fork and exec of a process with threads.
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (::dup2(to[1], 0) >= 0 && ::dup2(from[1], 1) >= 0) ::execv(path.c_str(), arguments.data());
    ::_exit(kCannotExecute);
  }
  const int error = errno;
  ::close(to[1]);
  ::close(from[1]);
  to_ = to[0];
  from_ = from[0];
  if (pid_ < 0) give_up(errno_text(error));
  ::setpgid(pid_, pid_);  // whoever comes first
}

void LineServer::stop() {
  close_if_open(to_);
  close_if_open(from_);
  if (pid_ < 0) return;
  ::kill(-pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void LineServer::give_up(const std::string& why) {
  stop();
  throw LineServerFailure(fmt::format("{}: {}", program_.string(), why));
}

std::string LineServer::exchange(std::string_view line) {
  const double deadline = monotonic_seconds() + seconds_;
  std::string question(line);
  question += '\n';
  std::size_t sent = 0;
  std::string answer;
  for (;;) {
    const double left = deadline - monotonic_seconds();
    if (left <= 0) give_up(fmt::format("did not answer within {:g} s", seconds_));
    std::array<pollfd, 2> events{{{sent < question.size() ? to_ : -1, POLLOUT, 0}, {from_, POLLIN, 0}}};
    if (::poll(events.data(), events.size(), static_cast<int>(std::ceil(1000 * std::min(left, 60.0)))) < 0)
      continue;
    if (events[0].revents != 0) {
      const ssize_t count =
          ::send(to_, question.data() + sent, question.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno != EAGAIN && errno != EINTR) give_up("ended, or closed its standard input");
      if (count > 0) sent += static_cast<std::size_t>(count);
    }
    if (events[1].revents == 0) continue;
    std::array<char, 65536> buffer{};
    const ssize_t count = ::read(from_, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) give_up("ended without an answer, or cannot be executed");
    answer.append(buffer.data(), static_cast<std::size_t>(count));
    if (answer.size() > kLongestAnswer)
      give_up(fmt::format("answered with more than {} bytes", kLongestAnswer));
    const std::size_t end = answer.find('\n');
    if (end == std::string::npos) continue;
    if (end + 1 != answer.size()) give_up("answered one line with several");
    if (sent < question.size()) give_up("answered before it had read the line");
    answer.pop_back();
    return answer;
  }
}

}  // namespace fathom
