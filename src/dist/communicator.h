#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace fathom {

/// A message under way. Dropping one that is not done is an error of the program: its memory is still in use.
class Transfer {
 public:
  /// What a transport knows of it.
  class Progress {
   public:
    virtual ~Progress() = default;
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    [[nodiscard]] virtual bool done() const = 0;
    /// Returns when the message has gone or come. Throws `Error` when it cannot.
    virtual void wait() = 0;

   protected:
    Progress() = default;
  };

  /// Nothing to wait for.
  Transfer() = default;
  explicit Transfer(std::shared_ptr<Progress> progress) : progress_(std::move(progress)) {}

  [[nodiscard]] bool done() const { return !progress_ || progress_->done(); }
  void wait() const {
    if (progress_) progress_->wait();
  }

 private:
  std::shared_ptr<Progress> progress_;
};

/// The seam between what is computed on several processes and what carries their messages: MPI
/// (dist/mpi_job.h), or memory between threads of one process (dist/local_communicator.h). A transport has to
/// send and receive, no more: dist/collectives.h makes everything else of that, the same for all.
///
/// Messages travel while the processes compute. Between two ranks and under one tag they arrive in the order
/// in which they were sent, and a message must be received in exactly the length it was sent in. A send may
/// wait until the other side receives; so a rank that sends and receives begins both before it waits.
///
/// Every function may be called from any thread, but what must be called by all ranks in one order (`split`,
/// collectives) from one.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;

  /// The machine that the rank is on: ranks of one can exchange messages without a network.
  [[nodiscard]] virtual std::uint64_t node() const = 0;

  /// Tags are below this.
  static constexpr int kTags = 1 << 20;

  /// Begins to send; the bytes must stay as they are until it is done.
  virtual Transfer send(std::span<const std::byte> bytes, int to, int tag) = 0;
  /// Begins to receive; the bytes are undefined until it is done.
  virtual Transfer receive(std::span<std::byte> bytes, int from, int tag) = 0;

  /// Called by all ranks: those that give the same color make a communicator of their own, ordered by `key`,
  /// then by their rank here.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

 protected:
  Communicator() = default;
};

}  // namespace fathom
