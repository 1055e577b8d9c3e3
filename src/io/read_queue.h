#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

namespace fathom {

/// Whether somebody waits for what is read, or may want it later.
enum class ReadUrgency : std::uint8_t { now, later };

/// Reads that wait, cut into pieces that are handed to whoever does them: urgent ones first, others in the
/// order in which they came, and of those no more than a few at a time, so that an urgent one never waits for
/// long. Thread-safe.
class ReadQueue {
 public:
  using Ticket = std::uint64_t;
  /// Called once, from the thread that did the last piece; null: all was read.
  using Done = std::function<void(std::exception_ptr)>;

  /// Bytes that are read at a time.
  static constexpr std::size_t kPieceBytes = std::size_t{1} << 20U;

  struct Job;
  /// A part of a read that somebody does.
  struct Piece {
    std::shared_ptr<Job> job;
    std::uint64_t offset = 0;
    std::span<std::byte> into;
  };

  /// @param most_pieces  that are done at the same time
  explicit ReadQueue(std::size_t most_pieces) : most_(most_pieces) {}

  Ticket add(std::uint64_t offset, std::span<std::byte> into, ReadUrgency urgency, Done done);
  /// Somebody waits for it now.
  void hurry(Ticket ticket);
  /// Begins no more pieces of a read. @return whether none was under way: then `done` is not called; else it
  /// is, with an error, when those end
  bool cancel(Ticket ticket);

  /// The next piece, where there is one that may begin.
  std::optional<Piece> try_take();
  /// The same, and waits for one; nothing when the queue is closed.
  std::optional<Piece> take();
  /// @param error  why the piece was not read; null: it was
  void finish(const Piece& piece, const std::exception_ptr& error);
  /// Nothing is handed out any more, and what waits is dropped.
  void close();
  [[nodiscard]] bool is_closed() const;

  [[nodiscard]] std::uint64_t bytes_read() const;
  /// Seconds in which something was being read.
  [[nodiscard]] double busy_seconds() const;

 private:
  std::optional<Piece> take_locked();
  std::deque<std::shared_ptr<Job>>& queue_of(const Job& job);
  void remove_locked(const std::shared_ptr<Job>& job);

  const std::size_t most_;
  mutable std::mutex mutex_;
  std::condition_variable may_take_;
  // Guarded by it.
  std::deque<std::shared_ptr<Job>> urgent_;  // of which pieces are still to begin
  std::deque<std::shared_ptr<Job>> others_;
  Ticket next_ticket_ = 1;
  std::size_t under_way_ = 0;  // pieces
  bool is_closed_ = false;
  std::uint64_t bytes_read_ = 0;
  double busy_seconds_ = 0;
  double busy_since_ = 0;
};

}  // namespace fathom
