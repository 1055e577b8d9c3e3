#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>

namespace fathom::cli {

/// The longest text that a command takes from one `--file`.
inline constexpr std::uint64_t kMaxTextBytes = std::uint64_t{1} << 30U;

/// Adds `--threads` as every command that computes has it: 1 to 1024, by default (0 here) all of the machine.
void add_threads_option(CLI::App& command, std::size_t& threads);

}  // namespace fathom::cli
