#include "train/data_manifest.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fathom {
namespace {

constexpr std::string_view kFormat = "fathom-data";
constexpr std::int64_t kManifestVersion = 2;
constexpr std::int64_t kVersionWithSamples = 3;
constexpr std::int64_t kVersionWithoutSources = 1;
constexpr std::size_t kMostSources = 4096;
constexpr std::uint64_t kLargestTokenizer = 256U << 20U;

const Json& member(const Json& object, const std::string& key, const std::string& where) {
  require(object.is_object() && object.contains(key), "{}: the key \"{}\" is missing: prepare the data again",
          where, key);
  return object.at(key);
}

std::int64_t integer(const Json& object, const std::string& key, std::int64_t least,
                     const std::string& where) {
  const Json& value = member(object, key, where);
  const bool fits =
      value.is_number_integer() &&
      (!value.is_number_unsigned() ||
       value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
  require(fits && value.get<std::int64_t>() >= least, "{}: \"{}\" must be a whole number of at least {}",
          where, key, least);
  return value.get<std::int64_t>();
}

std::string text(const Json& object, const std::string& key, const std::string& where) {
  const Json& value = member(object, key, where);
  require(value.is_string(), "{}: \"{}\" must be a string", where, key);
  return value.get<std::string>();
}

/// Adds without overflow, for counts that a hostile manifest chose.
void add(std::int64_t& sum, std::int64_t value, const std::string& where) {
  require(value <= std::numeric_limits<std::int64_t>::max() - sum, "{}: the counts overflow", where);
  sum += value;
}

std::uint64_t hexadecimal(const Json& object, const std::string& key, const std::string& where) {
  const std::string digits = text(object, key, where);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  require(error == std::errc() && end == digits.data() + digits.size(),
          "{}: \"{}\" must be a hexadecimal number", where, key);
  return value;
}

std::string hexadecimal(std::uint64_t value) {
  return fmt::format("{:016x}", value);
}

DataSource source_from_json(const Json& json, const std::string& where) {
  DataSource source;
  source.name = text(json, "name", where);
  const Json& weight = member(json, "weight", where);
  require(weight.is_number() && weight.get<double>() > 0, "{}: \"weight\" of {} must be a number above 0",
          where, printable(source.name));
  source.weight = weight.get<double>();
  source.exact_duplicates = integer(json, "exact_duplicates", 0, where);
  source.near_duplicates = integer(json, "near_duplicates", 0, where);
  source.repaired_documents = integer(json, "repaired_documents", 0, where);
  source.rearranged_documents = integer(json, "rearranged_documents", 0, where);
  return source;
}

OrderedJson source_to_json(const DataSource& source) {
  return {{"name", source.name},
          {"weight", source.weight},
          {"exact_duplicates", source.exact_duplicates},
          {"near_duplicates", source.near_duplicates},
          {"repaired_documents", source.repaired_documents},
          {"rearranged_documents", source.rearranged_documents}};
}

std::string file_name(const Json& object, const std::string& key, const std::string& where) {
  std::string name = text(object, key, where);
  require(!name.empty() && name.find('/') == std::string::npos,
          "{}: the shard \"{}\" must be a file beside the manifest", where, printable(name));
  return name;
}

DataShard shard_from_json(const Json& json, std::int64_t version, std::size_t sources,
                          const std::string& where) {
  DataShard shard;
  shard.file = file_name(json, "file", where);
  shard.tokens = integer(json, "tokens", 1, where);
  shard.documents = integer(json, "documents", 1, where);
  if (version == kVersionWithoutSources) return shard;
  shard.bytes = integer(json, "bytes", 0, where);
  shard.source = static_cast<std::size_t>(integer(json, "source", 0, where));
  require(shard.source < sources, "{}: the shard {} is of source {}, there are {}", where,
          printable(shard.file), shard.source, sources);
  shard.checksum = hexadecimal(json, "checksum", where);
  if (version == kVersionWithSamples) shard.learned = file_name(json, "learned", where);
  return shard;
}

/// @param sources  how many there are
DataSplit split_from_json(const Json& json, std::int64_t version, std::size_t sources,
                          const std::string& where) {
  DataSplit split;
  split.tokens = integer(json, "tokens", 0, where);
  split.documents = integer(json, "documents", 0, where);
  split.bytes = integer(json, "bytes", 0, where);
  const Json& shards = member(json, "shards", where);
  require(shards.is_array(), "{}: \"shards\" must be an array", where);
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::int64_t bytes = 0;
  for (const Json& entry : shards) {
    DataShard shard = shard_from_json(entry, version, sources, where);
    require(split.shards.empty() || split.shards.back().source <= shard.source,
            "{}: the shards are not in the order of their sources", where);
    add(tokens, shard.tokens, where);
    add(documents, shard.documents, where);
    add(bytes, shard.bytes, where);
    split.shards.push_back(std::move(shard));
  }
  require(tokens == split.tokens && documents == split.documents &&
              (version == kVersionWithoutSources || bytes == split.bytes),
          "{}: the shards hold {} tokens in {} documents, the split says {} in {}", where, tokens, documents,
          split.tokens, split.documents);
  return split;
}

OrderedJson split_to_json(const DataSplit& split) {
  OrderedJson json;
  json["tokens"] = split.tokens;
  json["documents"] = split.documents;
  json["bytes"] = split.bytes;
  json["shards"] = OrderedJson::array();
  for (const DataShard& shard : split.shards) {
    json["shards"].push_back({{"file", shard.file},
                              {"source", shard.source},
                              {"tokens", shard.tokens},
                              {"documents", shard.documents},
                              {"bytes", shard.bytes},
                              {"checksum", hexadecimal(shard.checksum.value_or(0))}});
    if (!shard.learned.empty()) json["shards"].back()["learned"] = shard.learned;
  }
  return json;
}

}  // namespace

bool DataManifest::has_samples() const {
  return std::ranges::any_of(train.shards, [](const DataShard& shard) { return !shard.learned.empty(); });
}

const DataSplit& DataManifest::split(std::string_view name) const {
  require(name == "train" || name == "held_out", "there is no data split \"{}\"", name);
  return name == "train" ? train : held_out;
}

DataSplit DataManifest::split(std::string_view name, std::size_t source) const {
  DataSplit own;
  for (const DataShard& shard : split(name).shards) {
    if (shard.source != source) continue;
    own.tokens += shard.tokens;
    own.documents += shard.documents;
    own.bytes += shard.bytes;
    own.shards.push_back(shard);
  }
  return own;
}

std::uint64_t DataManifest::order_checksum() const {
  std::string all;
  for (const DataSource& source : sources) all += fmt::format("weight {};", source.weight);
  for (const DataShard& shard : train.shards)
    all += fmt::format("{} tokens of {};", shard.tokens, shard.source);
  return checksum(all);
}

DataManifest load_data_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "manifest.json";
  require(std::filesystem::is_regular_file(file),
          "{}: no manifest.json there: make the data with `fathom prepare INPUT --output {}`",
          folder.string(), folder.string());
  const std::string where = file.string();
  const Json json = read_json_file(file);
  require(text(json, "format", where) == kFormat, "{}: not a data manifest", where);
  const std::int64_t version = integer(json, "version", 0, where);
  require(version >= kVersionWithoutSources && version <= kVersionWithSamples,
          "{}: a data manifest of version {}, this program reads {} to {}: prepare the data again", where,
          version, kVersionWithoutSources, kVersionWithSamples);

  DataManifest manifest;
  const Json& tokenizer = member(json, "tokenizer", where);
  manifest.vocab_size = integer(tokenizer, "vocab_size", 1, where);
  manifest.bos_token_id = integer(tokenizer, "bos_token_id", -1, where);
  manifest.eos_token_id = integer(tokenizer, "eos_token_id", -1, where);
  require(manifest.bos_token_id < manifest.vocab_size && manifest.eos_token_id < manifest.vocab_size,
          "{}: bos_token_id or eos_token_id is outside the vocabulary of {}", where, manifest.vocab_size);
  manifest.tokenizer_hash = hexadecimal(tokenizer, "checksum", where);
  if (version == kVersionWithoutSources) {
    manifest.sources.push_back({.name = "text"});
  } else {
    const Json& sources = member(json, "sources", where);
    require(sources.is_array() && !sources.empty() && sources.size() <= kMostSources,
            "{}: \"sources\" must be an array of 1 to {}", where, kMostSources);
    std::set<std::string> names;
    for (const Json& source : sources) {
      manifest.sources.push_back(source_from_json(source, where));
      require(names.insert(manifest.sources.back().name).second, "{}: two sources have the name {}", where,
              printable(manifest.sources.back().name));
    }
  }
  const Json& splits = member(json, "splits", where);
  const std::size_t sources = manifest.sources.size();
  manifest.train = split_from_json(member(splits, "train", where), version, sources, where);
  manifest.held_out = split_from_json(member(splits, "held_out", where), version, sources, where);

  const std::filesystem::path tokenizer_file = folder / "tokenizer.json";
  require(checksum(read_text_file(tokenizer_file, kLargestTokenizer)) == manifest.tokenizer_hash,
          "{}: changed since the tokens were made with it: prepare the data again", tokenizer_file.string());
  return manifest;
}

void save_data_manifest(const DataManifest& manifest, const std::filesystem::path& folder) {
  OrderedJson json;
  json["format"] = kFormat;
  json["version"] = manifest.has_samples() ? kVersionWithSamples : kManifestVersion;
  json["tokenizer"] = {{"file", "tokenizer.json"},
                       {"checksum", hexadecimal(manifest.tokenizer_hash)},
                       {"vocab_size", manifest.vocab_size},
                       {"bos_token_id", manifest.bos_token_id},
                       {"eos_token_id", manifest.eos_token_id}};
  json["sources"] = OrderedJson::array();
  for (const DataSource& source : manifest.sources) json["sources"].push_back(source_to_json(source));
  json["splits"]["train"] = split_to_json(manifest.train);
  json["splits"]["held_out"] = split_to_json(manifest.held_out);
  write_file_atomically(folder / "manifest.json", json.dump(2) + "\n");
}

bool is_data_folder(const std::filesystem::path& folder) {
  return std::filesystem::is_regular_file(folder / "manifest.json");
}

}  // namespace fathom
