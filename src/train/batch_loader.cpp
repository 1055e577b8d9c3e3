#include "train/batch_loader.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "train/permutation.h"

namespace fathom {
namespace {

// Streams of the data seed. An epoch's permutation is stream 2e, its offset stream 2e + 1, each source's in
// the upper half beside it.
std::uint64_t order_stream(std::size_t source, std::int64_t epoch) {
  return static_cast<std::uint64_t>(source) << 48U | static_cast<std::uint64_t>(epoch) * 2;
}

std::vector<double> weights_of(std::span<const SourceTokens> sources) {
  std::vector<double> weights;
  for (const SourceTokens& source : sources) weights.push_back(source.weight);
  return weights;
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
    : mix_(std::array{1.0}), sequence_length_(sequence_length), seed_(seed) {
  add_source(data, "");
}

BatchLoader::BatchLoader(std::span<const SourceTokens> sources, std::int64_t sequence_length,
                         std::uint64_t seed)
    : mix_(weights_of(sources)), sequence_length_(sequence_length), seed_(seed) {
  for (const SourceTokens& source : sources)
    add_source(source.tokens, sources.size() == 1 ? "" : " of the source " + printable(source.name));
}

void BatchLoader::add_source(const TokenDataset& data, const std::string& name) {
  const std::int64_t per_epoch = std::max(std::int64_t{0}, data.tokens() - 1) / sequence_length_;
  require(
      per_epoch > 0,
      "the training data{} has {} tokens, fewer than one sequence of {} and its last target: prepare more "
      "text or lower training.sequence_length",
      name, data.tokens(), sequence_length_);
  sources_.push_back({&data, per_epoch});
}

std::int64_t BatchLoader::sequences_per_epoch(std::size_t source) const {
  return sources_[source].per_epoch;
}

double BatchLoader::epochs(std::size_t source, std::int64_t positions) const {
  return static_cast<double>(mix_.count(source, positions)) / static_cast<double>(sources_[source].per_epoch);
}

std::int64_t BatchLoader::begin_of(const SourceMix::Place& place) const {
  const auto& [data, per_epoch] = sources_[place.source];
  const std::uint64_t stream = order_stream(place.source, place.index / per_epoch);
  const std::int64_t spare = data->tokens() - 1 - per_epoch * sequence_length_;
  const auto offset =
      static_cast<std::int64_t>(Rng(seed_, stream + 1).below(static_cast<std::uint64_t>(spare) + 1));
  const Permutation order(static_cast<std::uint64_t>(per_epoch), seed_, stream);
  const auto index = static_cast<std::int64_t>(order(static_cast<std::uint64_t>(place.index % per_epoch)));
  return offset + index * sequence_length_;
}

Batch BatchLoader::batch(std::int64_t position, std::int64_t count) const {
  Batch batch;
  batch.tokens.reserve(static_cast<std::size_t>(count * sequence_length_));
  batch.targets.reserve(static_cast<std::size_t>(count * sequence_length_));
  batch.sequences.offsets.push_back(0);
  std::vector<std::int32_t> buffer;
  for (std::int64_t i = 0; i < count; ++i) {
    const SourceMix::Place place = mix_.at(position + i);
    append_sequence(*sources_[place.source].data, begin_of(place), sequence_length_, buffer, batch);
  }
  return batch;
}

std::int64_t BatchLoader::targets(std::int64_t /*position*/, std::int64_t count) const {
  return count * sequence_length_;
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
