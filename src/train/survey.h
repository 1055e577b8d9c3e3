#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "train/corpus.h"
#include "train/prepare_journal.h"

namespace fathom {

/// What is known of each record before any is tokenised.
struct SurveyRecord {
  std::uint64_t hash = 0;   // checksum of its text
  std::uint64_t bytes = 0;  // of its text; of a text above `kLongText` as it lies in the file
};

/// How far a pass over a corpus is.
struct PassProgress {
  std::uint64_t bytes_read = 0;  // of the files
  std::uint64_t text_bytes = 0;  // by this process
  std::uint64_t records = 0;
};

/// Files of a survey, in the folder of the journal.
struct SurveyFiles {
  std::filesystem::path records;     // a `SurveyRecord` each
  std::filesystem::path signatures;  // a `Signature` each, where near duplicates are sought
  std::filesystem::path fates;       // `DocumentFates`

  explicit SurveyFiles(const std::filesystem::path& folder)
      : records(folder / "records"), signatures(folder / "signatures"), fates(folder / "fates") {}
};

/// Reads a whole corpus once, all threads working, and writes down hash and size of each record. Goes on
/// where the journal says that an earlier process stopped.
/// @param with_signatures  also write down what near duplicates are found by: 256 bytes a record
/// @return how many records there are
std::uint64_t survey_corpus(const Corpus& corpus, bool with_signatures, const SurveyFiles& files,
                            PrepareJournal& journal, ThreadPool& pool,
                            const std::function<void(const PassProgress&)>& progress);

/// What becomes of each record: two bits each in memory.
class DocumentFates {
 public:
  enum class Fate : std::uint8_t { keep, exact_duplicate, near_duplicate };

  explicit DocumentFates(std::uint64_t records) : size_(records), packed_((records + 3) / 4) {}
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] Fate of(std::uint64_t record) const {
    return static_cast<Fate>(packed_[record / 4] >> (record % 4 * 2) & 3U);
  }
  void set(std::uint64_t record, Fate fate) {
    packed_[record / 4] |= static_cast<std::uint8_t>(static_cast<unsigned>(fate) << (record % 4 * 2));
  }
  void save(const std::filesystem::path& file) const;
  /// Throws `Error` when the file is not of so many records.
  static DocumentFates load(const std::filesystem::path& file, std::uint64_t records);

 private:
  std::uint64_t size_;
  std::vector<std::uint8_t> packed_;
};

/// Decides which documents are left out.
///
/// Of documents with the same text the first stays. Then, where a threshold is given, documents are looked at
/// in their order: one whose estimated similarity to an earlier one that stays reaches the threshold is left
/// out. Compared are those that share a band (train/near_duplicates.h), in each band with the first and with
/// the latest document before that have it.
///
/// Memory: two bits a record and 64 MiB, whatever the size; the rest is sorted in files beside the survey.
/// @param near_threshold  nothing: exact duplicates alone
DocumentFates find_duplicates(const SurveyFiles& files, std::uint64_t records,
                              std::optional<double> near_threshold, ThreadPool& pool);

}  // namespace fathom
