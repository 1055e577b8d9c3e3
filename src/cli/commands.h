#pragma once

#include <CLI/CLI.hpp>

namespace fathom::cli {

// Each adds one subcommand to the program; its callback does the work. One file per command.
// An exception that leaves a callback becomes a one-line message and the exit status (base/error.h).

void add_tokenize(CLI::App& app);

}  // namespace fathom::cli
