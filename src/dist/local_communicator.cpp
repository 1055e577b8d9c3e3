#include "dist/local_communicator.h"

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

/// A receive that was begun.
struct Reception {
  std::span<std::byte> bytes;
  std::optional<std::size_t> arrived = {};  // how long the message was
};

/// What the ranks of one communicator share.
class Mailboxes {
 public:
  explicit Mailboxes(int size) : size_(size), arrival_(static_cast<std::size_t>(size)) {}

  [[nodiscard]] int size() const { return size_; }

  void send(int from, int to, int tag, std::span<const std::byte> bytes) {
    const std::scoped_lock lock(mutex_);
    Box& box = boxes_[{from, to, tag}];
    if (box.awaited.empty()) {
      box.messages.emplace_back(bytes.begin(), bytes.end());
      return;
    }
    deliver(bytes, *box.awaited.front());
    box.awaited.pop_front();
    arrival_[static_cast<std::size_t>(to)].notify_all();
  }

  std::shared_ptr<Reception> receive(int from, int to, int tag, std::span<std::byte> bytes) {
    auto reception = std::make_shared<Reception>(Reception{bytes});
    const std::scoped_lock lock(mutex_);
    Box& box = boxes_[{from, to, tag}];
    if (box.messages.empty()) {
      box.awaited.push_back(reception);
    } else {
      deliver(box.messages.front(), *reception);
      box.messages.pop_front();
    }
    return reception;
  }

  [[nodiscard]] bool has_arrived(const Reception& reception) {
    const std::scoped_lock lock(mutex_);
    return reception.arrived.has_value();
  }
  std::size_t wait(const Reception& reception, int to) {
    std::unique_lock lock(mutex_);
    arrival_[static_cast<std::size_t>(to)].wait(lock, [&] { return reception.arrived.has_value(); });
    return *reception.arrived;
  }

  /// The mailboxes of the ranks of one color, once all ranks have asked; and the rank among them.
  std::pair<std::shared_ptr<Mailboxes>, int> split(int rank, int color, int key) {
    std::unique_lock lock(mutex_);
    const std::int64_t round = rounds_[rank]++;
    Split& split = splits_[round];  // a map's elements stay where they are
    split.members[color].emplace(key, rank);
    ++split.asked;
    all_asked_.notify_all();
    all_asked_.wait(lock, [&] { return split.asked == size_; });
    const std::set<std::pair<int, int>>& members = split.members[color];
    std::shared_ptr<Mailboxes>& boxes = split.groups[color];
    if (!boxes) boxes = std::make_shared<Mailboxes>(static_cast<int>(members.size()));
    const auto place = std::distance(members.begin(), members.find({key, rank}));
    std::pair mine(boxes, static_cast<int>(place));
    if (++split.answered == size_) splits_.erase(round);
    return mine;
  }

 private:
  /// Of one sender, receiver and tag; one of the two is empty.
  struct Box {
    std::deque<std::vector<std::byte>> messages;
    std::deque<std::shared_ptr<Reception>> awaited;
  };
  struct Split {
    int asked = 0;
    int answered = 0;
    std::map<int, std::set<std::pair<int, int>>> members;  // color -> (key, rank)
    std::map<int, std::shared_ptr<Mailboxes>> groups;
  };

  static void deliver(std::span<const std::byte> message, Reception& reception) {
    std::copy_n(message.begin(), std::min(message.size(), reception.bytes.size()), reception.bytes.begin());
    reception.arrived = message.size();
  }

  int size_;
  std::mutex mutex_;
  std::vector<std::condition_variable> arrival_;  // [receiver]: a message wakes no other rank
  std::condition_variable all_asked_;             // for a split
  std::map<std::tuple<int, int, int>, Box> boxes_;
  std::map<int, std::int64_t> rounds_;  // rank -> splits that it has asked for
  std::map<std::int64_t, Split> splits_;
};

class LocalReceive : public Transfer::Progress {
 public:
  LocalReceive(std::shared_ptr<Mailboxes> boxes, std::shared_ptr<Reception> reception, int from, int to)
      : boxes_(std::move(boxes)), reception_(std::move(reception)), from_(from), to_(to) {}

  [[nodiscard]] bool done() const override { return boxes_->has_arrived(*reception_); }
  void wait() override {
    const std::size_t sent = boxes_->wait(*reception_, to_);
    require(sent == reception_->bytes.size(), "rank {} receives {} bytes from rank {}, which sent {}", to_,
            reception_->bytes.size(), from_, sent);
  }

 private:
  std::shared_ptr<Mailboxes> boxes_;
  std::shared_ptr<Reception> reception_;
  int from_;
  int to_;
};

class LocalCommunicator : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Mailboxes> boxes, int rank, std::uint64_t node)
      : boxes_(std::move(boxes)), rank_(rank), node_(node) {}

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return boxes_->size(); }
  [[nodiscard]] std::uint64_t node() const override { return node_; }

  Transfer send(std::span<const std::byte> bytes, int to, int tag) override {
    boxes_->send(rank_, to, tag, bytes);
    return {};
  }
  Transfer receive(std::span<std::byte> bytes, int from, int tag) override {
    return Transfer(
        std::make_shared<LocalReceive>(boxes_, boxes_->receive(from, rank_, tag, bytes), from, rank_));
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    auto [boxes, rank] = boxes_->split(rank_, color, key);
    return std::make_unique<LocalCommunicator>(std::move(boxes), rank, node_);
  }

 private:
  std::shared_ptr<Mailboxes> boxes_;
  int rank_;
  std::uint64_t node_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> local_communicators(int size, int ranks_per_node) {
  const auto boxes = std::make_shared<Mailboxes>(size);
  std::vector<std::unique_ptr<Communicator>> ranks;
  ranks.reserve(static_cast<std::size_t>(size));
  for (int rank = 0; rank < size; ++rank)
    ranks.push_back(std::make_unique<LocalCommunicator>(
        boxes, rank, static_cast<std::uint64_t>(ranks_per_node > 0 ? rank / ranks_per_node : 0)));
  return ranks;
}

}  // namespace fathom
