#include "infer/answer.h"

#include <array>
#include <cstddef>

namespace fathom {

std::string_view stop_reason_name(StopReason reason) {
  constexpr std::array<std::string_view, 5> kNames = {"end_of_text", "stop_string", "max_tokens",
                                                      "context_full", "cancelled"};
  return kNames.at(static_cast<std::size_t>(reason));
}

double GenerationStats::prompt_tokens_per_second() const {
  return prompt_seconds > 0 ? static_cast<double>(prompt_tokens) / prompt_seconds : 0.0;
}

double GenerationStats::decode_tokens_per_second() const {
  return decode_seconds > 0 ? static_cast<double>(decode_steps) / decode_seconds : 0.0;
}

}  // namespace fathom
