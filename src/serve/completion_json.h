#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "infer/answer.h"

namespace fathom {

/// What all responses to one request say of it.
struct CompletionLabel {
  std::string id;            // "cmpl-..."
  std::int64_t created = 0;  // seconds since 1970
  std::string model;
};

/// "stop" or "length"; "cancelled" where the server ended first.
std::string_view finish_reason_name(StopReason reason);

/// The answer as a whole.
std::string completion_json(const CompletionLabel& label, const Answer& answer);

/// A piece of it. @param reason  of the last piece, which has no text
std::string completion_chunk_json(const CompletionLabel& label, std::string_view text,
                                  std::optional<StopReason> reason = {});
/// What ends a stream that is to tell its usage.
std::string completion_usage_json(const CompletionLabel& label, const GenerationStats& stats);

/// `GET /v1/models`.
std::string models_json(const std::string& model, std::int64_t created);

}  // namespace fathom
