// `fathom plan`: what training costs before anyone pays for it. One file per question.

#include "cli/plan.h"

#include "cli/commands.h"

namespace fathom::cli {

void add_plan(CLI::App& app) {
  CLI::App* command = app.add_subcommand("plan", "Answers questions about training on many machines");
  command->require_subcommand(1);
  add_plan_schedule(*command);
  add_plan_cost(*command);
  add_plan_search(*command);
  add_plan_cache(*command);
}

}  // namespace fathom::cli
