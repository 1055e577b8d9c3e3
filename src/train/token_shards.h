#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/checksum.h"
#include "base/file.h"

namespace fathom {

// A token shard: the token ids of whole documents, one after another, in one file that is mapped for reading.
// All numbers are little-endian.
//
//   header, 32 bytes   "FATHOMTK"  u32 version = 1  u32 bytes per token (2 or 4)
//                      u64 vocabulary size  u64 checksum of the tokenizer.json that made the tokens
//   tokens             ids below the vocabulary size, padded with zero bytes to a multiple of 8
//   document offsets   u64 each: the index of each document's first token, then the token count
//   footer, 32 bytes   u64 token count  u64 document count
//                      u64 checksum of all bytes before this field (XXH64)  "FATHOMTK"
//
// The counts stand last so that a writer streams, and so that a file cut short is known for one.

/// Writes one shard. The file appears under its name only with `finish`.
class TokenShardWriter {
 public:
  /// Ids up to 65,535 take two bytes, larger vocabularies four.
  /// @param tokenizer_hash  checksum of the tokenizer.json that makes the tokens
  TokenShardWriter(const std::filesystem::path& path, std::int64_t vocab_size, std::uint64_t tokenizer_hash);

  /// Appends a document. Throws `Error` when it is empty or has an id outside the vocabulary.
  void add_document(std::span<const std::int32_t> tokens);
  /// Appends tokens to the document under way; it begins with the first. Throws `Error` as `add_document`.
  void append(std::span<const std::int32_t> tokens);
  /// Ends the document under way; nothing where it has no tokens.
  void end_document();
  /// Of the documents that have ended.
  [[nodiscard]] std::int64_t tokens() const { return static_cast<std::int64_t>(offsets_.back()); }
  [[nodiscard]] std::int64_t documents() const { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  void finish();
  /// Of the finished shard, as it stands in the file.
  [[nodiscard]] std::uint64_t checksum() const { return checksum_.value(); }

 private:
  std::filesystem::path path_;
  AtomicFile file_;
  Checksum checksum_;
  std::int64_t vocab_size_;
  std::size_t token_width_;
  std::uint64_t open_tokens_ = 0;  // of the document under way
  std::vector<std::uint64_t> offsets_{0};
  std::vector<std::byte> buffer_;

  void write(std::span<const std::byte> bytes);
};

/// One shard, mapped. Opening reads it whole once: any damage is found then and named, so that no later read
/// can go wrong.
class TokenShard {
 public:
  /// Throws `Error` naming the file when anything in it is not as written: sizes, order of offsets, checksum,
  /// an id outside the vocabulary.
  explicit TokenShard(const std::filesystem::path& path);

  [[nodiscard]] std::int64_t tokens() const { return token_count_; }
  [[nodiscard]] std::int64_t documents() const { return document_count_; }
  [[nodiscard]] std::int64_t vocab_size() const { return vocab_size_; }
  [[nodiscard]] std::uint64_t tokenizer_hash() const { return tokenizer_hash_; }
  /// The checksum that stands in the file.
  [[nodiscard]] std::uint64_t checksum() const { return checksum_; }
  [[nodiscard]] const std::filesystem::path& path() const { return file_->path(); }

  /// Index of the first token of document `i`; `documents()` gives the token count.
  [[nodiscard]] std::int64_t document_offset(std::int64_t i) const;
  /// Copies tokens [begin, begin + out.size()).
  void read(std::int64_t begin, std::span<std::int32_t> out) const;

 private:
  std::unique_ptr<MappedFile> file_;
  std::size_t token_width_ = 0;
  std::int64_t token_count_ = 0;
  std::int64_t document_count_ = 0;
  std::int64_t vocab_size_ = 0;
  std::uint64_t tokenizer_hash_ = 0;
  std::uint64_t checksum_ = 0;
  const std::byte* tokens_ = nullptr;
  const std::byte* offsets_ = nullptr;
};

}  // namespace fathom
