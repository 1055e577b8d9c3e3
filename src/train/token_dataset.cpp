#include "train/token_dataset.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace fathom {

TokenDataset::TokenDataset(const std::filesystem::path& folder, const DataManifest& manifest,
                           std::string_view split, ThreadPool& pool) {
  open(folder, manifest, manifest.split(split), pool);
}

TokenDataset::TokenDataset(const std::filesystem::path& folder, const DataManifest& manifest,
                           std::string_view split, std::size_t source, ThreadPool& pool) {
  open(folder, manifest, manifest.split(split, source), pool);
}

void TokenDataset::open(const std::filesystem::path& folder, const DataManifest& manifest,
                        const DataSplit& described, ThreadPool& pool) {
  std::vector<std::optional<TokenShard>> opened(described.shards.size());
  pool.parallel_for(opened.size(), [&](std::size_t i) {
    opened[i].emplace(open_shard(folder, manifest, described.shards[i]));
  });
  for (std::optional<TokenShard>& shard : opened) {
    begins_.push_back(begins_.back() + shard->tokens());
    shards_.push_back(std::move(*shard));
  }
}

TokenShard open_shard(const std::filesystem::path& folder, const DataManifest& manifest,
                      const DataShard& described) {
  TokenShard shard(folder / described.file);
  require(shard.tokens() == described.tokens && shard.documents() == described.documents,
          "{}: {} tokens in {} documents, manifest.json says {} in {}: prepare the data again",
          shard.path().string(), shard.tokens(), shard.documents(), described.tokens, described.documents);
  require(shard.tokenizer_hash() == manifest.tokenizer_hash && shard.vocab_size() == manifest.vocab_size,
          "{}: made with another tokenizer than manifest.json says: prepare the data again",
          shard.path().string());
  require(!described.checksum || shard.checksum() == *described.checksum,
          "{}: not the shard that manifest.json describes, by its checksum: prepare the data again",
          shard.path().string());
  return shard;
}

void TokenDataset::read(std::int64_t begin, std::span<std::int32_t> out) const {
  require(begin >= 0 && static_cast<std::int64_t>(out.size()) <= tokens() - begin,
          "tokens {} to {} asked of a data set of {}", begin, begin + static_cast<std::int64_t>(out.size()),
          tokens());
  auto shard =
      static_cast<std::size_t>(std::upper_bound(begins_.begin(), begins_.end(), begin) - begins_.begin() - 1);
  while (!out.empty()) {
    const std::int64_t here = std::min(static_cast<std::int64_t>(out.size()), begins_[shard + 1] - begin);
    shards_[shard].read(begin - begins_[shard], out.first(static_cast<std::size_t>(here)));
    out = out.subspan(static_cast<std::size_t>(here));
    begin += here;
    ++shard;
  }
}

std::vector<SourceTokens> open_sources(const std::filesystem::path& folder, const DataManifest& manifest,
                                       std::string_view split, ThreadPool& pool) {
  std::vector<SourceTokens> sources;
  for (std::size_t i = 0; i < manifest.sources.size(); ++i) {
    const DataSource& source = manifest.sources[i];
    sources.push_back({source.name, source.weight, TokenDataset(folder, manifest, split, i, pool)});
  }
  return sources;
}

}  // namespace fathom
