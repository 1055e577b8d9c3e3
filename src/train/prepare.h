#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "train/corpus.h"
#include "train/data_manifest.h"

namespace fathom {

/// Which texts are held out from training.
enum class HeldOutBy : std::uint8_t {
  automatic,  ///< `tail` where each document of a source is a whole text file, else `document`
  document,   ///< whole documents, chosen by a checksum of their text: copies of one fall on the same side
  tail,       ///< the end of every document, from a line break on
};

struct PrepareOptions {
  std::vector<CorpusOptions> sources;
  std::filesystem::path output;
  double held_out = 0.01;  // part of the documents, or of each document's bytes
  HeldOutBy held_out_by = HeldOutBy::automatic;
  std::int64_t shard_tokens = std::int64_t{1} << 26;  // a shard ends with the document that reaches it
  bool exact_dedup = true;                            // leave out documents whose text stood before
  std::optional<double> near_dedup = {};  // and those as similar to one before; needs `exact_dedup`
  double fim_rate = 0;                    // part of the training documents to rearrange
  std::uint64_t seed = 1;                 // of the choice of those
  /// What a learned tokenizer has; part of the recipe that a continued preparation must share. 0: a given
  /// one.
  std::int64_t learned_vocab_size = 0;
  std::uint64_t tokenizer_text_bytes = std::uint64_t{256}
                                       << 20U;  // that a tokenizer is learned from, at most
};

struct PrepareProgress {
  enum class Phase : std::uint8_t { survey, duplicates, vocabulary, tokens };
  Phase phase = Phase::survey;
  std::uint64_t bytes_before = 0;  // of the files, that an earlier process had done in this phase
  std::uint64_t bytes_read = 0;    // of the files, those included
  std::uint64_t bytes_total = 0;   // of the files
  std::uint64_t text_bytes = 0;    // in this phase by this process
  std::int64_t tokens = 0;         // written so far
};

/// Turns texts into a data folder, in passes over them:
///
///     Preparation preparation(options, pool, progress);
///     preparation.survey();                                    // sizes, checksums, duplicates
///     preparation.for_each_training_text(...);                 // to learn a tokenizer from, where none is
///     given const DataManifest manifest = preparation.tokenize();    // with OUTPUT/tokenizer.json
///
/// The same input gives the same bytes, with any number of threads. What is done is noted in
/// OUTPUT/unfinished: after an end of the process at any instant the same calls go on there, lose at most the
/// shard under way, and end with the same bytes. Memory does not depend on the size of the corpus, but for
/// two bits a document.
class Preparation {
 public:
  using Progress = std::function<void(const PrepareProgress&)>;

  /// Keeps a reference to the pool. Throws `Error` when an option is impossible, an input is missing, the
  /// folder holds prepared data already, or an unfinished preparation with other options or inputs.
  Preparation(PrepareOptions options, ThreadPool& pool, Progress progress);
  ~Preparation();
  Preparation(const Preparation&) = delete;
  Preparation& operator=(const Preparation&) = delete;

  /// Whether an earlier process did a part.
  [[nodiscard]] bool is_continued() const;
  /// Whether an earlier process began to tokenise, with the tokenizer that stands in the folder.
  [[nodiscard]] bool has_tokenizer() const;

  /// Loads OUTPUT/tokenizer.json and checks that it can do what is asked for; `tokenize` does it otherwise.
  void load_tokenizer();
  void survey();
  /// Calls `text`, one call at a time, with the training part of each document that stays; of each long text,
  /// and of a corpus above `tokenizer_text_bytes` of each source, a part.
  void for_each_training_text(const std::function<void(std::string_view)>& text);
  DataManifest tokenize();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// `survey` and `tokenize` with the tokenizer that stands in the output folder.
DataManifest prepare_data(const PrepareOptions& options, ThreadPool& pool,
                          const Preparation::Progress& progress);

/// Copies tokenizer.json, and tokenizer_config.json where there is one, from a folder (or beside a file) into
/// a data folder. Throws `Error` when there is no tokenizer.
void install_tokenizer(const std::filesystem::path& folder_or_file, const std::filesystem::path& output);

}  // namespace fathom
