#include "train/batch_loader.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "train/permutation.h"

namespace fathom {
namespace {

// Streams of the data seed. An epoch's permutation is stream 2e, its offset stream 2e + 1.
std::uint64_t order_stream(std::int64_t epoch) {
  return static_cast<std::uint64_t>(epoch) * 2;
}

/// Appends tokens [begin, begin + length] as one sequence with its shifted targets.
void append_sequence(const TokenDataset& data, std::int64_t begin, std::int64_t length,
                     std::vector<std::int32_t>& buffer, Batch& batch) {
  buffer.resize(static_cast<std::size_t>(length) + 1);
  data.read(begin, buffer);
  batch.tokens.insert(batch.tokens.end(), buffer.begin(), buffer.end() - 1);
  batch.targets.insert(batch.targets.end(), buffer.begin() + 1, buffer.end());
  batch.sequences.offsets.push_back(static_cast<std::int64_t>(batch.tokens.size()));
}

}  // namespace

BatchLoader::BatchLoader(const TokenDataset& data, std::int64_t sequence_length, std::uint64_t seed)
    : data_(data),
      sequence_length_(sequence_length),
      seed_(seed),
      per_epoch_(std::max(std::int64_t{0}, data.tokens() - 1) / sequence_length) {
  require(per_epoch_ > 0,
          "the training data has {} tokens, fewer than one sequence of {} and its last target: prepare more "
          "text or lower training.sequence_length",
          data.tokens(), sequence_length);
}

std::int64_t BatchLoader::begin_of(std::int64_t position) const {
  const std::int64_t epoch = position / per_epoch_;
  const std::int64_t spare = data_.tokens() - 1 - per_epoch_ * sequence_length_;
  const auto offset = static_cast<std::int64_t>(
      Rng(seed_, order_stream(epoch) + 1).below(static_cast<std::uint64_t>(spare) + 1));
  const Permutation order(static_cast<std::uint64_t>(per_epoch_), seed_, order_stream(epoch));
  const auto index = static_cast<std::int64_t>(order(static_cast<std::uint64_t>(position % per_epoch_)));
  return offset + index * sequence_length_;
}

Batch BatchLoader::batch(std::int64_t position, std::int64_t count) const {
  Batch batch;
  batch.tokens.reserve(static_cast<std::size_t>(count * sequence_length_));
  batch.targets.reserve(static_cast<std::size_t>(count * sequence_length_));
  batch.sequences.offsets.push_back(0);
  std::vector<std::int32_t> buffer;
  for (std::int64_t i = 0; i < count; ++i)
    append_sequence(data_, begin_of(position + i), sequence_length_, buffer, batch);
  return batch;
}

Batch consecutive_batch(const TokenDataset& data, std::int64_t first, std::int64_t targets,
                        std::int64_t sequence_length) {
  Batch batch;
  batch.sequences.offsets.push_back(0);
  std::vector<std::int32_t> buffer;
  for (const std::int64_t end = first + targets; first < end; first += sequence_length)
    append_sequence(data, first, std::min(sequence_length, end - first), buffer, batch);
  return batch;
}

}  // namespace fathom
