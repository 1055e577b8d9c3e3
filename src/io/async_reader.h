#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "io/direct_file.h"
#include "io/read_queue.h"

namespace fathom {

/// How an `AsyncReader` reads.
enum class ReadMethod : std::uint8_t {
  best,     // io_uring; threads where the system has none or forbids it, as containers often do
  threads,  // that call pread
};

/// Reads a file in the background, many pieces at a time, past the page cache where the file system can.
/// Thread-safe.
class AsyncReader {
 public:
  using Ticket = ReadQueue::Ticket;
  using Done = ReadQueue::Done;

  /// Throws `Error` when the file cannot be opened.
  explicit AsyncReader(const std::filesystem::path& path, ReadMethod method = ReadMethod::best);
  /// Waits for pieces under way. Reads that are not finished by then are dropped: `done` is not called.
  ~AsyncReader();
  AsyncReader(const AsyncReader&) = delete;
  AsyncReader& operator=(const AsyncReader&) = delete;

  /// Reads `into.size()` bytes. Place, length and memory are multiples of `DirectFile::kDirectAlignment`.
  /// @param done  called once, from a thread of the reader: must be quick, may call the reader, must not
  /// throw.
  ///              The error names the file, the place and the system's reason, or says that the file ends
  Ticket read(std::uint64_t offset, std::span<std::byte> into, ReadUrgency urgency, Done done);
  /// Somebody waits for it now.
  void hurry(Ticket ticket) {
    queue_.hurry(ticket);
    wake();
  }
  /// See `ReadQueue::cancel`.
  bool cancel(Ticket ticket) { return queue_.cancel(ticket); }

  [[nodiscard]] std::uint64_t bytes_read() const { return queue_.bytes_read(); }
  /// Seconds in which something was being read.
  [[nodiscard]] double busy_seconds() const { return queue_.busy_seconds(); }
  /// For people: "io_uring, direct"; or "8 threads, page cache (io_uring: Operation not permitted)".
  [[nodiscard]] const std::string& description() const { return description_; }

  /// Who does the reading.
  class Backend {
   public:
    Backend() = default;
    virtual ~Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    /// There is something in the queue, or it has been closed.
    virtual void wake() = 0;
  };

 private:
  void wake() { backend_->wake(); }

  DirectFile file_;
  ReadQueue queue_;
  std::string description_;
  std::unique_ptr<Backend> backend_;  // last: ends before the queue
};

}  // namespace fathom
