#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "infer/sampler.h"
#include "infer/speculation_stats.h"
#include "text/grammar_compiler.h"

namespace fathom {

enum class StopReason : std::uint8_t { end_of_text, stop_string, max_tokens, context_full, cancelled };

/// "end_of_text", "stop_string", and so on.
std::string_view stop_reason_name(StopReason reason);

struct GenerationOptions {
  SamplingOptions sampling;
  GrammarRequest grammar;         // what the answer is to look like; it ends where nothing more can come
  std::int64_t max_tokens = 0;    // 0: until the context is full
  std::vector<std::string> stop;  // text that ends the answer and is not part of it
  bool ignore_eos = false;        // go on after an end-of-text token
  bool show_special = false;      // special tokens appear in the text
};

struct GenerationStats {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  // of those: their latents were there already
  std::int64_t answer_tokens = 0;
  double prompt_seconds = 0;
  std::int64_t decode_steps = 0;  // tokens behind the first one, which comes out of the prompt's pass
  double decode_seconds = 0;
  SpeculationStats speculation;  // no passes: without

  [[nodiscard]] double prompt_tokens_per_second() const;
  [[nodiscard]] double decode_tokens_per_second() const;
};

struct Answer {
  std::vector<std::int32_t> tokens;  // without the end-of-text token
  std::int32_t end_token = -1;       // that one, where one ended it
  std::string text;
  StopReason reason = StopReason::end_of_text;
  GenerationStats stats;
};

}  // namespace fathom
