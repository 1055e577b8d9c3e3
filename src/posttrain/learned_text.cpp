#include "posttrain/learned_text.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace fathom {
namespace {

RenderedChat render_chat(const ChatFormat& format, const OrderedJson& messages, const OrderedJson& tools,
                         bool add_generation_prompt) {
  ChatTemplateOptions options;
  options.tools = tools.is_null() ? nullptr : &tools;
  options.add_generation_prompt = add_generation_prompt;
  return format.render(messages, std::move(options));
}

/// Where answers stand in the whole chat's text, by what the template makes of the turns before them.
std::vector<std::pair<std::size_t, std::size_t>> answers_by_prefix(const ChatFormat& format,
                                                                   const ChatRecord& chat,
                                                                   const std::string& text) {
  std::vector<std::pair<std::size_t, std::size_t>> spans;
  OrderedJson before = OrderedJson::array();
  for (const OrderedJson& message : chat.messages) {
    if (message.at("role").get<std::string>() != "assistant") {
      before.push_back(message);
      continue;
    }
    const std::string prompt = render_chat(format, before, chat.tools, true).text;
    before.push_back(message);
    const std::string with_answer = render_chat(format, before, chat.tools, false).text;
    // What later turns make of it may be another text: then it is not what the model would have to say.
    if (with_answer.size() > prompt.size() && with_answer.starts_with(prompt) &&
        text.starts_with(with_answer))
      spans.emplace_back(prompt.size(), with_answer.size());
  }
  return spans;
}

}  // namespace

LearnedText learned_text(const ChatFormat& format, const ChatRecord& chat, std::string_view where) {
  try {
    RenderedChat whole = render_chat(format, chat.messages, chat.tools, false);
    const bool is_marked = !whole.generations.empty() && !whole.has_hidden_generation;
    LearnedText learned{std::move(whole.text), std::move(whole.generations)};
    if (!is_marked) learned.spans = answers_by_prefix(format, chat, learned.text);
    require(!learned.spans.empty(),
            "the chat template shows no answer where its generation prompt ends: mark answers by generation "
            "blocks in a template of your own, --chat-template FILE");
    return learned;
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
}

}  // namespace fathom
