#include "io/uring_backend.h"

#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <poll.h>
#include <cerrno>
#include <optional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "io/pread_backend.h"

namespace fathom {
namespace {

class UringBackend final : public AsyncReader::Backend {
 public:
  /// @param ring  initialised, and this object's from now on
  UringBackend(const DirectFile& file, ReadQueue& queue, std::size_t most_pieces, const io_uring& ring,
               int event)
      : file_(file), queue_(queue), flights_(most_pieces), ring_(ring), event_(event), thread_([this] {
          work();
        }) {}
  ~UringBackend() override {
    thread_.join();
    io_uring_queue_exit(&ring_);
    close(event_);
  }
  UringBackend(const UringBackend&) = delete;
  UringBackend& operator=(const UringBackend&) = delete;

  void wake() override {
    const std::uint64_t one = 1;
    // It fails only where the counter is full: then the thread wakes anyhow.
    [[maybe_unused]] const ssize_t written = ::write(event_, &one, sizeof(one));
  }

 private:
  /// A piece that the system is reading.
  struct Flight {
    std::optional<ReadQueue::Piece> piece;
    std::size_t done = 0;  // bytes
  };
  static constexpr std::uint64_t kWoken = ~std::uint64_t{0};

  void work() {
    watch_event();
    while (true) {
      for (std::size_t i = 0; i < flights_.size(); ++i) {
        if (flights_[i].piece) continue;
        flights_[i] = {queue_.try_take(), 0};
        if (!flights_[i].piece) break;
        ++under_way_;
        submit(i);
      }
      if (under_way_ == 0 && queue_.is_closed()) return;
      const int submitted = io_uring_submit_and_wait(&ring_, 1);
      require(submitted >= 0 || submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY,
              "io_uring has failed: {}", errno_text(-submitted));
      io_uring_cqe* completion = nullptr;
      while (io_uring_peek_cqe(&ring_, &completion) == 0) {
        const std::uint64_t flight = completion->user_data;
        const int result = completion->res;
        io_uring_cqe_seen(&ring_, completion);
        if (flight == kWoken) {
          watch_event();
        } else {
          complete(static_cast<std::size_t>(flight), result);
        }
      }
    }
  }

  io_uring_sqe* entry(std::uint64_t user_data) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);  // there is one for each flight, and one for the event
    require(sqe != nullptr, "io_uring has no room for a read");
    sqe->user_data = user_data;
    return sqe;
  }

  /// Has a completion come when `event_` is raised.
  void watch_event() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(event_, &count, sizeof(count));  // does not block
    io_uring_sqe* sqe = entry(kWoken);
    io_uring_prep_poll_add(sqe, event_, POLLIN);
    sqe->user_data = kWoken;  // preparing clears it
  }

  void submit(std::size_t index) {
    const Flight& flight = flights_[index];
    io_uring_sqe* sqe = entry(index);
    io_uring_prep_read(sqe, file_.descriptor(), flight.piece->into.data() + flight.done,
                       static_cast<unsigned>(flight.piece->into.size() - flight.done),
                       flight.piece->offset + flight.done);
    sqe->user_data = index;
  }

  /// @param result  bytes that were read, or a negative error number
  void complete(std::size_t index, int result) {
    Flight& flight = flights_[index];
    const bool again = result == -EINTR || result == -EAGAIN;
    if (result > 0) flight.done += static_cast<std::size_t>(result);
    if (again || (result > 0 && flight.done < flight.piece->into.size())) return submit(index);
    const std::exception_ptr error =
        result > 0 ? nullptr : read_error(file_, flight.piece->offset + flight.done, -result);
    const ReadQueue::Piece piece = *flight.piece;
    flight.piece.reset();
    --under_way_;
    queue_.finish(piece, error);
  }

  const DirectFile& file_;
  ReadQueue& queue_;
  std::vector<Flight> flights_;
  std::size_t under_way_ = 0;
  io_uring ring_;
  int event_;
  std::thread thread_;  // last: it uses the others
};

}  // namespace

std::unique_ptr<AsyncReader::Backend> start_uring_backend(const DirectFile& file, ReadQueue& queue,
                                                          std::size_t most_pieces, std::string& why) {
  io_uring ring{};
  if (const int error = io_uring_queue_init(static_cast<unsigned>(most_pieces + 1), &ring, 0); error < 0) {
    why = errno_text(-error);
    return nullptr;
  }
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  const bool can_read = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_READ) != 0;
  if (probe != nullptr) io_uring_free_probe(probe);
  const int event = can_read ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
  if (event < 0) {
    why = can_read ? errno_text(errno) : "the kernel is too old";
    io_uring_queue_exit(&ring);
    return nullptr;
  }
  return std::make_unique<UringBackend>(file, queue, most_pieces, ring, event);
}

}  // namespace fathom
