#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "dist/communicator.h"

namespace fathom {

// Processes that `mpirun` started together. MPI itself is in a module of its own, libfathom_mpi.so, which is
// loaded by `join_mpi_job` alone: a process that works alone neither needs Open MPI nor pays for it.

/// This process among those of its job, as the launcher says: known without MPI.
struct LaunchedProcess {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  // among those on this machine
  int local_size = 1;
};
/// None where no launcher started this process, which then works alone.
std::optional<LaunchedProcess> launched_process();

/// How many threads this process should use where nobody says: the cores that `mpirun` bound it to, or its
/// share of the machine's.
std::size_t threads_of_launched_process(const LaunchedProcess& process);

struct MpiOptions {
  /// Longer ones go as several, as MPI counts in `int`.
  std::size_t longest_message = std::size_t{1} << 30U;
};

/// Joins the other processes of the job, once in the life of a process; the communicator is of all of them.
/// A thread of its own makes all calls of MPI, so that messages travel whatever the others do; it sleeps
/// while there is none under way. When the communicator goes, the process leaves the job and waits for the
/// others to.
/// Throws `Error` where MPI cannot be loaded or started.
std::unique_ptr<Communicator> join_mpi_job(const MpiOptions& options = {});

/// Ends all processes of the job, at once: of a process that cannot go on, since the others wait for it.
/// Before `join_mpi_job` it ends this process alone, upon which `mpirun` ends the others.
[[noreturn]] void end_mpi_job(int status);

}  // namespace fathom
