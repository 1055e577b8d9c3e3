#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_template.h"

namespace fathom {

/// What a model's files say of chats.
struct ChatSource {
  std::string where;                                                // names the files, for messages
  std::string chat_template;                                        // Jinja; empty: there is none
  std::string tool_template;                                        // of chats with tools; empty: the same
  std::vector<std::pair<std::string, std::string>> special_tokens;  // bos_token and the like
};

/// How a model wants a conversation to be written: its chat template with its special tokens.
class ChatFormat {
 public:
  /// Throws `Error` where there is no template, or none that is valid.
  explicit ChatFormat(const ChatSource& source);

  /// As `ChatTemplate::render`, with the model's special tokens before those of `options`; by the template
  /// for tools where there is one, and tools.
  [[nodiscard]] RenderedChat render(const OrderedJson& messages, ChatTemplateOptions options = {}) const;

 private:
  ChatTemplate chat_template_;
  std::optional<ChatTemplate> tool_template_;
  std::vector<std::pair<std::string, std::string>> special_tokens_;
};

}  // namespace fathom
