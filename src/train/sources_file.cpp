#include "train/sources_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/nearest_name.h"

namespace fathom {
namespace {

constexpr std::size_t kMostSources = 1024;
constexpr std::array<std::string_view, 6> kKeys = {"name", "files", "field", "split_on", "kind", "weight"};

/// The strings of one entry of the list.
class SourceReader {
 public:
  SourceReader(const Json& json, std::string where, std::filesystem::path folder)
      : json_(json), where_(std::move(where)), folder_(std::move(folder)) {
    require(json.is_object(), "{}: a source must be an object", where_);
    for (const auto& [key, value] : json.items()) {
      if (std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end()) continue;
      const std::string_view nearest = nearest_name(key, kKeys);
      fail("{}: unknown key \"{}\"{}", where_, printable(key),
           nearest.empty() ? "" : fmt::format(": did you mean {}?", nearest));
    }
  }

  [[nodiscard]] CorpusOptions read() const {
    CorpusOptions source;
    require(json_.contains("name") && json_.contains("files"), "{}: a source needs \"name\" and \"files\"",
            where_);
    source.name = text("name", "");
    source.field = text("field", source.field);
    source.split_on = text("split_on", "");
    source.kind = kind(text("kind", "auto"));
    if (json_.contains("weight")) {
      require(json_.at("weight").is_number(), "{}: \"weight\" must be a number", where_);
      source.weight = json_.at("weight").get<double>();
    }
    const Json& files = json_.at("files");
    if (files.is_string()) {
      source.inputs.push_back(folder_ / files.get<std::string>());
    } else {
      require(files.is_array() && !files.empty(), "{}: \"files\" must be a path or an array of paths",
              where_);
      for (const Json& file : files) {
        require(file.is_string(), "{}: \"files\" must be a path or an array of paths", where_);
        source.inputs.push_back(folder_ / file.get<std::string>());
      }
    }
    return source;
  }

 private:
  [[nodiscard]] std::string text(const char* key, const std::string& absent) const {
    if (!json_.contains(key)) return absent;
    require(json_.at(key).is_string(), "{}: \"{}\" must be a string", where_, key);
    return json_.at(key).get<std::string>();
  }
  [[nodiscard]] CorpusKind kind(const std::string& name) const {
    if (name == "auto") return CorpusKind::automatic;
    require(name == "text" || name == "jsonl", "{}: \"kind\" must be \"auto\", \"text\" or \"jsonl\"",
            where_);
    return name == "text" ? CorpusKind::text : CorpusKind::json_lines;
  }

  const Json& json_;
  std::string where_;
  std::filesystem::path folder_;
};

}  // namespace

std::vector<CorpusOptions> read_sources_file(const std::filesystem::path& file) {
  const Json json = read_json_file(file);
  const bool listed = json.is_object() && json.size() == 1 && json.contains("sources");
  require(listed && json.at("sources").is_array() && !json.at("sources").empty() &&
              json.at("sources").size() <= kMostSources,
          "{}: must be an object with \"sources\" alone, an array of 1 to {}", file.string(), kMostSources);
  std::vector<CorpusOptions> sources;
  for (const Json& entry : json.at("sources")) {
    const std::string where = fmt::format("{}: sources[{}]", file.string(), sources.size());
    sources.push_back(SourceReader(entry, where, file.parent_path()).read());
  }
  return sources;
}

}  // namespace fathom
