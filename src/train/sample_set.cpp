#include "train/sample_set.h"

#include <fmt/core.h>

#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "train/shard_set.h"
#include "train/token_dataset.h"

namespace fathom {
namespace {

/// Ids of shards that say what is learned.
constexpr std::int64_t kLearnedIds = 2;

void require_same_documents(const TokenShard& tokens, const TokenShard& learned) {
  bool is_same = tokens.documents() == learned.documents() && learned.vocab_size() == kLearnedIds &&
                 tokens.tokenizer_hash() == learned.tokenizer_hash();
  for (std::int64_t i = 0; is_same && i <= tokens.documents(); ++i)
    is_same = tokens.document_offset(i) == learned.document_offset(i);
  require(is_same, "{}: does not say which tokens of {} are learned: prepare the data again",
          learned.path().string(), tokens.path().filename().string());
}

}  // namespace

SampleSet::SampleSet(const std::filesystem::path& folder, const DataManifest& manifest,
                     std::string_view split, ThreadPool& pool) {
  const DataSplit& described = manifest.split(split);
  std::vector<std::optional<Shard>> opened(described.shards.size());
  pool.parallel_for(opened.size(), [&](std::size_t i) {
    const DataShard& expected = described.shards[i];
    require(!expected.learned.empty(), "{}: {} is no shard of samples", folder.string(), expected.file);
    opened[i].emplace(Shard{open_shard(folder, manifest, expected), TokenShard(folder / expected.learned)});
    require_same_documents(opened[i]->tokens, opened[i]->learned);
  });
  for (std::optional<Shard>& shard : opened) {
    for (std::int64_t i = 0; i < shard->tokens.documents(); ++i) {
      const std::int64_t begin = shard->tokens.document_offset(i);
      samples_.push_back({shards_.size(), begin, shard->tokens.document_offset(i + 1) - begin});
    }
    shards_.push_back(std::move(*shard));
  }
}

SampleSet::Sample SampleSet::read(std::int64_t sample) const {
  const Place& place = at(sample);
  const auto length = static_cast<std::size_t>(place.length);
  Sample read{std::vector<std::int32_t>(length), std::vector<std::int32_t>(length)};
  shards_[place.shard].tokens.read(place.begin, read.tokens);
  shards_[place.shard].learned.read(place.begin, read.learned);
  return read;
}

SampleWriter::SampleWriter(std::filesystem::path folder, DataManifest& manifest)
    : folder_(std::move(folder)), manifest_(manifest) {}

SampleWriter::Open& SampleWriter::open(bool held_out) {
  Open& open = held_out ? held_out_ : train_;
  if (open.tokens) return open;
  const std::string split = held_out ? "held_out" : "train";
  const std::string name = fmt::format("{}-{:05}", split, manifest_.split(split).shards.size());
  open.shard = {};
  open.shard.file = name + ".tokens";
  open.shard.learned = name + ".learned";
  open.tokens = std::make_unique<TokenShardWriter>(folder_ / open.shard.file, manifest_.vocab_size,
                                                   manifest_.tokenizer_hash);
  open.learned =
      std::make_unique<TokenShardWriter>(folder_ / open.shard.learned, kLearnedIds, manifest_.tokenizer_hash);
  return open;
}

void SampleWriter::add(bool held_out, const SampleSet::Sample& sample, std::int64_t bytes) {
  require(sample.tokens.size() == sample.learned.size(), "a sample of {} tokens says of {} what is learned",
          sample.tokens.size(), sample.learned.size());
  Open& to = open(held_out);
  to.tokens->add_document(sample.tokens);
  to.learned->add_document(sample.learned);
  to.shard.bytes += bytes;
  if (to.tokens->tokens() >= kShardTokens) end(to, held_out ? manifest_.held_out : manifest_.train);
}

void SampleWriter::end(Open& open, DataSplit& split) {
  if (!open.tokens) return;
  open.shard.tokens = open.tokens->tokens();
  open.shard.documents = open.tokens->documents();
  open.tokens->finish();
  open.learned->finish();
  open.shard.checksum = open.tokens->checksum();
  add_shard(split, open.shard);
  open.tokens.reset();
  open.learned.reset();
}

void SampleWriter::finish() {
  end(train_, manifest_.train);
  end(held_out_, manifest_.held_out);
}

}  // namespace fathom
