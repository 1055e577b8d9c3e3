#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "train/data_manifest.h"
#include "train/token_shards.h"

namespace fathom {

/// The samples of one split of a data folder: conversations, or whatever else is read as a sequence of its
/// own of which only some tokens are learned, such as a chat's answers.
class SampleSet {
 public:
  /// Opens and checks every shard. Throws `Error` naming the one that is damaged, does not belong to the
  /// manifest, or whose two halves are not of the same documents.
  SampleSet(const std::filesystem::path& folder, const DataManifest& manifest, std::string_view split,
            ThreadPool& pool);

  [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(samples_.size()); }
  /// In tokens.
  [[nodiscard]] std::int64_t length(std::int64_t sample) const { return at(sample).length; }

  struct Sample {
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> learned;  // [tokens] 0 or 1
  };
  [[nodiscard]] Sample read(std::int64_t sample) const;

 private:
  struct Place {
    std::size_t shard = 0;
    std::int64_t begin = 0;
    std::int64_t length = 0;
  };
  struct Shard {
    TokenShard tokens;
    TokenShard learned;
  };
  [[nodiscard]] const Place& at(std::int64_t sample) const {
    return samples_.at(static_cast<std::size_t>(sample));
  }

  std::vector<Shard> shards_;
  std::vector<Place> samples_;
};

/// Writes a data folder of samples, shard by shard.
class SampleWriter {
 public:
  /// Shards that end are added to the manifest's splits, whose one source and tokenizer there are.
  SampleWriter(std::filesystem::path folder, DataManifest& manifest);
  SampleWriter(const SampleWriter&) = delete;
  SampleWriter& operator=(const SampleWriter&) = delete;

  /// @param bytes  of the text that the tokens stand for
  void add(bool held_out, const SampleSet::Sample& sample, std::int64_t bytes);
  /// Ends the shards under way.
  void finish();

 private:
  static constexpr std::int64_t kShardTokens = std::int64_t{1} << 26;
  struct Open {
    std::unique_ptr<TokenShardWriter> tokens;
    std::unique_ptr<TokenShardWriter> learned;
    DataShard shard;
  };
  Open& open(bool held_out);
  void end(Open& open, DataSplit& split);

  std::filesystem::path folder_;
  DataManifest& manifest_;
  Open train_;
  Open held_out_;
};

}  // namespace fathom
