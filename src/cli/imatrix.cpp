// `fathom imatrix`: which inputs of a model's linear maps are driven hard, for `fathom quantize`.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "infer/text_model.h"
#include "model/importance_meter.h"

namespace fathom::cli {
namespace {

struct ImatrixCommand {
  std::string model;
  std::vector<std::string> texts;
  std::string output = "imatrix.gguf";
  std::int64_t chunk_tokens = 512;
  std::int64_t max_tokens = 0;  // 0: all
  std::size_t threads = 0;
};

std::vector<std::int32_t> tokens_of_texts(const ImatrixCommand& command, const TextModel& model) {
  std::vector<std::int32_t> tokens;
  for (const std::string& file : command.texts) {
    const std::vector<std::int32_t> more = model.tokenizer.encode(read_text_file(file, kMaxTextBytes), true);
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  if (command.max_tokens > 0 && static_cast<std::int64_t>(tokens.size()) > command.max_tokens)
    tokens.resize(static_cast<std::size_t>(command.max_tokens));
  require(!tokens.empty(), "the text is empty: there is nothing to measure");
  return tokens;
}

/// Experts of which little is known, in a line of warning.
void warn_of_rare_experts(const ImportanceMatrix& importance) {
  std::int64_t rare = 0;
  std::int64_t all = 0;
  for (const auto& [name, entry] : importance.entries()) {
    if (!name.ends_with("ffn_down_exps.weight")) continue;
    all += static_cast<std::int64_t>(entry.tokens.size());
    rare += std::ranges::count_if(entry.tokens, [](std::int64_t tokens) {
      return static_cast<double>(tokens) < ImportanceMatrix::kPriorTokens;
    });
  }
  if (rare > 0)
    log_warning(
        "{} of {} experts were chosen by fewer than {:.0f} tokens and lean on the mean of their layer: more "
        "text "
        "would tell more",
        rare, all, ImportanceMatrix::kPriorTokens);
}

void run_imatrix(const ImatrixCommand& command) {
  const TextModel model = load_text_model(command.model);
  const std::vector<std::int32_t> tokens = tokens_of_texts(command, model);
  const std::int64_t chunk = std::min(command.chunk_tokens, model.config.max_position_embeddings);
  ThreadPool pool(command.threads);
  const Context context{pool};
  ImportanceMeter meter(model.config, model.weights, chunk);
  ImportanceMatrix& importance = meter.matrix();
  importance.datasets = command.texts;
  importance.chunk_tokens = chunk;

  ProgressLine progress;
  const double start = monotonic_seconds();
  const auto count = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t begin = 0; begin < count; begin += chunk) {
    const std::int64_t end = std::min(begin + chunk, count);
    meter.read(context, std::span(tokens).subspan(static_cast<std::size_t>(begin),
                                                  static_cast<std::size_t>(end - begin)));
    ++importance.chunks;
    const double rate = static_cast<double>(end) / std::max(monotonic_seconds() - start, 1e-9);
    progress.update(fmt::format("{} of {} tokens, {:.0f} tok/s, {} left",
                                format_count(static_cast<std::uint64_t>(end)),
                                format_count(static_cast<std::uint64_t>(count)), rate,
                                format_duration(static_cast<double>(count - end) / rate)));
  }
  write_importance(command.output, importance);
  progress.finish(fmt::format("{}: {} tensors from {} tokens in {}", command.output,
                              importance.entries().size(), format_count(static_cast<std::uint64_t>(count)),
                              format_duration(monotonic_seconds() - start)));
  warn_of_rare_experts(importance);
}

}  // namespace

void add_imatrix(CLI::App& app) {
  auto options = std::make_shared<ImatrixCommand>();
  CLI::App* command = app.add_subcommand(
      "imatrix", "Importance matrix from text: mean squares of what each linear map and expert is given");
  command->add_option("model", options->model, "Model, as fathom run takes it, best before it is quantised")
      ->required();
  command->add_option("text", options->texts, "Text files such as the model is to read and write")
      ->required();
  command->add_option("--output", options->output, "GGUF file to write, which llama.cpp reads too")
      ->capture_default_str();
  command->add_option("--chunk-tokens", options->chunk_tokens, "Tokens of one sequence")
      ->check(at_least(1))
      ->capture_default_str();
  command->add_option("--max-tokens", options->max_tokens, "Read no more than that")->check(at_least(1));
  add_threads_option(*command, options->threads);
  command->callback([options] { run_imatrix(*options); });
}

}  // namespace fathom::cli
