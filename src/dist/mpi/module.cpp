// What the module libfathom_mpi.so offers (dist/mpi_job.h).

#include "dist/mpi/module.h"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>

#include "base/error.h"
#include "dist/mpi/mpi_thread.h"

namespace fathom {
namespace {

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(std::shared_ptr<MpiThread> thread, MPI_Comm comm, std::uint64_t node,
                  std::size_t longest_message)
      : thread_(std::move(thread)), comm_(comm), node_(node), longest_message_(longest_message) {
    thread_->call([this] {
      require_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
      require_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
    });
  }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::uint64_t node() const override { return node_; }

  Transfer send(std::span<const std::byte> bytes, int to, int tag) override {
    return in_pieces(
        bytes.size(), [=, this](const std::shared_ptr<MpiTransfer>& transfer, std::size_t at, int count) {
          MPI_Request request = MPI_REQUEST_NULL;
          const int code = MPI_Isend(bytes.data() + at, count, MPI_BYTE, to, tag, comm_, &request);
          // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): the thread looks after it
          thread_->add(transfer, code, request, -1);
        });
  }
  Transfer receive(std::span<std::byte> bytes, int from, int tag) override {
    return in_pieces(
        bytes.size(), [=, this](const std::shared_ptr<MpiTransfer>& transfer, std::size_t at, int count) {
          MPI_Request request = MPI_REQUEST_NULL;
          const int code = MPI_Irecv(bytes.data() + at, count, MPI_BYTE, from, tag, comm_, &request);
          // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): as above
          thread_->add(transfer, code, request, count);
        });
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    MPI_Comm part = MPI_COMM_NULL;
    thread_->call([&] {
      require_mpi(MPI_Comm_split(comm_, color, key, &part), "MPI_Comm_split");
      require_mpi(MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    });
    return std::make_unique<MpiCommunicator>(thread_, part, node_, longest_message_);
  }

 private:
  /// Has the thread begin a message piece by piece; MPI keeps pieces in their order.
  /// @param begin  begins the bytes [at, at + count)
  template <typename Begin>
  Transfer in_pieces(std::size_t bytes, const Begin& begin) {
    auto transfer = std::make_shared<MpiTransfer>();
    thread_->post([=, longest = longest_message_] {
      transfer->expect(std::max<std::size_t>(1, (bytes + longest - 1) / longest));
      std::size_t at = 0;
      do {
        const std::size_t count = std::min(longest, bytes - at);
        begin(transfer, at, static_cast<int>(count));
        at += count;
      } while (at < bytes);
    });
    return Transfer(std::move(transfer));
  }

  std::shared_ptr<MpiThread> thread_;
  MPI_Comm comm_;
  std::uint64_t node_;
  std::size_t longest_message_;
  int rank_ = 0;
  int size_ = 1;
};

/// The lowest rank of the job among those that can share memory with this one.
std::uint64_t node_of_process(MpiThread& thread) {
  int first = 0;
  thread.call([&] {
    MPI_Comm node = MPI_COMM_NULL;
    int rank = 0;
    require_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
    require_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node),
                "MPI_Comm_split_type");
    require_mpi(MPI_Allreduce(&rank, &first, 1, MPI_INT, MPI_MIN, node), "MPI_Allreduce");
    require_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  });
  return static_cast<std::uint64_t>(first);
}

/// That of the process, while it is in the job.
std::weak_ptr<MpiThread> job_thread;  // NOLINT(cert-err58-cpp): its constructor does not throw

}  // namespace
}  // namespace fathom

extern "C" {

fathom::Communicator* fathom_mpi_join(const fathom::MpiOptions& options) {
  auto thread = std::make_shared<fathom::MpiThread>();
  fathom::job_thread = thread;
  const std::uint64_t node = fathom::node_of_process(*thread);
  return new fathom::MpiCommunicator(std::move(thread), MPI_COMM_WORLD, node, options.longest_message);
}

void fathom_mpi_end(int status) {
  if (const std::shared_ptr<fathom::MpiThread> thread = fathom::job_thread.lock()) {
    thread->post([status] { MPI_Abort(MPI_COMM_WORLD, status); });
    for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  std::_Exit(status);
}

}  // extern "C"
