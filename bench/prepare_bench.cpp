// Preparing data, in MB of text a second and core, and its ratio to the tokenizer alone on the same texts:
// what reading, JSON, checksums, duplicates, and writing cost beside.
//
// usage: prepare_bench [TOKENIZER_FOLDER]
// The folder is by default shared/data/tokenizers/deepseek-v3 beside the checkout. Processor time is counted,
// so other programs on the machine hardly matter; the last column is the wall clock's.

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/rng.h"
#include "text/tokenizer.h"
#include "train/prepare.h"

namespace {

using namespace fathom;

constexpr std::size_t kTextBytes = 24U << 20U;
constexpr int kRounds = 3;

std::filesystem::path root() {
  return FATHOM_SOURCE_DIR;
}

std::filesystem::path shared_data() {
  const char* named = std::getenv("FATHOM_SHARED_DATA");
  return named != nullptr ? std::filesystem::path(named) : root() / "../shared/data";
}

/// Lines of prose and of sources, from which documents are drawn.
std::vector<std::string> lines() {
  std::vector<std::filesystem::path> files = {shared_data() / "text/tinyshakespeare.txt"};
  for (const char* folder : {"src", "docs"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root() / folder))
      if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> found;
  for (const auto& file : files) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) found.push_back(line);
  }
  return found;
}

/// Documents of 10 to 120 lines, 2 KB on average, each with a number of its own.
std::vector<std::string> documents() {
  const std::vector<std::string> all = lines();
  Rng random(1);
  std::vector<std::string> texts;
  for (std::size_t bytes = 0; bytes < kTextBytes; bytes += texts.back().size()) {
    std::string text = fmt::format("{}\n", texts.size());
    for (std::uint64_t left = 10 + random.below(110); left > 0; --left)
      text += all[random.below(all.size())] + "\n";
    texts.push_back(std::move(text));
  }
  return texts;
}

struct Times {
  double processor = std::numeric_limits<double>::infinity();
  double wall = std::numeric_limits<double>::infinity();
};

template <typename Action>
void time_once(Times& best, const Action& action) {
  const double wall = monotonic_seconds();
  const std::clock_t processor = std::clock();
  action();
  best.processor = std::min(best.processor, static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC);
  best.wall = std::min(best.wall, monotonic_seconds() - wall);
}

struct Case {
  const char* name;
  std::string file;
  std::optional<double> near_dedup;
  double fim_rate = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path tokenizer_folder =
      argc > 1 ? std::filesystem::path(argv[1]) : shared_data() / "tokenizers/deepseek-v3";
  if (!std::filesystem::exists(tokenizer_folder / "tokenizer.json")) {
    fmt::print("no tokenizer at {}: name its folder\n", tokenizer_folder.string());
    return 0;
  }
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("fathom-prepare-bench-{}", std::time(nullptr));
  create_folders(folder);
  const std::vector<std::string> texts = documents();
  double megabytes = 0;
  {
    std::ofstream json_lines(folder / "texts.jsonl");
    std::ofstream plain(folder / "texts.txt");
    for (const std::string& text : texts) {
      json_lines << Json({{"text", text}, {"id", 1}}).dump(-1, ' ', false, Json::error_handler_t::replace)
                 << "\n";
      plain << text << "-----\n";
      megabytes += static_cast<double>(text.size()) / 1e6;
    }
  }
  const std::string zstd = fmt::format("zstd -q '{}' 2>/dev/null", (folder / "texts.jsonl").string());
  const std::string gzip = fmt::format("gzip -k '{}' 2>/dev/null", (folder / "texts.jsonl").string());
  std::vector<Case> cases = {{"text", "texts.txt", {}},
                             {"JSON lines", "texts.jsonl", {}},
                             {"JSON lines, near duplicates", "texts.jsonl", 0.8},
                             {"JSON lines, FIM 0.1", "texts.jsonl", {}, 0.1}};
  if (std::system(zstd.c_str()) == 0) cases.push_back({"JSON lines, zstd", "texts.jsonl.zst", {}});
  if (std::system(gzip.c_str()) == 0) cases.push_back({"JSON lines, gzip", "texts.jsonl.gz", {}});

  const Tokenizer tokenizer = Tokenizer::load(tokenizer_folder);
  ThreadPool pool;
  Times alone;
  std::vector<Times> times(cases.size());
  for (int round = 0; round < kRounds; ++round) {
    time_once(alone, [&] {
      pool.parallel_for(texts.size(), [&](std::size_t i) { (void)tokenizer.encode(texts[i], false); });
    });
    for (std::size_t i = 0; i < cases.size(); ++i) {
      PrepareOptions options;
      options.sources = {{.inputs = {folder / cases[i].file}, .split_on = "-----"}};
      options.output = folder / "data";
      options.near_dedup = cases[i].near_dedup;
      options.fim_rate = cases[i].fim_rate;
      install_tokenizer(tokenizer_folder, options.output);
      Preparation preparation(options, pool, [](const PrepareProgress&) {});
      preparation.load_tokenizer();
      time_once(times[i], [&] {
        preparation.survey();
        (void)preparation.tokenize();
      });
      std::filesystem::remove_all(options.output);
    }
  }
  std::filesystem::remove_all(folder);
  fmt::print("{:.0f} MB of text, {} documents, {} threads; the best of {} rounds\n", megabytes, texts.size(),
             pool.threads(), kRounds);
  fmt::print("{:<30}{:>16}{:>16}{:>12}\n", "", "MB/s a core", "of tokenizer", "MB/s");
  const auto print = [&](const char* name, const Times& time) {
    fmt::print("{:<30}{:>16.1f}{:>15.0f} %{:>12.1f}\n", name, megabytes / time.processor,
               100 * alone.processor / time.processor, megabytes / time.wall);
  };
  print("the tokenizer alone", alone);
  for (std::size_t i = 0; i < cases.size(); ++i) print(cases[i].name, times[i]);
  return 0;
}
