#include "cli/job.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "dist/collectives.h"
#include "dist/local_communicator.h"
#include "dist/mpi_job.h"

namespace fathom::cli {
namespace {

/// What started this process together with others; none where it works alone.
std::optional<LaunchedProcess> job_of_several() {
  const std::optional<LaunchedProcess> process = launched_process();
  return process && process->size > 1 ? process : std::nullopt;
}

[[noreturn]] void end_with(const std::exception& error, int status, int rank) {
  if (rank == 0) {
    fmt::print(stderr, "fathom: {}\n", error.what());
  } else {
    // If the first one meets the same, its end is this one's, too.
    std::this_thread::sleep_for(std::chrono::seconds(2));
    fmt::print(stderr, "fathom: process {}: {}\n", rank, error.what());
  }
  std::fflush(nullptr);
  end_mpi_job(status);
}

/// A process, as others of its job know it.
struct Place {
  pid_t pid = 0;
  std::array<char, 64> host = {};
};

Place own_place() {
  Place place;
  place.pid = getpid();
  gethostname(place.host.data(), place.host.size() - 1);
  return place;
}

/// Whether a process of this machine is there no more; of another machine nobody knows.
bool is_gone(const Place& place) {
  return place.host == own_place().host && kill(place.pid, 0) != 0 && errno == ESRCH;
}

void say_where_to_go_on(const std::string& run) {
  std::error_code none;
  const std::filesystem::path latest =
      std::filesystem::canonical(std::filesystem::path(run) / "latest", none);
  fmt::print(
      stderr, "fathom: told to end, as all processes are when one of them dies (mpirun says which): {}\n",
      none ? std::string("there is no checkpoint yet")
           : fmt::format("the last checkpoint is {}: go on from there with --resume", latest.string()));
}

}  // namespace

void run_in_job(const std::function<void(Communicator& ranks)>& body) {
  if (!job_of_several()) return body(*single_communicator());
  const std::unique_ptr<Communicator> ranks = join_mpi_job();
  if (ranks->rank() > 0) silence_log();
  try {
    body(*ranks);
  } catch (const UsageError& error) {
    end_with(error, 2, ranks->rank());
  } catch (const std::exception& error) {
    end_with(error, 1, ranks->rank());
  }
}

std::size_t default_threads() {
  const std::optional<LaunchedProcess> process = job_of_several();
  return process ? threads_of_launched_process(*process) : 0;
}

EndWatch::EndWatch(Communicator& ranks, const InterruptFlag& interrupted, std::string run)
    : run_(std::move(run)) {
  if (ranks.size() == 1) return;
  const std::vector<Place> places = all_gather_values(ranks, own_place());
  const std::vector<Place> before(places.begin(), places.begin() + ranks.rank());
  thread_ = std::thread([this, &interrupted, before] {
    watch(interrupted, [&] { return std::ranges::all_of(before, is_gone); });
  });
}

EndWatch::~EndWatch() {
  {
    const std::scoped_lock lock(mutex_);
    is_over_ = true;
  }
  ended_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void EndWatch::watch(const InterruptFlag& interrupted, const std::function<bool()>& is_ours_to_say) {
  constexpr std::chrono::milliseconds kInterval{50};
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, kInterval, [this] { return is_over_; })) {
    if (interrupted.signal() != SIGTERM) continue;
    if (is_ours_to_say()) say_where_to_go_on(run_);
    return;
  }
}

}  // namespace fathom::cli
