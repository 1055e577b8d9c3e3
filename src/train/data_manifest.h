#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

struct DataShard {
  std::string file;  // beside the manifest
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::int64_t bytes = 0;                   // of text
  std::size_t source = 0;                   // index into the manifest's sources
  std::optional<std::uint64_t> checksum{};  // as the shard itself says it; folders of version 1 have none
  /// Of samples: a shard of the same documents whose tokens are 1 where a token is learned, 0 where it is
  /// only read.
  std::string learned{};
};

struct DataSplit {
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::int64_t bytes = 0;  // of text, UTF-8, before special tokens are added
  std::vector<DataShard> shards;
};

/// One of the corpora that were prepared together.
struct DataSource {
  std::string name;
  double weight = 1;                      // its share of the training sequences, in the unit of the others'
  std::int64_t exact_duplicates = 0;      // documents left out: the same text stood before
  std::int64_t near_duplicates = 0;       // documents left out: much the same text stood before
  std::int64_t repaired_documents = 0;    // in which bytes that are no UTF-8 became U+FFFD
  std::int64_t rearranged_documents = 0;  // for filling in the middle (train/fim.h)
};

/// What `fathom prepare` made: `manifest.json` of a data folder. Written last, so that a folder without one
/// is known to be incomplete.
struct DataManifest {
  std::int64_t vocab_size = 0;
  std::uint64_t tokenizer_hash = 0;  // checksum of the folder's tokenizer.json
  std::int64_t bos_token_id = -1;    // that begins each document; -1: none
  std::int64_t eos_token_id = -1;    // that ends each document; -1: none
  std::vector<DataSource> sources;   // at least one
  DataSplit train;                   // of all sources, in their order
  DataSplit held_out;

  /// Whether documents are samples, each a sequence of its own of which some tokens are learned
  /// (train/sample_set.h), and not one long text.
  [[nodiscard]] bool has_samples() const;
  /// By name, "train" or "held_out".
  [[nodiscard]] const DataSplit& split(std::string_view name) const;
  /// Tokens, documents and bytes of one source alone, with its shards.
  [[nodiscard]] DataSplit split(std::string_view name, std::size_t source) const;
  /// One number for all that decides the order of training sequences beside length and seed: shards' sizes
  /// and weights.
  [[nodiscard]] std::uint64_t order_checksum() const;
};

/// Reads and checks FOLDER/manifest.json, and that FOLDER/tokenizer.json is the one it was made with. Folders
/// of version 1 have one source.
DataManifest load_data_manifest(const std::filesystem::path& folder);
void save_data_manifest(const DataManifest& manifest, const std::filesystem::path& folder);

/// Whether a folder holds prepared data.
bool is_data_folder(const std::filesystem::path& folder);

}  // namespace fathom
