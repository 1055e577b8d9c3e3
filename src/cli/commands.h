#pragma once

#include <CLI/CLI.hpp>

namespace fathom::cli {

// Each adds one subcommand to the program; its callback does the work. One file per command.
// An exception that leaves a callback becomes a one-line message and the exit status (base/error.h).

/// Thrown by a command that has said all there is to say: the program ends with this status.
struct ExitStatus {
  int value;
};
inline constexpr int kExitInterrupted = 130;  // 128 + SIGINT, as shells count

void add_bench(CLI::App& app);
void add_compare(CLI::App& app);
void add_convert(CLI::App& app);
void add_plan(CLI::App& app);
void add_prepare(CLI::App& app);
void add_quantize(CLI::App& app);
void add_rl(CLI::App& app);
void add_run(CLI::App& app);
void add_score(CLI::App& app);
void add_sft(CLI::App& app);
void add_serve(CLI::App& app);
void add_eval(CLI::App& app);
void add_imatrix(CLI::App& app);
void add_inspect(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_needle(CLI::App& app);
void add_needle_corpus(CLI::App& app);
void add_task(CLI::App& app);
void add_train(CLI::App& app);

}  // namespace fathom::cli
