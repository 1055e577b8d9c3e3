#include "cli/interrupt.h"

#include <array>
#include <csignal>

namespace fathom::cli {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM};

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler may write nothing else

void raise_flag(int signal) {
  if (!interrupted.exchange(true)) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // arrives when this handler returns
}

}  // namespace

InterruptFlag::InterruptFlag() {
  interrupted = false;
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

}  // namespace fathom::cli
