#include "train/data_report.h"

#include <fmt/core.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/progress.h"

namespace fathom {
namespace {

OrderedJson to_json(const DataSplit& split) {
  return {{"tokens", split.tokens},
          {"documents", split.documents},
          {"bytes", split.bytes},
          {"shards", split.shards.size()}};
}

std::string counted(std::int64_t count) {
  return format_count(static_cast<std::uint64_t>(count));
}

std::string row(std::string_view source, std::string_view name, const DataSplit& split) {
  const double bytes_a_token =
      split.tokens > 0 ? static_cast<double>(split.bytes) / static_cast<double>(split.tokens) : 0.0;
  return fmt::format("  {:<16}{:<10}{:>18} tokens{:>14} documents{:>12} of text{:>6.2f} bytes a token\n",
                     source, name, counted(split.tokens), counted(split.documents),
                     format_bytes(static_cast<std::uint64_t>(split.bytes)), bytes_a_token);
}

std::string notes(const DataSource& source) {
  std::string text;
  const auto add = [&](std::int64_t count, std::string_view what) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counted(count), what);
  };
  add(source.exact_duplicates, "exact duplicates left out");
  add(source.near_duplicates, "near duplicates left out");
  add(source.repaired_documents, "with bytes that are no UTF-8 (now U+FFFD)");
  add(source.rearranged_documents, "rearranged for filling in the middle");
  return text;
}

}  // namespace

OrderedJson data_to_json(const DataManifest& manifest) {
  double weights = 0;
  for (const DataSource& source : manifest.sources) weights += source.weight;
  OrderedJson json = {{"vocab_size", manifest.vocab_size},
                      {"train", to_json(manifest.train)},
                      {"held_out", to_json(manifest.held_out)},
                      {"sources", OrderedJson::array()}};
  for (std::size_t i = 0; i < manifest.sources.size(); ++i) {
    const DataSource& source = manifest.sources[i];
    json["sources"].push_back({{"name", source.name},
                               {"weight", source.weight},
                               {"share", source.weight / weights},
                               {"train", to_json(manifest.split("train", i))},
                               {"held_out", to_json(manifest.split("held_out", i))},
                               {"exact_duplicates", source.exact_duplicates},
                               {"near_duplicates", source.near_duplicates},
                               {"repaired_documents", source.repaired_documents},
                               {"rearranged_documents", source.rearranged_documents}});
  }
  return json;
}

std::string data_to_text(const DataManifest& manifest) {
  double weights = 0;
  for (const DataSource& source : manifest.sources) weights += source.weight;
  std::string text = row("all", "train", manifest.train) + row("", "held out", manifest.held_out);
  for (std::size_t i = 0; i < manifest.sources.size(); ++i) {
    const DataSource& source = manifest.sources[i];
    const std::string name = printable(source.name);
    if (manifest.sources.size() > 1) {
      text +=
          row(name, "train", manifest.split("train", i)) + row("", "held out", manifest.split("held_out", i));
      text += fmt::format("  {:<16}{:.1f} % of the training sequences\n", "", 100 * source.weight / weights);
    }
    if (const std::string found = notes(source); !found.empty())
      text += fmt::format("  {:<16}documents: {}\n", manifest.sources.size() > 1 ? "" : name, found);
  }
  return text;
}

}  // namespace fathom
