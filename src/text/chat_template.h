#pragma once

#include <cstddef>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace fathom {

/// A chat template that declines a conversation, by `raise_exception`.
class ChatTemplateRefusal : public Error {
 public:
  ChatTemplateRefusal(const std::string& what, std::string reason)
      : Error(what), reason_(std::move(reason)) {}
  /// In the template's own words.
  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  std::string reason_;
};

/// What a template is given beside the messages.
struct ChatTemplateOptions {
  const OrderedJson* tools = nullptr;      // a list of JSON schemas; null: none
  const OrderedJson* documents = nullptr;  // a list of objects; null: none
  bool add_generation_prompt = false;      // ends with the beginning of an answer
  /// The last message goes on: what follows its content is left out. Not with `add_generation_prompt`.
  bool continue_final_message = false;
  std::vector<std::pair<std::string, std::string>> special_tokens = {};  // bos_token and the like
  const OrderedJson* variables = nullptr;    // an object of others, as enable_thinking; before special tokens
  std::function<std::tm()> local_time = {};  // for strftime_now; empty: this machine's clock
};

/// A conversation as a model reads it.
struct RenderedChat {
  std::string text;
  /// Where the text of the template's `{% generation %}` blocks lies: what the assistant said. Begin and end,
  /// bytes, in order.
  std::vector<std::pair<std::size_t, std::size_t>> generations;
  /// Whether there was such a block inside a macro or a captured block, whose place is not known.
  bool has_hidden_generation = false;
};

/// A template in Jinja as `transformers` takes them, rendered as its `apply_chat_template` does (Jinja2 3.1
/// with trim_blocks, lstrip_blocks, loop controls and `generation` blocks, in a sandbox). Anybody may have
/// written it: its length, nesting, steps, memory and output are bounded. Renders from several threads at
/// once.
class ChatTemplate {
 public:
  /// @param where  names the template in messages, which go on with ":LINE"
  /// Throws `Error`.
  static ChatTemplate parse(std::string_view source, const std::string& where);

  /// @param messages  a list of objects. As in `transformers`, keys whose value is null are left out, and
  ///                  reasoning that is given as one of `reasoning_content`, `thinking` and `reasoning` has
  ///                  the other names of it, too
  /// Throws `ChatTemplateRefusal` where the template says so, `Error` otherwise.
  [[nodiscard]] RenderedChat render(const OrderedJson& messages,
                                    const ChatTemplateOptions& options = {}) const;

  /// What the template makes of these variables alone.
  [[nodiscard]] RenderedChat render_variables(const OrderedJson& variables,
                                              const std::function<std::tm()>& local_time = {}) const;

 private:
  struct State;
  explicit ChatTemplate(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace fathom
