#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "train/data_manifest.h"
#include "train/document_tokens.h"
#include "train/token_shards.h"

namespace fathom {

/// Writes the shards of both splits, source after source. They end together, with a document: when one
/// reaches its size, and where a source ends. Between two sets all that was added is on the disk.
class ShardSetWriter {
 public:
  /// @param manifest  whose sources and tokenizer there are; shards that end are added to its splits
  ShardSetWriter(std::filesystem::path folder, DataManifest& manifest, std::int64_t shard_tokens)
      : folder_(std::move(folder)), manifest_(manifest), shard_tokens_(shard_tokens) {}

  /// Of a source at or after that of all pieces before.
  void add(const TokenizedBlock& block, const TokenizedBlock::Piece& piece);
  /// Whether a shard has reached its size.
  [[nodiscard]] bool is_full() const;
  /// Ends the shards that are open.
  void end_set();
  /// Tokens in shards that are open.
  [[nodiscard]] std::int64_t open_tokens() const;

 private:
  struct Open {
    std::unique_ptr<TokenShardWriter> writer;
    DataShard shard;
  };

  Open& open(bool held_out, std::size_t source);
  void end(Open& open, DataSplit& split);

  std::filesystem::path folder_;
  DataManifest& manifest_;
  std::int64_t shard_tokens_;
  Open train_;
  Open held_out_;
};

/// Adds a shard to a split's list and sums.
void add_shard(DataSplit& split, const DataShard& shard);

}  // namespace fathom
