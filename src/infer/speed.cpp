#include "infer/speed.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "base/progress.h"
#include "base/rng.h"
#include "infer/machine_limits.h"
#include "model/latent_cache.h"

namespace fathom {
namespace {

std::vector<std::int32_t> random_tokens(Rng& rng, std::int64_t count, std::int64_t vocab) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  for (std::int32_t& token : tokens)
    token = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(vocab)));
  return tokens;
}

/// Fills caches without a model: what lies in them does not change how long attention takes.
void pretend_tokens(ThreadPool& pool, Rng& rng, LatentCache& cache, std::int64_t depth) {
  const LatentPageLayout& layout = cache.table().layout();
  Tensor rows = Tensor::empty({layout.positions, layout.row.width()});
  for (float& value : rows.values()) value = static_cast<float>(rng.uniform() - 0.5);
  cache.table().reserve(depth);
  for (LatentCacheLayer& layer : cache.layers)
    while (layer.length < depth)
      layer.append(pool, rows.f32(), std::min(layout.positions, depth - layer.length));
}

}  // namespace

double SpeedResult::least_seconds(bool integers) const {
  const double reading = (cost.weight_bytes + cost.cache_bytes) / machine.bytes_per_second;
  const double weights =
      cost.weight_operations / (integers ? machine.integer_operations : machine.float_operations);
  return std::max(reading, weights + cost.attention_operations / machine.float_operations);
}

MachineSpeed measure_machine(ThreadPool& pool) {
  constexpr int kRounds = 6;
  MemoryReadLimit memory;
  IntegerLimit integers;
  GemmLimit floats;
  const std::function<void()> parts[] = {[&] { memory(pool); }, [&] { integers(pool); },
                                         [&] { floats(pool); }};
  const std::vector<double> seconds = least_seconds(parts, kRounds);
  return {MemoryReadLimit::kBytes / seconds[0], IntegerLimit::operations(pool) / seconds[1],
          GemmLimit::kFlops / seconds[2]};
}

SpeedResult measure_speed(const Context& context, const Transformer& model, const TransformerWeights& weights,
                          const SpeedCase& what, int rounds) {
  const ModelConfig& config = model.config();
  Rng rng(7);
  std::vector<std::unique_ptr<LatentCache>> caches;
  std::vector<LatentCache*> places;
  for (std::int64_t s = 0; s < what.sequences; ++s) {
    caches.push_back(std::make_unique<LatentCache>(config, what.depth + what.tokens, what.cache_type));
    pretend_tokens(context.pool, rng, *caches.back(), what.depth);
    places.push_back(caches.back().get());
  }
  const Sequences sequences = Sequences::uniform(what.sequences, what.tokens);
  SpeedResult result{what, std::numeric_limits<double>::infinity(), 0, {}, measure_machine(context.pool)};
  for (int round = 0; round <= rounds; ++round) {
    const std::vector<std::int32_t> tokens =
        random_tokens(rng, what.sequences * what.tokens, config.vocab_size);
    for (LatentCache* cache : places) cache->truncate(what.depth);
    ExpertCounts counts;
    const double start = monotonic_seconds();
    const Tensor hidden = model.forward_cached(context, tokens, {sequences, places}, &counts);
    Tensor last = Tensor::empty({what.sequences, config.hidden_size});
    for (std::int64_t s = 0; s < what.sequences; ++s)
      std::copy_n(hidden.f32() + ((s + 1) * what.tokens - 1) * config.hidden_size, config.hidden_size,
                  last.f32() + s * config.hidden_size);
    static_cast<void>(model.head(context, last));
    const double seconds = monotonic_seconds() - start;
    const bool is_warm = round > 0 || rounds == 0;  // the first touches pages and fills scratch memory
    if (is_warm) result.mean_seconds += seconds / std::max(1, rounds);
    if (is_warm && seconds < result.seconds) {
      result.seconds = seconds;
      result.cost =
          pass_cost(config, weights, counts, what.sequences * what.tokens, what.sequences, what.depth,
                    static_cast<double>(caches.front()->table().layout().row.row_bytes()));
    }
  }
  // The faster of two measurements, one before and one after: other programs come and go.
  const MachineSpeed after = measure_machine(context.pool);
  result.machine = {std::max(result.machine.bytes_per_second, after.bytes_per_second),
                    std::max(result.machine.integer_operations, after.integer_operations),
                    std::max(result.machine.float_operations, after.float_operations)};
  return result;
}

}  // namespace fathom
