#pragma once

#include <functional>

#include "dist/communicator.h"

namespace fathom::test {

/// Calls `body` once for each of so many ranks, each on a thread of its own and with a communicator of its
/// own, and returns when all have returned; the exception of the lowest rank that threw is thrown. A rank
/// that others wait for must not throw: they would wait forever.
/// @param ranks_per_node  see `local_communicators`
void on_ranks(int count, const std::function<void(Communicator& ranks)>& body, int ranks_per_node = 0);

}  // namespace fathom::test
