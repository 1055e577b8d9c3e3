#include "cli/common_options.h"

namespace fathom::cli {

void add_threads_option(CLI::App& command, std::size_t& threads) {
  constexpr int kMostThreads = 1024;
  command.add_option("--threads", threads, "Threads to use (default: all of the machine)")
      ->check(CLI::Range(1, kMostThreads));
}

}  // namespace fathom::cli
