#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "infer/answer.h"

namespace fathom {

/// The body of `POST /v1/completions`, as OpenAI's API has it.
struct CompletionRequest {
  std::string model;  // empty: whatever is served
  std::variant<std::string, std::vector<std::int32_t>> prompt;
  GenerationOptions options;
  std::optional<std::uint64_t> seed;
  bool stream = false;
  bool include_usage = false;  // in a stream, too
};

/// Reads a body that anybody may have sent. Beyond OpenAI's fields `top_k`, `min_p`, `repetition_penalty`,
/// `ignore_eos` and `grammar` (GBNF) are known. Throws `ApiError` naming the field where one is unknown, of
/// the wrong type, out of range, or asks for what there is not (more than one answer, log-probabilities,
/// ...).
CompletionRequest read_completion_request(std::string_view body);

}  // namespace fathom
