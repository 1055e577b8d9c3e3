#pragma once

#include <CLI/CLI.hpp>

namespace fathom::cli {

// What `fathom plan` can be asked; each adds one subcommand to it.
void add_plan_cache(CLI::App& plan);
void add_plan_cost(CLI::App& plan);
void add_plan_schedule(CLI::App& plan);
void add_plan_search(CLI::App& plan);

}  // namespace fathom::cli
