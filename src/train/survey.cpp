#include "train/survey.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/ordered_pipeline.h"
#include "train/entry_file.h"
#include "train/external_sorter.h"
#include "train/near_duplicates.h"

namespace fathom {
namespace {

constexpr std::uint64_t kBytesBetweenEntries = 256U << 20U;
constexpr std::size_t kSortBudget = 32U << 20U;
constexpr std::uint64_t kLargestFates = std::uint64_t{1} << 40U;

/// What the threads make of a block.
struct SurveyedBlock {
  std::vector<SurveyRecord> records;
  std::vector<Signature> signatures;
  CorpusPlace after;  // its last record
  std::uint64_t bytes_read = 0;
  std::uint64_t text_bytes = 0;
  // Of a text that comes in parts:
  std::string part;
  std::uint64_t part_bytes = 0;  // as it lies in the file
  SignatureBuilder part_signature;
  bool is_open = false;
};

/// The text that comes in parts and of which not all parts were met.
struct OpenText {
  Checksum checksum;
  std::uint64_t bytes = 0;
  SignatureBuilder signature;
};

SurveyedBlock survey_block(const Corpus& corpus, const CorpusBlock& block, bool with_signatures) {
  SurveyedBlock result;
  const CorpusOptions& options = corpus.sources()[block.file->source];
  result.after = {block.place.file, block.place.record + block.records.size(),
                  block.place.ordinal + block.records.size()};
  result.bytes_read = block.bytes_read;
  result.is_open = block.is_open;
  for (std::size_t i = 0; i < block.records.size(); ++i) {
    std::string text = record_text(block, i, options).text;
    result.text_bytes += text.size();
    SignatureBuilder signature;
    if (with_signatures) signature.add(text);
    if (block.is_open || block.offset > 0) {
      result.part = std::move(text);
      result.part_bytes = block.records[i].size;
      result.part_signature = std::move(signature);
    } else {
      result.records.push_back({checksum(text), text.size()});
      if (with_signatures) result.signatures.push_back(signature.signature());
    }
  }
  return result;
}

/// Appends what the survey finds, and now and then notes how far it is.
class SurveyWriter {
 public:
  SurveyWriter(const SurveyFiles& files, const CorpusPlace& from, bool with_signatures,
               PrepareJournal& journal)
      : records_(files.records, from.ordinal * sizeof(SurveyRecord)), journal_(journal), place_(from) {
    if (with_signatures)
      signatures_ = std::make_unique<GrowingFile>(files.signatures, from.ordinal * sizeof(Signature));
  }

  void add(SurveyedBlock block) {
    if (block.is_open || open_) {
      add_part(block);
    } else {
      records_.append(std::as_bytes(std::span(block.records)));
      if (signatures_) signatures_->append(std::as_bytes(std::span(block.signatures)));
    }
    unwritten_ += block.text_bytes;
    if (block.is_open) return;
    place_ = block.after;
    if (unwritten_ >= kBytesBetweenEntries) note(false);
  }

  /// Notes how far all before is durable.
  void note(bool complete) {
    records_.sync();
    if (signatures_) signatures_->sync();
    journal_.append({{"survey",
                      {{"file", place_.file},
                       {"record", place_.record},
                       {"ordinal", place_.ordinal},
                       {"complete", complete}}}});
    unwritten_ = 0;
  }
  [[nodiscard]] std::uint64_t records() const { return place_.ordinal; }

 private:
  void add_part(const SurveyedBlock& block) {
    if (!open_) open_.emplace();
    open_->checksum.update(std::as_bytes(std::span(block.part)));
    open_->bytes += block.part_bytes;
    open_->signature.merge(block.part_signature);
    if (block.is_open) return;
    const SurveyRecord record{open_->checksum.value(), open_->bytes};
    records_.append(std::as_bytes(std::span(&record, 1)));
    const Signature signature = open_->signature.signature();
    if (signatures_) signatures_->append(std::as_bytes(std::span(&signature, 1)));
    open_.reset();
  }

  GrowingFile records_;
  std::unique_ptr<GrowingFile> signatures_;
  PrepareJournal& journal_;
  CorpusPlace place_;
  std::uint64_t unwritten_ = 0;
  std::optional<OpenText> open_;
};

struct Keyed {
  std::uint64_t key = 0;
  std::uint64_t record = 0;
  bool operator<(const Keyed& other) const {
    return key != other.key ? key < other.key : record < other.record;
  }
};

struct Candidates {
  std::uint64_t later = 0;
  std::uint64_t earlier = 0;
  bool operator<(const Candidates& other) const {
    return later != other.later ? later < other.later : earlier < other.earlier;
  }
  bool operator==(const Candidates&) const = default;
};

using Fate = DocumentFates::Fate;

void find_exact_duplicates(const SurveyFiles& files, DocumentFates& fates) {
  ExternalSorter<Keyed> sorter(files.records.string() + ".sorted", kSortBudget);
  EntryFile<SurveyRecord> records(files.records);
  SurveyRecord record;
  for (std::uint64_t i = 0; i < fates.size() && records.next(record); ++i)
    if (record.bytes > 0) sorter.add({record.hash, i});
  std::optional<std::uint64_t> before;
  sorter.for_each_sorted([&](const Keyed& entry) {
    if (before == entry.key) fates.set(entry.record, Fate::exact_duplicate);
    before = entry.key;
  });
}

/// Pairs that share a band. Bands are independent of each other, so threads share them out.
void find_candidates(const SurveyFiles& files, const Bands& bands, const DocumentFates& fates,
                     ThreadPool& pool, ExternalSorter<Candidates>& candidates) {
  const std::size_t at_once = std::min(bands.bands, pool.threads());
  std::mutex mutex;
  const Signature no_words = SignatureBuilder().signature();
  pool.parallel_for(bands.bands, [&](std::size_t band) {
    ExternalSorter<Keyed> sorter(fmt::format("{}.band-{}", files.signatures.string(), band),
                                 kSortBudget / at_once);
    EntryFile<Signature> signatures(files.signatures);
    Signature signature;
    for (std::uint64_t i = 0; i < fates.size() && signatures.next(signature); ++i)
      if (fates.of(i) == Fate::keep && signature != no_words) sorter.add({bands.hash(signature, band), i});
    Keyed first;
    Keyed latest;
    bool is_first = true;
    sorter.for_each_sorted([&](const Keyed& entry) {
      if (is_first || entry.key != first.key) {
        first = entry;
      } else {
        const std::scoped_lock lock(mutex);
        candidates.add({entry.record, first.record});
        if (latest.record != first.record) candidates.add({entry.record, latest.record});
      }
      latest = entry;
      is_first = false;
    });
  });
}

void find_near_duplicates(const SurveyFiles& files, double threshold, ThreadPool& pool,
                          DocumentFates& fates) {
  ExternalSorter<Candidates> candidates(files.signatures.string() + ".pairs", kSortBudget);
  find_candidates(files, bands_for(threshold), fates, pool, candidates);
  const EntryFile<Signature> signatures(files.signatures);
  std::optional<Candidates> before;
  std::uint64_t held = UINT64_MAX;
  Signature later;
  candidates.for_each_sorted([&](const Candidates& pair) {
    if (before == pair) return;  // of another band
    before = pair;
    if (fates.of(pair.later) != Fate::keep || fates.of(pair.earlier) != Fate::keep) return;
    if (held != pair.later) later = signatures.at(pair.later);
    held = pair.later;
    if (similarity(later, signatures.at(pair.earlier)) >= threshold)
      fates.set(pair.later, Fate::near_duplicate);
  });
}

}  // namespace

std::uint64_t survey_corpus(const Corpus& corpus, bool with_signatures, const SurveyFiles& files,
                            PrepareJournal& journal, ThreadPool& pool,
                            const std::function<void(const PassProgress&)>& progress) {
  CorpusPlace from;
  for (const Json& entry : journal.entries()) {
    if (!entry.contains("survey")) continue;
    const Json& survey = entry.at("survey");
    from = {survey.at("file").get<std::size_t>(), survey.at("record").get<std::uint64_t>(),
            survey.at("ordinal").get<std::uint64_t>()};
    if (survey.at("complete").get<bool>()) return from.ordinal;
  }
  SurveyWriter writer(files, from, with_signatures, journal);
  CorpusReader reader(corpus, from);
  PassProgress done;
  OrderedPipeline<CorpusBlock, SurveyedBlock>::run(
      pool, {.produce = [&](CorpusBlock& block) { return reader.next(block); },
             .work = [&](const CorpusBlock& block) { return survey_block(corpus, block, with_signatures); },
             .consume =
                 [&](SurveyedBlock block) {
                   done.bytes_read = block.bytes_read;
                   done.text_bytes += block.text_bytes;
                   writer.add(std::move(block));
                   done.records = writer.records();
                   progress(done);
                 }});
  writer.note(true);
  return writer.records();
}

void DocumentFates::save(const std::filesystem::path& file) const {
  write_file_atomically(file,
                        std::string_view(reinterpret_cast<const char*>(packed_.data()), packed_.size()));
}

DocumentFates DocumentFates::load(const std::filesystem::path& file, std::uint64_t records) {
  const std::string content = read_text_file(file, kLargestFates);
  DocumentFates fates(records);
  require(content.size() == fates.packed_.size(),
          "{}: not of {} records: remove the output folder and prepare again", file.string(), records);
  std::copy(content.begin(), content.end(), fates.packed_.begin());
  return fates;
}

DocumentFates find_duplicates(const SurveyFiles& files, std::uint64_t records,
                              std::optional<double> near_threshold, ThreadPool& pool) {
  DocumentFates fates(records);
  find_exact_duplicates(files, fates);
  if (near_threshold) find_near_duplicates(files, *near_threshold, pool, fates);
  return fates;
}

}  // namespace fathom
