// Encoding speed, one thread, in MB of UTF-8 a second, and its ratio to the `tokenizers` library in the same
// run.
//
// usage: tokenizer_bench [TOKENIZER_FOLDER]
// The folder is by default shared/data/tokenizers/deepseek-v3 beside the checkout. FATHOM_PEER_PYTHON names a
// Python that has `tokenizers`; without it only our own figures are printed.

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using namespace fathom;

constexpr int kPasses = 5;
constexpr std::size_t kDocumentBytes = 4096;
constexpr std::size_t kCorpusBytes = 2U << 20U;

std::filesystem::path root() {
  return FATHOM_SOURCE_DIR;
}

std::filesystem::path shared_data() {
  const char* named = std::getenv("FATHOM_SHARED_DATA");
  return named != nullptr ? std::filesystem::path(named) : root() / "../shared/data";
}

struct Corpus {
  std::string name;
  std::string text;
};

std::optional<std::string> english() {
  const std::filesystem::path file = shared_data() / "text/tinyshakespeare.txt";
  if (!std::filesystem::exists(file)) return std::nullopt;
  return read_text_file(file, kCorpusBytes);
}

std::string sources() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root() / "src")) {
    if (entry.is_regular_file() && entry.path().extension() == ".cpp") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string text;
  for (const auto& file : files) {
    if (text.size() < kCorpusBytes) text += read_text_file(file, kCorpusBytes);
  }
  return text;
}

// The fragments of the goldens, many scripts, emoji and odd characters, in random order.
std::string mixed() {
  const Json corpus = read_json_file(root() / "tests/text/goldens/corpus.json");
  std::vector<std::string> fragments;
  for (const Json& hex : corpus.at("fragments")) {
    const auto digits = hex.get<std::string>();
    std::string bytes;
    for (std::size_t i = 0; i < digits.size(); i += 2) {
      bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    }
    append_as_utf8(bytes, fragments.emplace_back());
  }
  Rng random(1);
  std::string text;
  while (text.size() < kCorpusBytes) text += fragments[random.below(fragments.size())];
  return text;
}

// Pieces of about 4 KB, cut between characters.
std::vector<std::string> documents_of(const std::string& text) {
  std::vector<std::string> documents;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.size(), at + kDocumentBytes);
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) ++end;
    documents.push_back(text.substr(at, end - at));
    at = end;
  }
  return documents;
}

// Processor time (one thread runs): other programs on the machine do not count, for the peer neither.
double processor_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

struct Timing {
  double seconds = std::numeric_limits<double>::infinity();
  std::size_t ids = 0;
};

// The quickest of several passes, as for the peer; both keep their word caches from pass to pass.
Timing time_ours(const std::filesystem::path& folder, const std::vector<std::string>& documents) {
  const Tokenizer tokenizer = Tokenizer::load(folder);
  Timing best;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double start = processor_seconds();
    std::size_t ids = 0;
    for (const std::string& document : documents) ids += tokenizer.encode(document, false).size();
    best = {std::min(best.seconds, processor_seconds() - start), ids};
  }
  return best;
}

std::optional<Timing> time_peer(const std::filesystem::path& folder,
                                const std::vector<std::string>& documents) {
  const char* python = std::getenv("FATHOM_PEER_PYTHON");
  if (python == nullptr) return std::nullopt;
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "fathom_tokenizer_bench.json";
  write_file_atomically(file, Json(documents).dump());
  const std::string command =
      fmt::format("'{}' '{}' '{}' '{}'", python, (root() / "bench/tokenizer_peer.py").string(),
                  (folder / "tokenizer.json").string(), file.string());
  std::FILE* output = popen(command.c_str(), "r");
  Timing timing;
  const bool read = output != nullptr && std::fscanf(output, "%lf %zu", &timing.seconds, &timing.ids) == 2;
  if (output != nullptr) pclose(output);
  std::filesystem::remove(file);
  return read ? std::optional(timing) : std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path folder =
      argc > 1 ? std::filesystem::path(argv[1]) : shared_data() / "tokenizers/deepseek-v3";
  if (!std::filesystem::exists(folder / "tokenizer.json")) {
    fmt::print("no tokenizer at {}: name its folder\n", folder.string());
    return 0;
  }
  std::vector<Corpus> corpora;
  if (auto text = english()) corpora.push_back({"English prose", std::move(*text)});
  corpora.push_back({"C++ sources", sources()});
  corpora.push_back({"mixed scripts", mixed()});
  fmt::print("{:<16}{:>10}{:>14}{:>16}{:>8}\n", "text", "MB", "fathom MB/s", "tokenizers MB/s", "ratio");
  for (const Corpus& corpus : corpora) {
    const std::vector<std::string> documents = documents_of(corpus.text);
    const double megabytes = static_cast<double>(corpus.text.size()) / 1e6;
    const Timing ours = time_ours(folder, documents);
    fmt::print("{:<16}{:>10.2f}{:>14.1f}", corpus.name, megabytes, megabytes / ours.seconds);
    if (const auto peer = time_peer(folder, documents)) {
      fmt::print("{:>16.1f}{:>8.2f}{}", megabytes / peer->seconds, peer->seconds / ours.seconds,
                 peer->ids == ours.ids ? "" : "  DIFFERENT IDS");
    }
    fmt::print("\n");
  }
  return 0;
}
