#include "train/prepare.h"

#include <fmt/core.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "text/tokenizer.h"
#include "train/token_shards.h"

namespace fathom {
namespace {

constexpr std::uint64_t kLargestTokenizer = 256U << 20U;
constexpr std::size_t kBatchBytes = 8U << 20U;  // of text tokenised at a time
constexpr std::size_t kBatchPieces = 1024;

/// A text, whole or a part of a document, and where it goes.
struct Piece {
  std::string text;
  bool held_out = false;
};

/// Decides what is held out.
class Splitter {
 public:
  Splitter(const PrepareOptions& options, const Corpus& corpus) : fraction_(options.held_out) {
    require(fraction_ >= 0 && fraction_ < 1, "the held-out part is {}, it must be from 0 to below 1",
            fraction_);
    by_tail_ = options.held_out_by == HeldOutBy::tail ||
               (options.held_out_by == HeldOutBy::automatic && corpus.documents_are_files());
  }

  /// One piece, or the training part and the held-out part.
  [[nodiscard]] std::vector<Piece> split(std::string text) const {
    std::vector<Piece> pieces;
    if (!by_tail_) {
      // The checksum as a number in [0, 1): its upper 53 bits.
      const double place = std::ldexp(static_cast<double>(checksum(text) >> 11U), -53);
      pieces.push_back({std::move(text), place < fraction_});
      return pieces;
    }
    const std::size_t cut = tail_begin(text, fraction_);
    std::string tail = text.substr(cut);
    text.resize(cut);
    if (!text.empty()) pieces.push_back({std::move(text), false});
    if (!tail.empty()) pieces.push_back({std::move(tail), true});
    return pieces;
  }

 private:
  double fraction_;
  bool by_tail_ = false;
};

/// Writes one split's shards.
class SplitWriter {
 public:
  SplitWriter(std::filesystem::path folder, std::string name, const DataManifest& manifest,
              std::int64_t shard_tokens)
      : folder_(std::move(folder)),
        name_(std::move(name)),
        manifest_(manifest),
        shard_tokens_(shard_tokens) {}

  void add(std::span<const std::int32_t> tokens, std::size_t bytes) {
    if (!writer_) {
      split_.shards.push_back({.file = fmt::format("{}-{:05}.tokens", name_, split_.shards.size())});
      writer_ = std::make_unique<TokenShardWriter>(folder_ / split_.shards.back().file, manifest_.vocab_size,
                                                   manifest_.tokenizer_hash);
    }
    writer_->add_document(tokens);
    split_.bytes += static_cast<std::int64_t>(bytes);
    split_.shards.back().bytes += static_cast<std::int64_t>(bytes);
    if (writer_->tokens() >= shard_tokens_) end_shard();
  }

  DataSplit finish() {
    if (writer_) end_shard();
    return std::move(split_);
  }

 private:
  void end_shard() {
    split_.shards.back().tokens = writer_->tokens();
    split_.shards.back().documents = writer_->documents();
    split_.tokens += writer_->tokens();
    split_.documents += writer_->documents();
    writer_->finish();
    split_.shards.back().checksum = writer_->checksum();
    writer_.reset();
  }

  std::filesystem::path folder_;
  std::string name_;
  const DataManifest& manifest_;
  std::int64_t shard_tokens_;
  std::unique_ptr<TokenShardWriter> writer_;
  DataSplit split_;
};

}  // namespace

void require_no_data(const std::filesystem::path& output) {
  require(!std::filesystem::exists(output / "manifest.json"),
          "{} already holds prepared data: choose another --output, or remove the folder", output.string());
}

void install_tokenizer(const std::filesystem::path& folder_or_file, const std::filesystem::path& output) {
  const bool is_folder = std::filesystem::is_directory(folder_or_file);
  const std::filesystem::path file = is_folder ? folder_or_file / "tokenizer.json" : folder_or_file;
  const std::filesystem::path config = file.parent_path() / "tokenizer_config.json";
  create_folders(output);
  write_file_atomically(output / "tokenizer.json", read_text_file(file, kLargestTokenizer));
  if (std::filesystem::is_regular_file(config))
    write_file_atomically(output / "tokenizer_config.json", read_text_file(config, kLargestTokenizer));
}

DataManifest prepare_data(const PrepareOptions& options, ThreadPool& pool,
                          const std::function<void(const PrepareProgress&)>& progress) {
  require_no_data(options.output);
  require(options.shard_tokens > 0, "a shard of {} tokens is impossible", options.shard_tokens);
  const std::filesystem::path tokenizer_file = options.output / "tokenizer.json";
  const Tokenizer tokenizer = Tokenizer::load(options.output);
  DataManifest manifest;
  manifest.vocab_size = tokenizer.vocab_size();
  manifest.tokenizer_hash = checksum(read_text_file(tokenizer_file, kLargestTokenizer));
  manifest.bos_token_id = tokenizer.bos().value_or(-1);
  manifest.eos_token_id = tokenizer.eos().value_or(-1);
  manifest.sources.push_back({.name = "text"});

  const Corpus corpus(options.corpus);
  const Splitter splitter(options, corpus);
  SplitWriter train(options.output, "train", manifest, options.shard_tokens);
  SplitWriter held_out(options.output, "held_out", manifest, options.shard_tokens);
  PrepareProgress done{.bytes_total = corpus.bytes()};
  std::vector<Piece> batch;
  std::size_t batch_bytes = 0;

  const auto flush = [&] {
    std::vector<std::vector<std::int32_t>> tokens(batch.size());
    pool.parallel_for(batch.size(), [&](std::size_t i) {
      const std::vector<std::int32_t> ids = tokenizer.encode(batch[i].text, /*add_special=*/false);
      tokens[i].reserve(ids.size() + 2);
      if (tokenizer.bos()) tokens[i].push_back(*tokenizer.bos());
      tokens[i].insert(tokens[i].end(), ids.begin(), ids.end());
      if (tokenizer.eos()) tokens[i].push_back(*tokenizer.eos());
    });
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (tokens[i].empty()) continue;  // a text that the tokenizer's normaliser takes away
      (batch[i].held_out ? held_out : train).add(tokens[i], batch[i].text.size());
      done.tokens += static_cast<std::int64_t>(tokens[i].size());
    }
    batch.clear();
    batch_bytes = 0;
    progress(done);
  };
  corpus.for_each([&](std::string text, std::uint64_t bytes_read) {
    done.bytes_read = bytes_read;
    ++done.documents;
    for (Piece& piece : splitter.split(std::move(text))) {
      batch_bytes += piece.text.size();
      batch.push_back(std::move(piece));
    }
    if (batch_bytes >= kBatchBytes || batch.size() >= kBatchPieces) flush();
  });
  flush();

  manifest.train = train.finish();
  manifest.held_out = held_out.finish();
  require(manifest.train.tokens > 0, "the input has no text to train on: give texts, or lower --held-out");
  save_data_manifest(manifest, options.output);
  return manifest;
}

void for_each_training_text(const PrepareOptions& options,
                            const std::function<void(std::string_view, std::uint64_t)>& text) {
  const Corpus corpus(options.corpus);
  const Splitter splitter(options, corpus);
  corpus.for_each([&](std::string document, std::uint64_t bytes_read) {
    for (const Piece& piece : splitter.split(std::move(document)))
      if (!piece.held_out) text(piece.text, bytes_read);
  });
}

}  // namespace fathom
