#include "dist/two_way_order.h"

namespace fathom {
namespace {

/// Takes the chunks of both streams in their order, and the weight gradients that wait first in, first out.
class TwoWayRank {
 public:
  explicit TwoWayRank(const std::array<ChunkStream, 2>& streams) : streams_(streams) {}

  void forward(std::size_t stream) { order_.forward(next(stream, forwards_)); }
  void backward(std::size_t stream, bool input_only) {
    const StageBatch chunk = next(stream, backwards_);
    if (!input_only) {
      order_.backward(chunk);
      return;
    }
    order_.backward_input(chunk);
    waiting_.push_back(chunk);
  }
  void forward_backward(std::size_t forward_stream, std::size_t backward_stream) {
    const StageBatch forward = next(forward_stream, forwards_);
    order_.forward_backward(forward, next(backward_stream, backwards_));
  }
  void weight() { order_.backward_weight(waiting_[weights_++]); }
  ComputeOrder take() { return std::move(order_); }

 private:
  StageBatch next(std::size_t stream, std::array<std::int64_t, 2>& counts) {
    return stage_batch(streams_[stream].stage, streams_[stream].first_micro_batch + counts[stream]++);
  }

  std::array<ChunkStream, 2> streams_;
  std::array<std::int64_t, 2> forwards_ = {};
  std::array<std::int64_t, 2> backwards_ = {};
  std::vector<StageBatch> waiting_;
  std::size_t weights_ = 0;
  ComputeOrder order_;
};

}  // namespace

ComputeOrder two_way_order(std::int64_t depth, std::int64_t half, std::int64_t count,
                           const std::array<ChunkStream, 2>& streams) {
  TwoWayRank rank(streams);
  const std::int64_t behind = half - depth - 1;  // ranks from here to where the streams meet
  // 1: the near stream alone, until the far one arrives.
  for (std::int64_t i = 0; i < 2 * behind; ++i) rank.forward(0);
  // 2: both.
  for (std::int64_t i = 0; i < depth + 1; ++i) {
    rank.forward(0);
    rank.forward(1);
  }
  // 3: the first backwards, sent on as early as can be.
  for (std::int64_t i = 0; i < behind; ++i) {
    rank.backward(1, /*input_only=*/true);
    rank.weight();
    rank.forward(1);
  }
  // 4: the steady state. Where the streams meet, the first pair would make the neighbours wait.
  for (std::int64_t i = 0; i < count - 2 * half + depth + 1; ++i) {
    if (i == 0 && behind == 0) {
      rank.forward(0);
      rank.backward(1, /*input_only=*/false);
    } else {
      rank.forward_backward(0, 1);
    }
    rank.forward_backward(1, 0);
  }
  // 5: the near stream has entered whole.
  for (std::int64_t i = 0; i < behind; ++i) {
    rank.backward(1, /*input_only=*/false);
    rank.forward_backward(1, 0);
  }
  // 6: backwards alone; from the middle on weight gradients wait for the gaps that follow.
  bool defer = false;
  for (std::int64_t i = 0; i < depth + 1; ++i) {
    const bool middle = i == (depth + 1) / 2;
    if (middle && depth % 2 == 1) defer = true;
    rank.backward(1, defer);
    if (middle && depth % 2 == 0) defer = true;
    rank.backward(0, defer);
  }
  // 7 and 8: the gaps.
  for (std::int64_t i = 0; i < behind; ++i) {
    rank.weight();
    rank.backward(0, /*input_only=*/true);
  }
  for (std::int64_t i = 0; i < depth + 1; ++i) rank.weight();
  return rank.take();
}

}  // namespace fathom
