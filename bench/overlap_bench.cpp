// How much of the time that tokens are on their way to experts and back is computed meanwhile: a pipeline of
// two places, each with its experts on two ranks, all of them threads of this process, with the training's
// own code. A message between ranks that share experts takes as long as a link of the given speed would take;
// a rank's messages go one behind another.
//
// usage: overlap_bench [MEGABYTES_PER_SECOND] [MICRO_BATCHES] [FOLDER FOR PICTURES]
// DualPipe's steps have pairs of passes that take turns where they wait; ZB1P's have none, and what it hides
// is what a MoE layer hides by itself, behind its shared experts. Messages are "under way" to a rank while
// any is, and "hidden" is the part of that time in which the rank computes; "steady" the same from a rank's
// first pair to its last, without the filling and emptying of the pipeline. The last line has DualPipe's
// pairs one pass behind the other.

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "base/turns.h"
#include "dist/collectives.h"
#include "dist/expert_exchange.h"
#include "dist/local_communicator.h"
#include "model/random_batch.h"
#include "overlap_timeline.h"
#include "train/model_pipeline.h"
#include "train/parallel_layout.h"

namespace {

using namespace fathom;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

double seconds(Clock::time_point at) {
  return Seconds(at.time_since_epoch()).count();
}

/// When a message was given to its link, and when it comes out: sent in front of it.
struct Stamp {
  Clock::time_point sent;
  Clock::time_point arrival;
};

/// A rank's link: delivers messages when they would have arrived, and keeps account.
class Link {
 public:
  explicit Link(double bytes_per_second)
      : bytes_per_second_(bytes_per_second), thread_([this] { deliver(); }) {}
  ~Link() {
    {
      const std::scoped_lock lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void send(Communicator& ranks, std::span<const std::byte> bytes, int to, int tag) {
    const Clock::time_point now = Clock::now();
    const std::scoped_lock lock(mutex_);
    const Clock::time_point begin = std::max(now, free_);
    free_ = begin + std::chrono::duration_cast<Clock::duration>(
                        Seconds(static_cast<double>(bytes.size()) / bytes_per_second_));
    messages_.push_back({seconds(now), seconds(free_)});
    const Stamp stamp{now, free_};
    Message message{free_, &ranks, std::vector<std::byte>(sizeof(Stamp) + bytes.size()), to, tag};
    std::memcpy(message.bytes.data(), &stamp, sizeof(Stamp));
    std::ranges::copy(bytes, message.bytes.begin() + sizeof(Stamp));
    queue_.push_back(std::move(message));
    changed_.notify_all();
  }
  /// A message has come by another's link.
  void has_come(const Stamp& stamp) {
    const std::scoped_lock lock(mutex_);
    incoming_.push_back({seconds(stamp.sent), seconds(stamp.arrival)});
  }
  /// Since the last call.
  RankTimeline take_account() {
    const std::scoped_lock lock(mutex_);
    return {{}, std::exchange(messages_, {}), std::exchange(incoming_, {}), {}};
  }

 private:
  struct Message {
    Clock::time_point arrival;
    Communicator* ranks;
    std::vector<std::byte> bytes;
    int to;
    int tag;
  };

  void deliver() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ended_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const Message message = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      std::this_thread::sleep_until(message.arrival);
      (void)message.ranks->send(message.bytes, message.to, message.tag);
      lock.lock();
    }
  }

  double bytes_per_second_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> queue_;
  Clock::time_point free_;
  std::vector<Span> messages_;
  std::vector<Span> incoming_;
  bool ended_ = false;
  std::thread thread_;  // last: it uses the others
};

/// A message that comes by a link.
class LinkedReceive : public Transfer::Progress {
 public:
  LinkedReceive(Communicator& ranks, std::span<std::byte> bytes, int from, int tag, Link& link)
      : bytes_(bytes),
        stamped_(sizeof(Stamp) + bytes.size()),
        inner_(ranks.receive(stamped_, from, tag)),
        link_(link) {}
  [[nodiscard]] bool done() const override { return inner_.done(); }
  void wait() override {
    inner_.wait();
    Stamp stamp;
    std::memcpy(&stamp, stamped_.data(), sizeof(Stamp));
    link_.has_come(stamp);
    std::copy(stamped_.begin() + sizeof(Stamp), stamped_.end(), bytes_.begin());
  }

 private:
  std::span<std::byte> bytes_;
  std::vector<std::byte> stamped_;
  Transfer inner_;
  Link& link_;
};

/// Ranks joined by links.
class LinkedCommunicator : public Communicator {
 public:
  LinkedCommunicator(std::unique_ptr<Communicator> inner, Link& link)
      : inner_(std::move(inner)), link_(link) {}

  [[nodiscard]] int rank() const override { return inner_->rank(); }
  [[nodiscard]] int size() const override { return inner_->size(); }
  [[nodiscard]] std::uint64_t node() const override { return inner_->node(); }
  Transfer send(std::span<const std::byte> bytes, int to, int tag) override {
    link_.send(*inner_, bytes, to, tag);
    return {};
  }
  Transfer receive(std::span<std::byte> bytes, int from, int tag) override {
    return Transfer(std::make_shared<LinkedReceive>(*inner_, bytes, from, tag, link_));
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<LinkedCommunicator>(inner_->split(color, key), link_);
  }

 private:
  std::unique_ptr<Communicator> inner_;
  Link& link_;
};

ModelConfig make_model() {
  ModelConfig config;
  config.vocab_size = 1024;
  config.hidden_size = 256;
  config.intermediate_size = 512;
  config.moe_intermediate_size = 192;
  config.num_hidden_layers = 4;
  config.num_attention_heads = 4;
  config.max_position_embeddings = 512;
  config.q_lora_rank = 128;
  config.kv_lora_rank = 96;
  config.qk_nope_head_dim = 48;
  config.qk_rope_head_dim = 16;
  config.v_head_dim = 48;
  config.first_k_dense_replace = 0;
  config.n_routed_experts = 16;
  config.n_shared_experts = 1;
  config.num_experts_per_tok = 4;
  config.n_group = 1;
  config.topk_group = 1;
  config.norm_topk_prob = true;
  config.scoring_func = ScoringFunc::sigmoid;
  config.topk_method = TopkMethod::noaux_tc;
  config.initializer_range = 0.02;
  return config;
}

struct StepTimes {
  double step = 0;
  std::vector<RankTimeline> ranks;

  /// Over all ranks, in the whole step or in the steady phase.
  [[nodiscard]] double under_way(bool steady) const {
    return sum(steady, [](const RankTimeline& rank) { return joined_spans(rank.incoming); });
  }
  [[nodiscard]] double stalled(bool steady) const {
    return sum(steady, [](const RankTimeline& rank) { return rank.stalls; });
  }

 private:
  template <typename Spans>
  [[nodiscard]] double sum(bool steady, const Spans& spans_of) const {
    double time = 0;
    for (const RankTimeline& rank : ranks)
      time += time_within(steady ? steady_phase(rank) : std::vector<Span>{{0, 1e300}}, spans_of(rank));
    return time;
  }
};

StepTimes measure(const ModelConfig& config, PipelineKind kind, bool overlap, std::int64_t micro_batches,
                  double bytes_per_second) {
  constexpr int kRanks = 4;
  constexpr std::int64_t kTokens = 512;
  const ParallelLayout layout = make_layout(kRanks, {.pipeline = 2, .schedule = kind, .experts = 2}, config);
  const PipelineShape shape = pipeline_shape(layout.options, micro_batches);
  const std::vector<std::unique_ptr<Communicator>> world = local_communicators(kRanks);
  StepTimes times;
  times.ranks.resize(kRanks);
  std::vector<std::thread> threads;
  threads.reserve(kRanks);
  for (int rank = 0; rank < kRanks; ++rank)
    threads.emplace_back([&, rank] {
      const auto at = static_cast<std::size_t>(rank);
      Communicator& ranks = *world[at];
      auto link = std::make_unique<Link>(bytes_per_second);
      ThreadPool pool(1);
      const std::unique_ptr<Communicator> pipeline = ranks.split(layout.replica_of(rank), rank);
      LinkedCommunicator group(ranks.split(layout.place_of(rank), rank), *link);
      ExpertExchange experts(group, config.n_routed_experts, 1);
      const Context context{pool, Precision::f32, &experts};
      const RowsKept kept = rows_on(layout, config, rank);
      const TransformerWeights weights = random_weights(config, 1, nullptr, kept);
      TransformerWeights grads = zero_weights(config, nullptr, DType::f32, kept);
      std::vector<Batch> batches;
      batches.reserve(static_cast<std::size_t>(shape.micro_batches));
      for (auto seed = static_cast<std::uint64_t>(layout.replica_of(rank));
           batches.size() < static_cast<std::size_t>(shape.micro_batches); seed += 2)
        batches.push_back(random_batch(config, 1, kTokens, seed));
      const ModelPipeline model(config, weights, kTokens, make_schedule(shape), *pipeline, overlap);
      for (int step = 0; step < 2; ++step) {  // the first one warms up
        barrier(ranks);
        (void)link->take_account();
        std::vector<Turns::Idle> idle;
        Turns::note_idle(&idle);
        const Clock::time_point begin = Clock::now();
        std::vector<TimedAction> actions;
        (void)model.run(context, batches, LossFactors{},
                        std::vector(batches.size(), 1.0 / static_cast<double>(batches.size())), grads, {},
                        &actions);
        Turns::note_idle(nullptr);
        barrier(ranks);
        RankTimeline& timeline = times.ranks[at];
        timeline = link->take_account();
        timeline.actions = std::move(actions);
        // As long as nothing is under way to it, a rank that waits does so for its peers and not for the
        // link.
        std::vector<Span> waits;
        waits.reserve(idle.size());
        for (const Turns::Idle& span : idle) waits.push_back({span.begin, span.end});
        timeline.stalls = common_spans(waits, joined_spans(timeline.incoming));
        if (rank == 0) times.step = Seconds(Clock::now() - begin).count();
      }
      link.reset();  // before what it sends through
    });
  for (std::thread& thread : threads) thread.join();
  return times;
}

std::string hidden_text(const StepTimes& times, bool steady) {
  const double under_way = times.under_way(steady);
  if (under_way == 0) return "-";
  return fmt::format("{:.1f} %", 100 * (1 - times.stalled(steady) / under_way));
}

void run(double megabytes_per_second, std::int64_t micro_batches, const std::string& folder) {
  const ModelConfig config = make_model();
  fmt::print("links of {:.0f} MB/s, {} micro-batches of 512 tokens\n\n", megabytes_per_second, micro_batches);
  fmt::print("  {:<22} {:>9} {:>11} {:>12} {:>8} {:>8}\n", "schedule", "step", "under way", "stood still",
             "hidden", "steady");
  struct Case {
    PipelineKind kind;
    bool overlap;
    std::string name;
  };
  for (const Case& one : {Case{PipelineKind::zb1p, true, "ZB1P"},
                          {PipelineKind::dualpipe, true, "DualPipe"},
                          {PipelineKind::dualpipe, false, "DualPipe, no overlap"}}) {
    const StepTimes times = measure(config, one.kind, one.overlap, micro_batches, megabytes_per_second * 1e6);
    fmt::print("  {:<22} {:>7.2f} s {:>9.2f} s {:>10.2f} s {:>8} {:>8}\n", one.name, times.step,
               times.under_way(false), times.stalled(false), hidden_text(times, false),
               hidden_text(times, true));
    (void)std::fflush(stdout);
    if (!folder.empty())
      write_file_atomically(folder + "/" + one.name + ".svg", timeline_svg(one.name, times.ranks));
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const double speed = argc > 1 ? std::strtod(argv[1], nullptr) : 100;
    const long micro_batches = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 16;
    fathom::require(speed > 0 && micro_batches > 0,
                    "usage: overlap_bench [MEGABYTES_PER_SECOND] [MICRO_BATCHES] [FOLDER FOR PICTURES]");
    run(speed, micro_batches, argc > 3 ? argv[3] : "");
  } catch (const fathom::Error& error) {
    fmt::print(stderr, "overlap_bench: {}\n", error.what());
    return 1;
  }
}
