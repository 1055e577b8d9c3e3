#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/sampler.h"
#include "model/context.h"
#include "model/transformer.h"
#include "text/tokenizer.h"

namespace fathom {

enum class StopReason : std::uint8_t { end_of_text, stop_string, max_tokens, context_full, cancelled };

/// "end_of_text", "stop_string", and so on.
std::string_view stop_reason_name(StopReason reason);

struct GenerationOptions {
  SamplingOptions sampling;
  std::int64_t max_tokens = 0;    // 0: until the context is full
  std::vector<std::string> stop;  // text that ends the answer and is not part of it
  bool ignore_eos = false;        // go on after an end-of-text token
  bool show_special = false;      // special tokens appear in the text
};

struct GenerationStats {
  std::int64_t prompt_tokens = 0;
  std::int64_t answer_tokens = 0;
  double prompt_seconds = 0;
  std::int64_t decode_steps =
      0;  // passes of one token; the first answer token comes out of the prompt's pass
  double decode_seconds = 0;

  [[nodiscard]] double prompt_tokens_per_second() const;
  [[nodiscard]] double decode_tokens_per_second() const;
};

struct Answer {
  std::vector<std::int32_t> tokens;  // without the end-of-text token
  std::string text;
  StopReason reason = StopReason::end_of_text;
  GenerationStats stats;
};

/// Continues one prompt with one model, over a latent cache of its own.
class Generator {
 public:
  /// Receives text as soon as it is certain: whole UTF-8 characters, and no part of a stop string.
  using OnText = std::function<void(std::string_view)>;

  /// Keeps references.
  /// @param end_of_text  tokens that end an answer
  Generator(const Context& context, const Transformer& model, const Tokenizer& tokenizer,
            std::vector<std::int64_t> end_of_text);

  /// The prompt is prefilled in blocks of bounded size, so memory beyond the cache does not grow with it. An
  /// answer that reaches the end of the context ends there, with `context_full`: nothing is ever forgotten to
  /// make room. Throws `Error` when the prompt is empty, holds an id outside the vocabulary or does not fit
  /// the context, and when the logits are not numbers.
  /// @param cancelled  where given, asked between passes; true ends the answer
  Answer generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                  const OnText& on_text = {}, const std::atomic<bool>* cancelled = nullptr) const;

 private:
  [[nodiscard]] bool ends_text(std::int32_t token) const;

  const Context& context_;
  const Transformer& model_;
  const Tokenizer& tokenizer_;
  std::vector<std::int64_t> end_of_text_;
};

}  // namespace fathom
