// `fathom`: one binary, a subcommand per job.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "base/error.h"
#include "cli/commands.h"

namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Trains, runs and inspects DeepSeek-V3-architecture language models.", "fathom");
  app.set_version_flag("--version", FATHOM_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  fathom::cli::add_prepare(app);
  fathom::cli::add_run(app);
  fathom::cli::add_score(app);
  fathom::cli::add_inspect(app);
  fathom::cli::add_tokenize(app);
  fathom::cli::add_train(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    fmt::print(stderr, "fathom: {}\nTry `fathom --help`, or `fathom COMMAND --help`.\n", error.what());
    return kExitUsage;
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
