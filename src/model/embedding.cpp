#include "model/embedding.h"

#include <cstddef>

#include "base/error.h"
#include "numerics/convert.h"

namespace fathom {

Tensor embed(const Tensor& table, std::span<const std::int32_t> tokens) {
  const std::int64_t vocab = table.dim(0);
  const std::int64_t hidden = table.dim(1);
  const std::size_t row_bytes = stored_bytes(table.dtype(), hidden);
  const auto* rows = static_cast<const std::byte*>(table.data());
  Tensor x = Tensor::empty({static_cast<std::int64_t>(tokens.size()), hidden});
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    require(tokens[t] >= 0 && tokens[t] < vocab, "token id {} is not in the vocabulary of {} entries",
            tokens[t], vocab);
    widen_to_f32(rows + static_cast<std::size_t>(tokens[t]) * row_bytes, table.dtype(), hidden,
                 x.f32() + static_cast<std::int64_t>(t) * hidden);
  }
  return x;
}

void add_embedding_gradient(const Context& context, std::span<const std::int32_t> tokens, const Tensor& rows,
                            Tensor& grads) {
  constexpr std::size_t kColumns = 64;
  const std::int64_t hidden = rows.dim(1);
  const float* from = rows.f32();
  float* to = grads.f32();
  context.pool.parallel_ranges(static_cast<std::size_t>(hidden), kColumns,
                               [&](std::size_t begin, std::size_t end) {
                                 for (std::size_t t = 0; t < tokens.size(); ++t) {
                                   float* row = to + tokens[t] * hidden;
                                   const float* delta = from + static_cast<std::int64_t>(t) * hidden;
                                   for (std::size_t i = begin; i < end; ++i) row[i] += delta[i];
                                 }
                               });
}

}  // namespace fathom
