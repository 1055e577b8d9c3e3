#include "infer/cache_transfer.h"

namespace fathom {

Transfers send_cache(Communicator& ranks, LatentCache& cache, const Tensor& hidden, int to, int tag) {
  Transfers transfers;
  for (LatentCacheLayer& layer : cache.layers)
    transfers.add(ranks.send(layer.rows.rows(0, layer.length).bytes(), to, tag));
  transfers.add(ranks.send(hidden.bytes(), to, tag));
  return transfers;
}

Transfers receive_cache(Communicator& ranks, LatentCache& cache, std::int64_t length, Tensor& hidden,
                        int from, int tag) {
  Transfers transfers;
  for (LatentCacheLayer& layer : cache.layers) {
    layer.length = length;
    transfers.add(ranks.receive(layer.rows.rows(0, length).bytes(), from, tag));
  }
  transfers.add(ranks.receive(hidden.bytes(), from, tag));
  return transfers;
}

}  // namespace fathom
