#include "io/read_queue.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/progress.h"

namespace fathom {

struct ReadQueue::Job {
  Ticket ticket;
  std::uint64_t offset;
  std::span<std::byte> into;
  ReadUrgency urgency;
  Done done;
  std::size_t begun = 0;      // bytes
  std::size_t under_way = 0;  // pieces
  std::exception_ptr error = {};

  [[nodiscard]] bool is_all_begun() const { return begun == into.size(); }
};

std::deque<std::shared_ptr<ReadQueue::Job>>& ReadQueue::queue_of(const Job& job) {
  return job.urgency == ReadUrgency::now ? urgent_ : others_;
}

void ReadQueue::remove_locked(const std::shared_ptr<Job>& job) {
  std::erase(queue_of(*job), job);
}

ReadQueue::Ticket ReadQueue::add(std::uint64_t offset, std::span<std::byte> into, ReadUrgency urgency,
                                 Done done) {
  require(!into.empty(), "a read of nothing");
  Ticket ticket = 0;
  {
    const std::scoped_lock lock(mutex_);
    require(!is_closed_, "reading has ended");
    ticket = next_ticket_++;
    auto job = std::make_shared<Job>(Job{ticket, offset, into, urgency, std::move(done)});
    queue_of(*job).push_back(std::move(job));
  }
  may_take_.notify_all();
  return ticket;
}

void ReadQueue::hurry(Ticket ticket) {
  {
    const std::scoped_lock lock(mutex_);
    const auto found = std::ranges::find(others_, ticket, [](const auto& job) { return job->ticket; });
    if (found == others_.end()) return;
    const std::shared_ptr<Job> job = *found;
    others_.erase(found);
    job->urgency = ReadUrgency::now;
    urgent_.push_back(job);
  }
  may_take_.notify_all();
}

bool ReadQueue::cancel(Ticket ticket) {
  const std::scoped_lock lock(mutex_);
  for (auto* queue : {&others_, &urgent_}) {
    const auto found = std::ranges::find(*queue, ticket, [](const auto& job) { return job->ticket; });
    if (found == queue->end()) continue;
    const std::shared_ptr<Job> job = *found;
    queue->erase(found);
    if (job->under_way == 0) return true;
    job->error = std::make_exception_ptr(Error("the read was cancelled"));
    return false;
  }
  return false;
}

std::optional<ReadQueue::Piece> ReadQueue::take_locked() {
  // A quarter for what nobody waits for: it keeps a disk busy, and an urgent read waits for few of them.
  const std::size_t most_others = std::max<std::size_t>(1, most_ / 4);
  const bool takes_other = urgent_.empty() && under_way_ < most_others;
  if (is_closed_ || under_way_ >= most_ || (urgent_.empty() && (others_.empty() || !takes_other)))
    return std::nullopt;
  const std::shared_ptr<Job> job = urgent_.empty() ? others_.front() : urgent_.front();
  const std::size_t bytes = std::min(kPieceBytes, job->into.size() - job->begun);
  Piece piece{job, job->offset + job->begun, job->into.subspan(job->begun, bytes)};
  job->begun += bytes;
  ++job->under_way;
  if (job->is_all_begun()) remove_locked(job);
  if (under_way_++ == 0) busy_since_ = monotonic_seconds();
  return piece;
}

std::optional<ReadQueue::Piece> ReadQueue::try_take() {
  const std::scoped_lock lock(mutex_);
  return take_locked();
}

std::optional<ReadQueue::Piece> ReadQueue::take() {
  std::unique_lock lock(mutex_);
  std::optional<Piece> piece;
  may_take_.wait(lock, [&] { return (piece = take_locked()).has_value() || is_closed_; });
  return piece;
}

void ReadQueue::finish(const Piece& piece, const std::exception_ptr& error) {
  Job& job = *piece.job;
  bool is_last = false;
  {
    const std::scoped_lock lock(mutex_);
    if (--under_way_ == 0) busy_seconds_ += monotonic_seconds() - busy_since_;
    --job.under_way;
    if (error == nullptr) bytes_read_ += piece.into.size();
    if (error != nullptr && job.error == nullptr) {
      job.error = error;
      remove_locked(piece.job);
    }
    is_last = job.under_way == 0 && (job.is_all_begun() || job.error != nullptr);
  }
  may_take_.notify_all();
  if (is_last) job.done(job.error);
}

void ReadQueue::close() {
  {
    const std::scoped_lock lock(mutex_);
    is_closed_ = true;
    urgent_.clear();
    others_.clear();
  }
  may_take_.notify_all();
}

bool ReadQueue::is_closed() const {
  const std::scoped_lock lock(mutex_);
  return is_closed_;
}

std::uint64_t ReadQueue::bytes_read() const {
  const std::scoped_lock lock(mutex_);
  return bytes_read_;
}

double ReadQueue::busy_seconds() const {
  const std::scoped_lock lock(mutex_);
  return busy_seconds_ + (under_way_ > 0 ? monotonic_seconds() - busy_since_ : 0.0);
}

}  // namespace fathom
