#include "model/latent_ring.h"

#include <numeric>
#include <utility>

namespace fathom {
namespace {

/// Rows of whichever rank is `step` places before this one.
Sequences part_before(const Sequences& own, int step) {
  return own.part_of_rank((own.rank + own.ranks - step) % own.ranks);
}

}  // namespace

std::vector<kernels::AttentionSpan> own_spans(const Sequences& sequences) {
  // Of a sequence's two pieces here the early one comes first, so that causal order is the order of rows.
  std::vector<kernels::AttentionSpan> spans;
  for (std::int64_t s = 0; s < sequences.count(); ++s) {
    const std::int64_t begin = sequences.offsets[static_cast<std::size_t>(s)];
    const std::int64_t length = sequences.rows_of(s);
    spans.push_back({begin, length, begin, length});
  }
  return spans;
}

SeenKeys seen_keys(const Sequences& own, const Sequences& theirs) {
  // A rank before this one has an early piece before both pieces here and a late one behind both; a rank
  // behind has both of its pieces between the two here.
  const bool is_before = theirs.rank < own.rank;
  SeenKeys seen;
  for (std::int64_t s = 0; s < own.count(); ++s) {
    const std::int64_t skipped = is_before ? 0 : own.early_rows(s);
    const std::int64_t query = own.offsets[static_cast<std::size_t>(s)] + skipped;
    const std::int64_t queries = own.rows_of(s) - skipped;
    const std::int64_t keys = is_before ? theirs.early_rows(s) : theirs.rows_of(s);
    if (queries == 0 || keys == 0) continue;
    const std::size_t begin = seen.rows.size();
    seen.rows.resize(begin + static_cast<std::size_t>(keys));
    std::iota(seen.rows.begin() + static_cast<std::ptrdiff_t>(begin), seen.rows.end(),
              static_cast<std::int32_t>(theirs.offsets[static_cast<std::size_t>(s)]));
    seen.spans.push_back({query, queries, static_cast<std::int64_t>(begin), keys, /*is_causal=*/false});
  }
  return seen;
}

LatentRing::LatentRing(SequencePeers& peers, const Sequences& sequences, Kept own, Direction direction)
    : peers_(peers), own_(sequences), direction_(direction), theirs_(sequences), here_(std::move(own)) {
  send_on();
}

void LatentRing::send_on() {
  const std::int64_t going = here_.rows();
  const std::int64_t coming = part_before(own_, step_ + 1).tokens();
  coming_ = here_.like(coming);
  rows_ = peers_.pass(here_.row_bytes_of(0, going), coming_.row_bytes_of(0, coming), direction_);
  if (here_.has_scales())
    scales_ = peers_.pass(here_.scale_bytes_of(0, going), coming_.scale_bytes_of(0, coming), direction_);
}

bool LatentRing::advance() {
  if (step_ + 1 == own_.ranks) return false;
  rows_();
  if (here_.has_scales()) scales_();
  ++step_;
  here_ = std::exchange(coming_, {});
  theirs_ = part_before(own_, step_);
  seen_ = seen_keys(own_, theirs_);
  if (step_ + 1 < own_.ranks) send_on();
  return true;
}

GradientRing::GradientRing(SequencePeers& peers, const Sequences& sequences, std::int64_t width)
    : peers_(peers), own_(sequences), width_(width) {}

Tensor GradientRing::arrived() {
  ++step_;
  if (!arriving_) return Tensor::zeros({part_before(own_, step_).tokens(), width_});
  arriving_();
  return std::exchange(coming_, {});
}

void GradientRing::add(const LatentRing& ring, const Tensor& part) {
  Tensor sum = arrived();
  const std::vector<std::int32_t>& rows = ring.seen().rows;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    float* to = sum.f32() + rows[i] * width_;
    const float* from = part.f32() + static_cast<std::int64_t>(i) * width_;
    for (std::int64_t d = 0; d < width_; ++d) to[d] += from[d];
  }
  going_ = std::move(sum);
  coming_ = Tensor::empty({part_before(own_, step_ + 1).tokens(), width_});
  arriving_ = peers_.pass(going_.bytes(), coming_.bytes(), Direction::backward);
}

Tensor GradientRing::own() {
  return arrived();
}

}  // namespace fathom
