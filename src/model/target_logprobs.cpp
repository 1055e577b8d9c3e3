#include "model/target_logprobs.h"

#include <algorithm>
#include <cstdint>

#include "kernels/cross_entropy.h"
#include "model/head.h"

namespace fathom {

std::vector<float> target_logprobs(const Context& context, const Transformer& model, const Batch& batch) {
  const Tensor hidden = model.hidden_states(context, batch.tokens, batch.sequences);
  const std::int64_t vocab = model.config().vocab_size;
  const std::int64_t step = head_slice_rows(vocab);
  std::vector<float> values(batch.tokens.size());
  for (std::int64_t begin = 0; begin < hidden.dim(0); begin += step) {
    const std::int64_t end = std::min(hidden.dim(0), begin + step);
    Tensor logits = model.head(context, hidden.rows(begin, end));
    kernels::cross_entropy(context.pool, logits.f32(), batch.targets.data() + begin, end - begin, vocab,
                           /*scale=*/0.0F, values.data() + begin);
  }
  for (float& value : values) value = -value;
  return values;
}

}  // namespace fathom
