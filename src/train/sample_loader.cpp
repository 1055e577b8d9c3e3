#include "train/sample_loader.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "base/error.h"
#include "train/permutation.h"

namespace fathom {

SampleLoader::SampleLoader(const SampleSet& samples, std::int64_t sequence_length, std::uint64_t seed)
    : samples_(samples), sequence_length_(sequence_length), seed_(seed) {
  std::vector<std::int64_t> learned;
  for (std::int64_t i = 0; i < samples.count(); ++i) {
    const SampleSet::Sample sample = samples.read(i);
    const std::int64_t rows = std::min(samples.length(i) - 1, sequence_length);
    // The first token is the target of none.
    learned.push_back(rows > 0 ? std::accumulate(sample.learned.begin() + 1,
                                                 sample.learned.begin() + 1 + rows, std::int64_t{0})
                               : 0);
    const bool is_kept = learned.back() > 0;
    rows_.push_back(is_kept ? rows : 0);
    cut_samples_ += is_kept && samples.length(i) - 1 > sequence_length ? 1 : 0;
    left_out_ += is_kept ? 0 : 1;
  }
  packs_ = pack_samples(rows_, sequence_length);
  require(!packs_.empty(),
          "none of {} samples has anything to learn within its first {} tokens: raise "
          "training.sequence_length, or look at the data",
          samples.count(), sequence_length);
  for (const SamplePack& pack : packs_) {
    std::int64_t sum = 0;
    for (const std::int64_t sample : pack) sum += learned[static_cast<std::size_t>(sample)];
    targets_.push_back(sum);
  }
}

double SampleLoader::fill() const {
  return static_cast<double>(std::accumulate(rows_.begin(), rows_.end(), std::int64_t{0})) /
         static_cast<double>(packs_per_epoch() * sequence_length_);
}

std::size_t SampleLoader::pack_at(std::int64_t position) const {
  const std::int64_t epoch = position / packs_per_epoch();
  const Permutation order(packs_.size(), seed_, static_cast<std::uint64_t>(epoch));
  return static_cast<std::size_t>(order(static_cast<std::uint64_t>(position % packs_per_epoch())));
}

void SampleLoader::append(std::size_t pack, Batch& batch) const {
  for (const std::int64_t index : packs_[pack]) {
    const SampleSet::Sample sample = samples_.read(index);
    const std::int64_t rows = rows_[static_cast<std::size_t>(index)];
    batch.tokens.insert(batch.tokens.end(), sample.tokens.begin(), sample.tokens.begin() + rows);
    for (std::size_t i = 1; i <= static_cast<std::size_t>(rows); ++i)
      batch.targets.push_back(sample.learned[i] != 0 ? sample.tokens[i] : -1);
    batch.sequences.offsets.push_back(static_cast<std::int64_t>(batch.tokens.size()));
  }
}

Batch SampleLoader::batch(std::int64_t position, std::int64_t count) const {
  Batch batch;
  batch.sequences.offsets.push_back(0);
  for (std::int64_t i = 0; i < count; ++i) append(pack_at(position + i), batch);
  return batch;
}

std::int64_t SampleLoader::targets(std::int64_t position, std::int64_t count) const {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += targets_[pack_at(position + i)];
  return sum;
}

Batch SampleLoader::packs(std::int64_t first, std::int64_t count) const {
  Batch batch;
  batch.sequences.offsets.push_back(0);
  for (std::int64_t i = 0; i < count; ++i) append(static_cast<std::size_t>(first + i), batch);
  return batch;
}

std::int64_t SampleLoader::targets_of_packs(std::int64_t first, std::int64_t count) const {
  const auto begin = targets_.begin() + first;
  return std::accumulate(begin, begin + count, std::int64_t{0});
}

}  // namespace fathom
