#include "train/shard_set.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>

namespace fathom {

void add_shard(DataSplit& split, const DataShard& shard) {
  split.tokens += shard.tokens;
  split.documents += shard.documents;
  split.bytes += shard.bytes;
  split.shards.push_back(shard);
}

ShardSetWriter::Open& ShardSetWriter::open(bool held_out, std::size_t source) {
  Open& open = held_out ? held_out_ : train_;
  if (open.writer) return open;
  const std::string split = held_out ? "held_out" : "train";
  const std::vector<DataShard>& before = manifest_.split(split).shards;
  const auto number = std::count_if(before.begin(), before.end(),
                                    [&](const DataShard& shard) { return shard.source == source; });
  const std::string prefix = manifest_.sources.size() > 1 ? manifest_.sources[source].name + "-" : "";
  open.shard = {};
  open.shard.file = fmt::format("{}{}-{:05}.tokens", prefix, split, number);
  open.shard.source = source;
  open.writer = std::make_unique<TokenShardWriter>(folder_ / open.shard.file, manifest_.vocab_size,
                                                   manifest_.tokenizer_hash);
  return open;
}

void ShardSetWriter::add(const TokenizedBlock& block, const TokenizedBlock::Piece& piece) {
  Open& target = open(piece.held_out, block.source);
  target.writer->append(std::span(block.ids).subspan(piece.begin, piece.end - piece.begin));
  target.shard.bytes += static_cast<std::int64_t>(piece.text_bytes);
  if (piece.closes) target.writer->end_document();
}

bool ShardSetWriter::is_full() const {
  return (train_.writer && train_.writer->tokens() >= shard_tokens_) ||
         (held_out_.writer && held_out_.writer->tokens() >= shard_tokens_);
}

std::int64_t ShardSetWriter::open_tokens() const {
  return (train_.writer ? train_.writer->tokens() : 0) + (held_out_.writer ? held_out_.writer->tokens() : 0);
}

void ShardSetWriter::end(Open& open, DataSplit& split) {
  if (!open.writer) return;
  open.shard.tokens = open.writer->tokens();
  open.shard.documents = open.writer->documents();
  if (open.shard.documents > 0) {  // else the tokenizer's normaliser took every text away
    open.writer->finish();
    open.shard.checksum = open.writer->checksum();
    add_shard(split, open.shard);
  }
  open.writer.reset();
}

void ShardSetWriter::end_set() {
  end(train_, manifest_.train);
  end(held_out_, manifest_.held_out);
}

}  // namespace fathom
