#include "infer/numa_placement.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/machine_memory.h"
#include "base/progress.h"
#include "base/residence.h"
#include "tensor/storage.h"

namespace fathom {
namespace {

constexpr std::size_t kAlignment = 64;

std::size_t rounded_up(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

/// Bytes [begin, end) of an area, which belong to a node.
struct Segment {
  std::size_t begin;
  std::size_t end;
  std::size_t node;
};

/// A tensor on its way into an area.
struct Move {
  Tensor* tensor;
  std::optional<std::size_t> owner;  // the node that has all of it; nothing: rows are split
  std::size_t offset = 0;            // in the area
};

/// Tensors of two dimensions, in the order of the list of parameters. Norms and biases stay where they are:
/// every thread reads them, out of its cache.
std::vector<Move> moves_of(const NumaPlan& plan, const ModelConfig& config, TransformerWeights& weights,
                           bool with_experts) {
  std::vector<Move> moves;
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& value, Tensor* scale) {
    if (spec.expert >= 0 && !with_experts) return;
    for (Tensor* tensor : {&value, scale})
      if (tensor != nullptr && tensor->defined() && tensor->shape().size() == 2)
        moves.push_back(
            {tensor, spec.expert < 0 ? std::nullopt : plan.node_of_expert(spec.layer, spec.expert)});
  });
  return moves;
}

/// Copies matrices into memory of the nodes.
class WeightMover {
 public:
  WeightMover(ThreadPool& pool, NumaBinder& binder, const NumaPlan& plan)
      : pool_(pool), binder_(binder), plan_(plan) {}

  void run(std::vector<Move> moves) {
    lay_out(moves);
    check_memory();
    for (std::size_t copy = 0; copy < copies(); ++copy) areas_.push_back(allocate_untouched(bytes_));
    bind();
    copy_in_waves(moves);
    describe();
  }

 private:
  [[nodiscard]] bool is_mirrored() const {
    return plan_.choice.policy == NumaPolicy::mirror && plan_.nodes.size() > 1;
  }
  [[nodiscard]] std::size_t copies() const { return is_mirrored() ? plan_.nodes.size() : 1; }
  [[nodiscard]] std::byte* area(std::size_t copy) const {
    return static_cast<std::byte*>(areas_[copy].get());
  }

  /// Whole tensors of each node one after another, then those that are split: few borders, long runs of
  /// pages.
  void lay_out(std::vector<Move>& moves) {
    for (std::size_t node = 0; node < plan_.nodes.size(); ++node)
      for (Move& move : moves)
        if (move.owner == node) {
          place(move);
          segments_.push_back({move.offset, bytes_, node});
        }
    for (Move& move : moves) {
      if (move.owner) continue;
      place(move);
      if (!is_mirrored()) split(move);
    }
  }

  void place(Move& move) {
    move.offset = rounded_up(bytes_, kAlignment);
    bytes_ = move.offset + move.tensor->byte_size();
  }

  void split(const Move& move) {
    const std::int64_t rows = move.tensor->dim(0);
    const auto at = [&](std::size_t node) {
      return move.offset +
             stored_bytes(move.tensor->dtype(), plan_.rows_before(node, rows) * move.tensor->dim(1));
    };
    for (std::size_t node = 0; node < plan_.nodes.size(); ++node)
      if (at(node) < at(node + 1)) segments_.push_back({at(node), at(node + 1), node});
  }

  void check_memory() const {
    const std::uint64_t available = machine_memory().available;
    const std::uint64_t needed = bytes_ * copies();
    require(available == 0 || needed <= available,
            "--numa {}: copies of the weights take {} and {} of memory are free: {} bytes are missing",
            numa_choice_text(plan_.choice), format_bytes(needed), format_bytes(available),
            format_count(needed - std::min(needed, available)));
  }

  void bind() {
    bool is_bound = true;
    const auto bind_to = [&](std::size_t copy, std::size_t begin, std::size_t end, std::size_t node) {
      if (begin < end)
        is_bound = binder_.bind_memory(area(copy) + begin, end - begin, plan_.nodes[node].node) && is_bound;
    };
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    if (is_mirrored()) {
      for (std::size_t copy = 0; copy < copies(); ++copy) bind_to(copy, 0, rounded_up(bytes_, page), copy);
    } else {
      // Whole pages: one that two nodes share is the first one's.
      std::size_t begin = 0;
      for (std::size_t s = 0; s < segments_.size(); ++s) {
        if (s + 1 < segments_.size() && segments_[s + 1].node == segments_[s].node) continue;
        const std::size_t end = rounded_up(segments_[s].end, page);
        bind_to(0, begin, end, segments_[s].node);
        begin = std::max(begin, end);
      }
    }
    if (!is_bound)
      log_warning("the system forbids binding memory to nodes: pages lie where threads touch them first");
  }

  /// Part of a tensor that a thread of its node copies.
  struct Piece {
    const std::byte* from;
    std::byte* to;
    std::size_t bytes;
    std::size_t node;
  };

  /// Copies of [begin, end) of the area, in pieces.
  void add_pieces(const Move& move, std::size_t copy, const Segment& segment,
                  std::vector<Piece>& pieces) const {
    constexpr std::size_t kPiece = std::size_t{4} << 20U;
    const std::byte* from = move.tensor->bytes().data();
    for (std::size_t at = segment.begin; at < segment.end; at += kPiece)
      pieces.push_back(
          {from + (at - move.offset), area(copy) + at, std::min(kPiece, segment.end - at), segment.node});
  }

  void add_pieces(const Move& move, std::vector<Piece>& pieces) const {
    const std::size_t end = move.offset + move.tensor->byte_size();
    if (is_mirrored()) {
      for (std::size_t copy = 0; copy < copies(); ++copy)
        add_pieces(move, copy, {move.offset, end, copy}, pieces);
      return;
    }
    auto segment = std::ranges::upper_bound(segments_, move.offset, {}, &Segment::end);
    for (; segment != segments_.end() && segment->begin < end; ++segment)
      add_pieces(move, 0, *segment, pieces);
  }

  /// Tensors some at a time, so that those that were memory of ours can go when they are copied.
  void copy_in_waves(std::vector<Move>& moves) {
    constexpr std::size_t kWave = std::size_t{1} << 30U;
    ProgressLine progress;
    std::size_t done = 0;
    for (std::size_t first = 0; first < moves.size();) {
      std::vector<Piece> pieces;
      std::size_t wave = 0;
      std::size_t last = first;
      for (; last < moves.size() && wave < kWave; ++last) {
        add_pieces(moves[last], pieces);
        wave += moves[last].tensor->byte_size();
      }
      copy(pieces);
      for (; first < last; ++first) replace(moves[first]);
      release_idle_storage();
      done += wave;
      if (first < moves.size())
        progress.update(fmt::format("weights on their nodes: {} of {}", format_bytes(done * copies()),
                                    format_bytes(bytes_ * copies())));
    }
    progress.finish(fmt::format("weights on their nodes: {}", format_bytes(done * copies())));
  }

  void copy(std::vector<Piece>& pieces) {
    std::ranges::stable_sort(pieces, {}, &Piece::node);
    std::vector<NodeItems> runs;
    for (std::size_t p = 0; p < pieces.size(); ++p) {
      if (runs.empty() || runs.back().node != pieces[p].node) runs.push_back({p, p, pieces[p].node});
      runs.back().end = p + 1;
    }
    // Pages come from the node of who touches them first, even where they cannot be bound.
    pool_.parallel_for(
        runs, [&](std::size_t p) { std::memcpy(pieces[p].to, pieces[p].from, pieces[p].bytes); },
        OthersHelp::no);
  }

  void replace(const Move& move) {
    Tensor& tensor = *move.tensor;
    tensor = Tensor::view(area(0) + move.offset, tensor.shape(), tensor.dtype(), areas_[0]);
  }

  /// Tells the pool what lies where. It keeps the copies alive.
  void describe() {
    struct Areas {
      Residence residence;
      std::vector<std::shared_ptr<void>> areas;
    };
    auto areas = std::make_shared<Areas>();
    areas->areas = areas_;
    if (is_mirrored()) {
      std::vector<const void*> places;
      for (std::size_t copy = 0; copy < copies(); ++copy) places.push_back(area(copy));
      areas->residence.add_mirror(area(0), bytes_, std::move(places));
    } else {
      for (const Segment& segment : segments_)
        areas->residence.add(area(0) + segment.begin, segment.end - segment.begin, segment.node);
    }
    pool_.set_residence({areas, &areas->residence});
  }

  ThreadPool& pool_;
  NumaBinder& binder_;
  const NumaPlan& plan_;
  std::size_t bytes_ = 0;          // of an area
  std::vector<Segment> segments_;  // in the order of their places
  std::vector<std::shared_ptr<void>> areas_;
};

/// Workers are bound each to its place. A caller is bound to all places of its node, since threads that it
/// starts, such as those of a server, inherit that.
ThreadNodes bound_threads(const NumaPlan& plan, const std::shared_ptr<NumaBinder>& binder) {
  ThreadNodes nodes;
  std::vector<std::vector<unsigned>> places;
  for (std::size_t n = 0; n < plan.nodes.size(); ++n)
    for (const std::vector<unsigned>& units : plan.nodes[n].threads) {
      nodes.node_of_thread.push_back(n);
      places.push_back(units);
    }
  for (const std::vector<unsigned>& units : plan.nodes.front().threads)
    for (const unsigned unit : units)
      if (std::ranges::find(places[0], unit) == places[0].end()) places[0].push_back(unit);
  nodes.bind = [binder, places = std::move(places)](std::size_t thread) {
    binder->bind_thread(places[thread]);
  };
  return nodes;
}

std::vector<WeightSize> sizes_to_place(const ModelConfig& config, const TransformerWeights& weights,
                                       const NumaUse& use) {
  std::vector<WeightSize> sizes = weight_sizes(config, weights);
  if (!use.has_resident_experts)
    for (WeightSize& size : sizes)
      if (size.expert >= 0) size.bytes = 0;
  return sizes;
}

}  // namespace

PlacedModel place_model(const Topology& topology, const std::shared_ptr<NumaBinder>& binder,
                        const NumaChoice& choice, std::size_t threads, const ModelConfig& config,
                        TransformerWeights& weights, const NumaUse& use) {
  if (choice.policy == NumaPolicy::off) return {std::make_unique<ThreadPool>(threads), std::nullopt};
  NumaPlan plan = plan_numa(topology, choice, threads,
                            {config, sizes_to_place(config, weights, use), use.cache_bytes, use.usage});
  if (!use.has_resident_experts)
    plan.warnings.emplace_back("routed experts are read from disk, into memory of all nodes by turns");
  const bool has_several = plan.machine_nodes > 1;
  std::vector<unsigned> nodes;
  for (const NumaShare& share : plan.nodes) nodes.push_back(share.node);
  // Before there are threads, which inherit it.
  if (has_several && !binder->spread_memory(nodes))
    plan.warnings.emplace_back(
        "the system forbids spreading memory over nodes: caches lie where they are written first");
  PlacedModel placed{std::make_unique<ThreadPool>(bound_threads(plan, binder)), std::nullopt};
  if (has_several) {
    WeightMover(*placed.pool, *binder, plan).run(moves_of(plan, config, weights, use.has_resident_experts));
    tie_head(config, weights);
  }
  placed.plan = std::move(plan);
  return placed;
}

PlacedModel place_model(const NumaChoice& choice, std::size_t threads, const ModelConfig& config,
                        TransformerWeights& weights, const NumaUse& use) {
  if (choice.policy == NumaPolicy::off) return {std::make_unique<ThreadPool>(threads), std::nullopt};
  return place_model(machine_topology(), machine_binder(), choice, threads, config, weights, use);
}

}  // namespace fathom
