#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

struct DataShard {
  std::string file;  // beside the manifest
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
};

struct DataSplit {
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::int64_t bytes = 0;  // of text, UTF-8, before BOS and EOS are added
  std::vector<DataShard> shards;
};

/// What `fathom prepare` made: `manifest.json` of a data folder. Written last, so that a folder without one
/// is known to be incomplete.
struct DataManifest {
  std::int64_t vocab_size = 0;
  std::uint64_t tokenizer_hash = 0;  // checksum of the folder's tokenizer.json
  std::int64_t bos_token_id = -1;    // that begins each document; -1: none
  std::int64_t eos_token_id = -1;    // that ends each document; -1: none
  DataSplit train;
  DataSplit held_out;

  /// By name, "train" or "held_out".
  [[nodiscard]] const DataSplit& split(std::string_view name) const;
};

/// Reads and checks FOLDER/manifest.json, and that FOLDER/tokenizer.json is the one it was made with.
DataManifest load_data_manifest(const std::filesystem::path& folder);
void save_data_manifest(const DataManifest& manifest, const std::filesystem::path& folder);

}  // namespace fathom
