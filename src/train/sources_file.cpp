#include "train/sources_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
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
    const Json list = files.is_array() ? files : Json::array({files});
    require(!list.empty() && std::all_of(list.begin(), list.end(), is_path),
            "{}: \"files\" must be a path or an array of paths", where_);
    for (const Json& entry : list) source.inputs.push_back(folder_ / entry.get<std::string>());
    return source;
  }

 private:
  static bool is_path(const Json& value) {
    if (!value.is_string()) return false;
    const auto& text = value.get_ref<const std::string&>();
    return !text.empty() && text.find('\0') == std::string::npos;
  }
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
  require_possible_sources(sources, file.string());
  return sources;
}

void require_possible_sources(const std::vector<CorpusOptions>& sources, std::string_view where) {
  constexpr double kMostWeight = 1e12;  // a thousand of them still make a sum
  require(!sources.empty(), "{}: there are no sources to prepare", where);
  std::set<std::string> names;
  for (const CorpusOptions& source : sources) {
    const bool plain = !source.name.empty() && source.name.size() <= 64 &&
                       source.name.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "0123456789_-") == std::string::npos;
    require(plain, "{}: the name \"{}\" must be 1 to 64 letters, digits, - or _: shards are named after it",
            where, printable(source.name));
    require(names.insert(source.name).second, "{}: two sources have the name {}", where, source.name);
    require(!source.weight || (*source.weight > 0 && *source.weight <= kMostWeight),
            "{}: the weight of {} is {}, it must be above 0 and at most {:g}", where, source.name,
            source.weight.value_or(0), kMostWeight);
    require(source.weight.has_value() == sources[0].weight.has_value(),
            "{}: either every source has a weight or none: {} differs from {}", where, source.name,
            sources[0].name);
  }
}

}  // namespace fathom
