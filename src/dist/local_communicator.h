#pragma once

#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace fathom {

/// Ranks within this process, each for a thread of its own: messages are copies in memory. A send is done at
/// once. With one rank it is the communicator of a process that works alone, and costs nothing.
/// @param ranks_per_node  so many that follow one another pretend to be on one machine; 0: all
std::vector<std::unique_ptr<Communicator>> local_communicators(int size, int ranks_per_node = 0);

/// The one of a process that works alone.
inline std::unique_ptr<Communicator> single_communicator() {
  return std::move(local_communicators(1).front());
}

}  // namespace fathom
