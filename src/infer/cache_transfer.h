#pragma once

#include <cstdint>

#include "dist/collectives.h"
#include "dist/communicator.h"
#include "model/latent_cache.h"
#include "tensor/tensor.h"

namespace fathom {

// The way of a sequence from the rank that has read its prompt to the one that goes on: the pages of
// its latent cache that hold tokens, all layers together, and the last token's hidden state, from which the
// other rank chooses the next one. No waiting: cache and state must stay where they are until the transfers
// are done.

/// @param hidden  [hidden], after the final norm
Transfers send_cache(Communicator& ranks, LatentCache& cache, const Tensor& hidden, int to, int tag);

/// Takes room for `length` positions. The cache's length is that at once; its rows are there when the
/// transfers are done.
Transfers receive_cache(Communicator& ranks, LatentCache& cache, std::int64_t length, Tensor& hidden,
                        int from, int tag);

}  // namespace fathom
