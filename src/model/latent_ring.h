#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention.h"
#include "model/kept.h"
#include "model/sequence_peers.h"
#include "model/sequences.h"
#include "tensor/tensor.h"

namespace fathom {

/// Attention within whole sequences, or within what a rank has of them.
std::vector<kernels::AttentionSpan> own_spans(const Sequences& sequences);

/// What a rank's queries see of another's keys: those of pieces that are earlier ones of the same sequence,
/// seen whole.
struct SeenKeys {
  std::vector<std::int32_t> rows;             // of the other's, ascending
  std::vector<kernels::AttentionSpan> spans;  // keys are places in `rows`
};
SeenKeys seen_keys(const Sequences& own, const Sequences& theirs);

/// The latents of all ranks that share sequences out, as they come by in a ring: on this rank first its own,
/// then those of the rank before, and so on. Each is sent on when it arrives, so that it travels while this
/// rank attends to it.
///
/// Latents are what MLA keeps of a token: kv_lora_rank + qk_rope_head_dim values where keys and values of all
/// heads would be heads · (qk_nope_head_dim + v_head_dim). Keys and values are made of them again here.
class LatentRing {
 public:
  /// Keeps a reference to the peers. Begins to send the own latents on.
  /// @param own  [rows here, ...], as they are stored
  LatentRing(SequencePeers& peers, const Sequences& sequences, Kept own, Direction direction);

  /// Waits for the next rank's latents; false when all have come by.
  [[nodiscard]] bool advance();

  /// Whose latents are here, and what this rank's queries see of them.
  [[nodiscard]] const Sequences& sequences() const { return theirs_; }
  [[nodiscard]] const SeenKeys& seen() const { return seen_; }
  /// [rows seen, ...]
  [[nodiscard]] Kept seen_latents() const { return here_.copied(seen_.rows); }

 private:
  void send_on();

  SequencePeers& peers_;
  const Sequences own_;
  Direction direction_;
  int step_ = 0;  // places that the latents here have come
  Sequences theirs_;
  Kept here_;
  Kept coming_;
  SeenKeys seen_;
  SequencePeers::Arriving rows_;
  SequencePeers::Arriving scales_;
};

/// Sums that follow latents around the ring: each rank adds its part of the gradient of the latents that are
/// there, and in the end they come home.
class GradientRing {
 public:
  /// Keeps a reference to the peers.
  /// @param width  of a row
  GradientRing(SequencePeers& peers, const Sequences& sequences, std::int64_t width);

  /// Adds this rank's part to the sum of the latents that are here after the ring's `advance`, waits for what
  /// ranks before it made of that sum, and sends it on.
  /// @param part  [rows seen, width]
  void add(const LatentRing& ring, const Tensor& part);
  /// The sum for this rank's own latents, [rows here, width]. Waits.
  [[nodiscard]] Tensor own();

 private:
  /// What ranks before made of the sum that comes next.
  [[nodiscard]] Tensor arrived();

  SequencePeers& peers_;
  const Sequences own_;
  std::int64_t width_;
  int step_ = 0;
  Tensor going_;
  Tensor coming_;
  SequencePeers::Arriving arriving_;  // null before the first
};

}  // namespace fathom
