#pragma once

#include "dist/mpi_job.h"

namespace fathom {

/// What dist/mpi_job.h finds in the module, by name.
struct MpiModule {
  using Join = Communicator*(const MpiOptions& options);
  using End = void(int status);
  static constexpr const char* kJoin = "fathom_mpi_join";
  static constexpr const char* kEnd = "fathom_mpi_end";
};

}  // namespace fathom
