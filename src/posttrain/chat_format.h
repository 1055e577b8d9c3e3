#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "posttrain/conversation_json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace fathom {

/// How a model reads chats: a chat template with the tokenizer's special tokens.
class ChatFormat {
 public:
  /// @param named  empty: the tokenizer's own template; "plain": `plain_template`; else a file of Jinja
  /// Throws `Error` where the model has no template and none is named, and for one that is wrong.
  ChatFormat(const Tokenizer& tokenizer, std::string_view named);

  /// The template's source.
  [[nodiscard]] const std::string& source() const { return source_; }

  /// A text with the places of what is learned: begin and end, bytes, in order.
  struct Learned {
    std::string text;
    std::vector<std::pair<std::size_t, std::size_t>> spans;
  };
  /// The whole chat, of which the assistant's words are learned, and what ends them: what the template marks
  /// by
  /// `{% generation %}`, or else what it puts behind its own generation prompt. Earlier answers that later
  /// turns change, as where a template drops old thoughts, are read and not learned. Throws `Error` naming
  /// the line where the template refuses the chat, or no answer can be found.
  [[nodiscard]] Learned learned(const ChatRecord& chat, std::string_view where) const;

  /// What a model is given to answer.
  [[nodiscard]] std::string prompt(const OrderedJson& messages, const OrderedJson& tools = {}) const;

 private:
  [[nodiscard]] RenderedChat render(const OrderedJson& messages, const OrderedJson& tools,
                                    bool add_generation_prompt) const;
  [[nodiscard]] std::vector<std::pair<std::size_t, std::size_t>> answers_by_prefix(
      const ChatRecord& chat, const std::string& text) const;

  std::string source_;
  ChatTemplate template_;
  std::vector<std::pair<std::string, std::string>> special_tokens_;
};

/// Questions and answers as plain text, for models whose vocabulary has no tokens for turns:
///
///     Question: What is 2 + 2?
///     Answer: 4
std::string_view plain_template();

}  // namespace fathom
