#include "cli/interrupt.h"

#include <array>
#include <csignal>

namespace fathom::cli {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGUSR1};

std::atomic<bool> interrupted{false};
std::atomic<int> first_signal{0};
// A signal handler may write nothing else.
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void raise_flag(int signal) {
  if (!interrupted.exchange(true)) {
    first_signal = signal;
    return;
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // arrives when this handler returns
}

}  // namespace

InterruptFlag::InterruptFlag() {
  interrupted = false;
  first_signal = 0;
  struct sigaction action {};
  action.sa_handler = raise_flag;
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
}

InterruptFlag::~InterruptFlag() {
  for (const int signal : kSignals) std::signal(signal, SIG_DFL);
}

const std::atomic<bool>& InterruptFlag::raised() const {
  return interrupted;
}

int InterruptFlag::signal() const {
  return first_signal;
}

}  // namespace fathom::cli
