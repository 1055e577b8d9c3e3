#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "train/data_manifest.h"
#include "train/token_shards.h"

namespace fathom {

/// Tokens of a data folder, as one long text across shards.
class TokenDataset {
 public:
  /// Opens and checks every shard of `split` ("train" or "held_out").
  /// Throws `Error` naming the shard that is damaged or does not belong to the manifest.
  TokenDataset(const std::filesystem::path& folder, const DataManifest& manifest, std::string_view split,
               ThreadPool& pool);
  /// The shards of one source alone; there may be none.
  TokenDataset(const std::filesystem::path& folder, const DataManifest& manifest, std::string_view split,
               std::size_t source, ThreadPool& pool);

  [[nodiscard]] std::int64_t tokens() const { return begins_.back(); }
  /// Copies tokens [begin, begin + out.size()), across shards where need be.
  void read(std::int64_t begin, std::span<std::int32_t> out) const;

 private:
  std::vector<TokenShard> shards_;
  std::vector<std::int64_t> begins_{0};  // [shards + 1], index of each shard's first token

  void open(const std::filesystem::path& folder, const DataManifest& manifest, const DataSplit& described,
            ThreadPool& pool);
};

/// One shard of a folder. Throws `Error` naming it where it is not what the manifest describes.
TokenShard open_shard(const std::filesystem::path& folder, const DataManifest& manifest,
                      const DataShard& described);

/// The tokens of one source, and how often it is drawn from.
struct SourceTokens {
  std::string name;
  double weight = 1;
  TokenDataset tokens;
};

/// One split of a data folder, source by source.
std::vector<SourceTokens> open_sources(const std::filesystem::path& folder, const DataManifest& manifest,
                                       std::string_view split, ThreadPool& pool);

}  // namespace fathom
