// `fathom needle`: how well a model finds a fact in a long text, by length and depth.

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/interrupt.h"
#include "infer/text_model.h"
#include "train/needle.h"
#include "train/needle_picture.h"
#include "train/run_facts.h"

namespace fathom::cli {
namespace {

constexpr std::uint64_t kMaxHaystackBytes = std::uint64_t{1} << 30U;
constexpr std::int64_t kDefaultLengths = 6;

struct NeedleCommand {
  std::string model;
  std::string haystack;
  std::string output;
  NeedleOptions needle;
  std::int64_t depths = 11;
  std::size_t threads = 0;
  bool beyond = false;
  bool json = false;
};

void check_lengths(const NeedleCommand& options, const NeedleOptions& needle, const ModelConfig& config) {
  const std::int64_t longest = *std::ranges::max_element(needle.lengths);
  if (options.beyond || longest <= config.max_position_embeddings) return;
  throw UsageError(fmt::format(
      "length {} exceeds the {} positions that the model is made for: extend it (`fathom train --init MODEL "
      "--extend-context FACTOR`), or add --beyond to see what it does there",
      longest, config.max_position_embeddings));
}

NeedleOptions needle_options(const NeedleCommand& options, const TextModel& model) {
  NeedleOptions needle = options.needle;
  if (needle.lengths.empty())
    needle.lengths = doubling_lengths(model.config.max_position_embeddings,
                                      shortest_needle_text(model.tokenizer), kDefaultLengths);
  std::ranges::sort(needle.lengths);
  needle.lengths.erase(std::unique(needle.lengths.begin(), needle.lengths.end()), needle.lengths.end());
  needle.depths = even_depths(options.depths);
  check_lengths(options, needle, model.config);
  return needle;
}

std::filesystem::path output_folder(const NeedleCommand& options) {
  return options.output.empty() ? options.model : options.output;
}

void write_results(const NeedleCommand& options, const NeedleMap& map, const std::string& name,
                   const ModelConfig& config) {
  const std::filesystem::path folder = output_folder(options);
  OrderedJson json = {{"model", name},
                      {"haystack", options.haystack.empty() ? "generated" : options.haystack}};
  json.update(needle_json(map));
  constexpr auto kReplace = OrderedJson::error_handler_t::replace;  // bytes of paths that are no UTF-8
  write_file_atomically(folder / "needle.json", json.dump(2, ' ', false, kReplace) + "\n");
  write_file_atomically(folder / "needle.svg", needle_svg(map, name, config.max_position_embeddings));
  if (options.json) {
    fmt::print("{}\n", json.dump(-1, ' ', false, kReplace));
  } else {
    fmt::print("{}", needle_table(map));
  }
  log_info("found {:.1f} % of all; picture: {}", 100 * map.accuracy(), (folder / "needle.svg").string());
}

void run_needle(const NeedleCommand& options) {
  const TextModel model = load_text_model(options.model);
  const NeedleOptions needle = needle_options(options, model);
  const Haystack haystack = options.haystack.empty()
                                ? generated_haystack()
                                : text_haystack(read_text_file(options.haystack, kMaxHaystackBytes));
  create_folders(output_folder(options));  // what is wrong with it is said now, not after the work
  ThreadPool pool(options.threads);
  const Context context{pool};
  const Transformer transformer(model.config, model.weights, *std::ranges::max_element(needle.lengths));
  const InterruptFlag interrupt;
  ProgressLine line;
  const double begin = monotonic_seconds();
  NeedleMap map;
  blame_non_finite_weights(model, [&] {
    map = find_needles(context, transformer, model.tokenizer, haystack, needle, [&](double done) {
      const double seconds = monotonic_seconds() - begin;
      line.update(
          fmt::format("needle: {:.0f} %  ETA {}", 100 * done, format_duration(seconds / done - seconds)));
      return !interrupt.raised();
    });
  });
  line.finish(fmt::format("needle: {} texts in {}",
                          map.cells.size() * needle.depths.size() * static_cast<std::size_t>(needle.trials),
                          format_duration(monotonic_seconds() - begin)));
  if (map.cells.empty()) throw ExitStatus{kExitInterrupted};
  write_results(options, map, run_name(options.model), model.config);
  if (map.cells.size() < needle.lengths.size()) throw ExitStatus{kExitInterrupted};
}

}  // namespace

void add_needle(CLI::App& app) {
  auto options = std::make_shared<NeedleCommand>();
  NeedleOptions& needle = options->needle;
  CLI::App* command = app.add_subcommand(
      "needle", "Hide a fact in long texts and ask for it: accuracy by length and depth, as a picture");
  command->add_option("model", options->model, kModelHelp)->required();
  command
      ->add_option(
          "--lengths", needle.lengths,
          "Tokens of a text with question and answer, as 1024,4096 (default: six that double up to the "
          "model's max_position_embeddings)")
      ->delimiter(',')
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
  command->add_option("--depths", options->depths, "How many depths, from before all text to behind it")
      ->check(CLI::Range(1, 1001))
      ->capture_default_str();
  command->add_option("--trials", needle.trials, "Texts for each length, each with another fact")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command
      ->add_option("--distractors", needle.distractors,
                   "Facts of the same form about other cities in each text (at most 15)")
      ->check(CLI::Range(0, 15))
      ->capture_default_str();
  command->add_option("--haystack", options->haystack,
                      "A text file to hide the fact in (default: made-up sentences)");
  command->add_option("--seed", needle.seed, "Same seed, same texts")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("-o,--output", options->output,
                      "Folder for needle.svg and needle.json (default: the model's)");
  command->add_flag("--beyond", options->beyond, "Allow lengths above the model's max_position_embeddings");
  command->add_flag("--json", options->json, "Print the contents of needle.json instead of a table");
  add_threads_option(*command, options->threads);
  command->callback([options] { run_needle(*options); });
}

}  // namespace fathom::cli
