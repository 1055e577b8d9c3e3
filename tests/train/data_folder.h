#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/file.h"
#include "train/data_manifest.h"
#include "train/token_shards.h"

namespace fathom::test {

/// A data folder whose training tokens are `tokens`, cut into shards of the given sizes (one document each).
/// Its tokenizer.json is a placeholder that only the checksum reads.
inline DataManifest write_data_folder(const std::filesystem::path& folder, std::int64_t vocab_size,
                                      const std::vector<std::int32_t>& tokens,
                                      const std::vector<std::int64_t>& shard_sizes) {
  const std::string tokenizer = "{}";
  write_file_atomically(folder / "tokenizer.json", tokenizer);
  DataManifest manifest;
  manifest.vocab_size = vocab_size;
  manifest.tokenizer_hash = checksum(tokenizer);
  manifest.sources.push_back({.name = "text"});
  auto at = tokens.begin();
  for (std::size_t i = 0; i < shard_sizes.size(); ++i) {
    const std::string name = "train-" + std::to_string(i) + ".tokens";
    TokenShardWriter writer(folder / name, vocab_size, manifest.tokenizer_hash);
    writer.add_document(std::vector<std::int32_t>(at, at + shard_sizes[i]));
    writer.finish();
    at += shard_sizes[i];
    manifest.train.shards.push_back({.file = name,
                                     .tokens = shard_sizes[i],
                                     .documents = 1,
                                     .checksum = TokenShard(folder / name).checksum()});
    manifest.train.tokens += shard_sizes[i];
    manifest.train.documents += 1;
  }
  save_data_manifest(manifest, folder);
  return manifest;
}

}  // namespace fathom::test
