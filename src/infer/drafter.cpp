#include "infer/drafter.h"

#include <cstddef>

namespace fathom {

bool draw_draft(const Tensor& logits, std::int64_t with_text, Sampler& sampler,
                std::vector<std::int32_t>& drafts) {
  try {
    drafts.push_back(sampler.sample(logits.values().first(static_cast<std::size_t>(with_text))));
  } catch (const NonFiniteLogits&) {
    return false;
  } catch (const NoTokenFits&) {
    return false;
  }
  sampler.accept(drafts.back());
  return true;
}

}  // namespace fathom
