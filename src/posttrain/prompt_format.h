#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "posttrain/task.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace fathom {

/// How a chat becomes the text that a model continues, and what of its text is the answer.
class PromptFormat {
 public:
  virtual ~PromptFormat() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Up to where the assistant speaks.
  [[nodiscard]] virtual std::string prompt(std::span<const ChatTurn> turns) const = 0;
  /// Whether the prompt has the tokens that begin a text: else the tokenizer puts its own (BOS) around it.
  [[nodiscard]] virtual bool begins_text() const { return false; }
  /// Text that ends an answer and is not part of it, beside the tokens that do.
  [[nodiscard]] virtual std::vector<std::string> stops() const { return {}; }
};

/// "plain" (Question: ... Answer:), "deepseek" (DeepSeek's tokens for user and assistant), "none" (contents,
/// a line each). Throws `UsageError` for any other name.
std::unique_ptr<PromptFormat> make_prompt_format(std::string_view name);
/// A prompt as the model reads it. @param prefix  that the answer begins with
std::vector<std::int32_t> prompt_ids(const Tokenizer& tokenizer, const PromptFormat& format,
                                     std::span<const ChatTurn> turns, std::string_view prefix = {});

/// "template": the model's own chat template.
std::unique_ptr<PromptFormat> make_template_format(ChatFormat format);

}  // namespace fathom
