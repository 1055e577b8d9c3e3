#include "cli/interrupt.h"

#include <csignal>

namespace fathom::cli {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler may write nothing else

void raise_flag(int) {
  interrupted = true;
}

}  // namespace

InterruptFlag::InterruptFlag() {
  interrupted = false;
  struct sigaction action {};
  action.sa_handler = raise_flag;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

InterruptFlag::~InterruptFlag() {
  std::signal(SIGINT, SIG_DFL);
}

const std::atomic<bool>& InterruptFlag::raised() const {
  return interrupted;
}

}  // namespace fathom::cli
