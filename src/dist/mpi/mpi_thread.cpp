#include "dist/mpi/mpi_thread.h"

#include <exception>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

void fail_transfer(MpiTransfer& transfer, int code) {
  try {
    require_mpi(code, "a message");
  } catch (const Error& error) {
    transfer.fail_with(error.what());
  }
}

/// Of one piece that has come or gone.
void complete(MpiTransfer& transfer, int code, const MPI_Status& status, int expected) {
  if (code != MPI_SUCCESS) return fail_transfer(transfer, code);
  int got = 0;
  if (expected >= 0) MPI_Get_count(&status, MPI_BYTE, &got);
  if (expected >= 0 && got != expected)
    return transfer.fail_with(
        fmt::format("MPI: a message of {} bytes where one of {} was expected", got, expected));
  transfer.piece_done();
}

}  // namespace

void require_mpi(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail("MPI: {}: {}", what, std::string_view(text, static_cast<std::size_t>(length)));
}

void MpiTransfer::wait() {
  state_.wait(kUnderWay, std::memory_order_acquire);
  require(state_.load(std::memory_order_acquire) == kDone, "{}", error_);
}

void MpiTransfer::piece_done() {
  if (--left_ == 0 && !done()) finish(kDone);
}

void MpiTransfer::fail_with(std::string error) {
  if (done()) return;
  error_ = std::move(error);
  finish(kFailed);
}

void MpiTransfer::finish(int state) {
  state_.store(state, std::memory_order_release);
  state_.notify_all();
}

MpiThread::MpiThread() {
  std::promise<void> started;
  std::future<void> start = started.get_future();
  thread_ = std::thread([this, &started] { run(started); });
  try {
    start.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

MpiThread::~MpiThread() {
  post([this] { is_leaving_ = true; });
  thread_.join();
}

void MpiThread::post(std::function<void()> work) {
  {
    const std::scoped_lock lock(mutex_);
    posted_.push_back(std::move(work));
  }
  has_work_.notify_one();
}

void MpiThread::call(std::function<void()> work) {
  std::packaged_task<void()> task(std::move(work));
  std::future<void> done = task.get_future();
  post([&task] { task(); });
  done.get();
}

void MpiThread::add(const std::shared_ptr<MpiTransfer>& transfer, int code, MPI_Request request,
                    int expected) {
  if (code != MPI_SUCCESS) return fail_transfer(*transfer, code);
  requests_.push_back(request);
  pieces_.push_back({transfer, expected});
}

void MpiThread::run(std::promise<void>& started) {
  try {
    int provided = 0;
    // The thread that starts MPI is the one that may call it.
    require_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    require(provided >= MPI_THREAD_FUNNELED, "this build of MPI allows no threads: install another");
    require_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    started.set_value();
  } catch (...) {
    started.set_exception(std::current_exception());
    return;
  }
  while (!is_leaving_) {
    run_posted();
    polls_ = progress() ? 0 : std::min(polls_ + 1, kMostPolls - 1);
  }
  MPI_Finalize();
}

/// Waits for something to do where there is nothing.
void MpiThread::run_posted() {
  std::vector<std::function<void()>> work;
  {
    std::unique_lock lock(mutex_);
    const auto has_some = [this] { return !posted_.empty(); };
    if (requests_.empty()) {
      has_work_.wait(lock, has_some);
    } else if (polls_ >= kPollsBeforeNaps) {
      has_work_.wait_for(lock, next_nap(), has_some);
    }
    work.swap(posted_);
  }
  if (!work.empty()) polls_ = 0;
  for (const std::function<void()>& one : work) one();
}

/// Lets messages travel. Returns whether some have come or gone.
bool MpiThread::progress() {
  if (requests_.empty()) return false;
  completed_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count,
                                completed_.data(), statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
    fail_all(code);
    return true;
  }
  if (count <= 0) {
    std::this_thread::yield();
    return false;
  }
  for (int i = 0; i < count; ++i) {
    const MPI_Status& status = statuses_[static_cast<std::size_t>(i)];
    Piece& piece = pieces_[static_cast<std::size_t>(completed_[static_cast<std::size_t>(i)])];
    complete(*piece.transfer, code == MPI_SUCCESS ? MPI_SUCCESS : status.MPI_ERROR, status, piece.expected);
    piece.transfer.reset();
  }
  drop_completed();
  return true;
}

void MpiThread::drop_completed() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (!pieces_[i].transfer) continue;
    requests_[kept] = requests_[i];
    if (kept != i) pieces_[kept] = std::move(pieces_[i]);
    ++kept;
  }
  requests_.resize(kept);
  pieces_.resize(kept);
}

void MpiThread::fail_all(int code) {
  for (const Piece& piece : pieces_) fail_transfer(*piece.transfer, code);
  requests_.clear();
  pieces_.clear();
}

}  // namespace fathom
