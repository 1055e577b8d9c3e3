#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "infer/answer.h"
#include "infer/answer_builder.h"
#include "infer/conversation.h"
#include "infer/speculation.h"
#include "model/context.h"
#include "model/latent_cache.h"
#include "model/transformer.h"
#include "text/grammar_compiler.h"
#include "text/tokenizer.h"

namespace fathom {

/// Continues one prompt with one model, over a latent cache of its own.
class Generator {
 public:
  using OnText = AnswerBuilder::OnText;

  /// Keeps references.
  /// @param end_of_text  tokens that end an answer
  /// @param speculation  with it, answers come faster and are the same
  Generator(const Context& context, const Transformer& model, const Tokenizer& tokenizer,
            std::vector<std::int64_t> end_of_text, Speculation* speculation = nullptr,
            LatentType cache_type = LatentType::f32);

  /// The prompt is prefilled in blocks of bounded size, so memory beyond the cache does not grow with it. An
  /// answer that reaches the end of the context ends there, with `context_full`: nothing is ever forgotten to
  /// make room. Throws `Error` when the prompt is empty, holds an id outside the vocabulary or does not fit
  /// the context, when the logits are not numbers, and when the grammar is wrong.
  /// @param cancelled     where given, asked between passes; true ends the answer
  /// @param conversation  where given, its cache is used, which must have room for prompt and answer: what
  ///                      prompt and conversation begin with alike is not read again, and in the end it is of
  ///                      prompt and answer
  Answer generate(std::span<const std::int32_t> prompt, const GenerationOptions& options,
                  const OnText& on_text = {}, const std::atomic<bool>* cancelled = nullptr,
                  Conversation* conversation = nullptr) const;

 private:
  const Context& context_;
  const Transformer& model_;
  const Tokenizer& tokenizer_;
  std::vector<std::int64_t> end_of_text_;
  mutable GrammarCompiler grammars_;
  Speculation* speculation_;
  LatentType cache_type_;
};

}  // namespace fathom
