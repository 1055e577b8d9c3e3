#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "base/thread_pool.h"
#include "train/corpus.h"
#include "train/data_manifest.h"

namespace fathom {

/// Which texts are held out from training.
enum class HeldOutBy : std::uint8_t {
  automatic,  ///< `tail` where each document is a whole text file, else `document`
  document,   ///< whole documents, chosen by a checksum of their text: copies of one fall on the same side
  tail,       ///< the end of every document, from a line break on
};

struct PrepareOptions {
  CorpusOptions corpus;
  std::filesystem::path output;
  double held_out = 0.01;  // part of the documents, or of each document's bytes
  HeldOutBy held_out_by = HeldOutBy::automatic;
  std::int64_t shard_tokens = std::int64_t{1} << 26;  // a shard ends with the document that reaches it
};

struct PrepareProgress {
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_total = 0;
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
};

/// Copies tokenizer.json, and tokenizer_config.json where there is one, from a folder (or beside a file) into
/// a data folder. Throws `Error` when there is no tokenizer.
void install_tokenizer(const std::filesystem::path& folder_or_file, const std::filesystem::path& output);

/// Turns texts into token shards with the tokenizer that stands in the output folder: each document between
/// BOS and EOS where the tokenizer has them. The same input gives the same bytes. Documents are tokenised by
/// all threads, a few MiB in memory at a time, or the longest document if that is more (about 6 times its
/// size).
/// Throws `Error` when the folder holds prepared data already, or when no text is left to train on.
DataManifest prepare_data(const PrepareOptions& options, ThreadPool& pool,
                          const std::function<void(const PrepareProgress&)>& progress);

/// Throws `Error` when `output` holds prepared data already: nothing here replaces any.
void require_no_data(const std::filesystem::path& output);

/// Calls `text` with the training part of each document: what a tokenizer may learn from.
void for_each_training_text(const PrepareOptions& options,
                            const std::function<void(std::string_view text, std::uint64_t bytes_read)>& text);

}  // namespace fathom
