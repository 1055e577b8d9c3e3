#include "train/data_manifest.h"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fathom {
namespace {

constexpr std::string_view kFormat = "fathom-data";
constexpr std::int64_t kVersion = 1;
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

DataSplit split_from_json(const Json& json, const std::string& where) {
  DataSplit split;
  split.tokens = integer(json, "tokens", 0, where);
  split.documents = integer(json, "documents", 0, where);
  split.bytes = integer(json, "bytes", 0, where);
  const Json& shards = member(json, "shards", where);
  require(shards.is_array(), "{}: \"shards\" must be an array", where);
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  for (const Json& entry : shards) {
    DataShard shard;
    shard.file = text(entry, "file", where);
    require(!shard.file.empty() && shard.file.find('/') == std::string::npos,
            "{}: the shard \"{}\" must be a file beside the manifest", where, shard.file);
    shard.tokens = integer(entry, "tokens", 1, where);
    shard.documents = integer(entry, "documents", 1, where);
    add(tokens, shard.tokens, where);
    add(documents, shard.documents, where);
    split.shards.push_back(std::move(shard));
  }
  require(tokens == split.tokens && documents == split.documents,
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
  for (const DataShard& shard : split.shards)
    json["shards"].push_back(
        {{"file", shard.file}, {"tokens", shard.tokens}, {"documents", shard.documents}});
  return json;
}

}  // namespace

const DataSplit& DataManifest::split(std::string_view name) const {
  require(name == "train" || name == "held_out", "there is no data split \"{}\"", name);
  return name == "train" ? train : held_out;
}

DataManifest load_data_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "manifest.json";
  require(std::filesystem::is_regular_file(file),
          "{}: no manifest.json there: make the data with `fathom prepare INPUT --output {}`",
          folder.string(), folder.string());
  const std::string where = file.string();
  const Json json = read_json_file(file);
  require(text(json, "format", where) == kFormat && integer(json, "version", 0, where) == kVersion,
          "{}: not a data manifest of version {}", where, kVersion);

  DataManifest manifest;
  const Json& tokenizer = member(json, "tokenizer", where);
  manifest.vocab_size = integer(tokenizer, "vocab_size", 1, where);
  manifest.bos_token_id = integer(tokenizer, "bos_token_id", -1, where);
  manifest.eos_token_id = integer(tokenizer, "eos_token_id", -1, where);
  require(manifest.bos_token_id < manifest.vocab_size && manifest.eos_token_id < manifest.vocab_size,
          "{}: bos_token_id or eos_token_id is outside the vocabulary of {}", where, manifest.vocab_size);
  const std::string hash = text(tokenizer, "checksum", where);
  const auto [end, error] =
      std::from_chars(hash.data(), hash.data() + hash.size(), manifest.tokenizer_hash, 16);
  require(error == std::errc() && end == hash.data() + hash.size(),
          "{}: \"checksum\" must be a hexadecimal number", where);
  const Json& splits = member(json, "splits", where);
  manifest.train = split_from_json(member(splits, "train", where), where);
  manifest.held_out = split_from_json(member(splits, "held_out", where), where);

  const std::filesystem::path tokenizer_file = folder / "tokenizer.json";
  require(checksum(read_text_file(tokenizer_file, kLargestTokenizer)) == manifest.tokenizer_hash,
          "{}: changed since the tokens were made with it: prepare the data again", tokenizer_file.string());
  return manifest;
}

void save_data_manifest(const DataManifest& manifest, const std::filesystem::path& folder) {
  OrderedJson json;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["tokenizer"] = {{"file", "tokenizer.json"},
                       {"checksum", fmt::format("{:016x}", manifest.tokenizer_hash)},
                       {"vocab_size", manifest.vocab_size},
                       {"bos_token_id", manifest.bos_token_id},
                       {"eos_token_id", manifest.eos_token_id}};
  json["splits"]["train"] = split_to_json(manifest.train);
  json["splits"]["held_out"] = split_to_json(manifest.held_out);
  write_file_atomically(folder / "manifest.json", json.dump(2) + "\n");
}

}  // namespace fathom
