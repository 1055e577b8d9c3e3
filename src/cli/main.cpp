// `fathom`: one binary, a subcommand per job.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/nearest_name.h"
#include "cli/commands.h"
#include "kernels/simd_limit.h"

namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

/// What to say when no command was recognised.
std::string missing_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2) return "give a command, as `fathom run`";
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(/*filter=*/nullptr))
    names.push_back(command->get_name());
  const std::vector<std::string_view> known(names.begin(), names.end());
  const std::string_view nearest = fathom::nearest_name(argv[1], known);
  return fmt::format("there is no command or option \"{}\"{}", fathom::printable(argv[1]),
                     nearest.empty() ? "" : fmt::format(": did you mean {}?", nearest));
}

/// Parses the command line and runs the command, whose exceptions pass through.
int run_program(int argc, char** argv) {
  CLI::App app("Trains, runs and inspects DeepSeek-V3-architecture language models.", "fathom");
  app.set_version_flag("--version", FATHOM_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  fathom::cli::add_prepare(app);
  fathom::cli::add_imatrix(app);
  fathom::cli::add_quantize(app);
  fathom::cli::add_run(app);
  fathom::cli::add_serve(app);
  fathom::cli::add_score(app);
  fathom::cli::add_inspect(app);
  fathom::cli::add_convert(app);
  fathom::cli::add_tokenize(app);
  fathom::cli::add_task(app);
  fathom::cli::add_train(app);
  fathom::cli::add_sft(app);
  fathom::cli::add_rl(app);
  fathom::cli::add_eval(app);
  fathom::cli::add_bench(app);
  fathom::cli::add_compare(app);
  fathom::cli::add_plan(app);
  fathom::cli::add_needle(app);
  fathom::cli::add_needle_corpus(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    const std::vector<CLI::App*> command = app.get_subcommands();
    fmt::print(stderr, "fathom: {}\nTry `fathom{} --help`.\n",
               command.empty() ? missing_command(app, argc, argv) : error.what(),
               command.empty() ? "" : " " + command.front()->get_name());
    return kExitUsage;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    fathom::kernels::limit_simd_by_environment();
    return run_program(argc, argv);
  } catch (const fathom::cli::ExitStatus& status) {
    return status.value;
  } catch (const fathom::UsageError& error) {
    fmt::print(stderr, "fathom: {}\n", error.what());
    return kExitUsage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "fathom: {}\n", error.what());
    return kExitFailure;
  }
}
