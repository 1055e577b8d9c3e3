#include "text/chat_format.h"

#include "base/error.h"

namespace fathom {
namespace {

ChatTemplate required_template(const ChatSource& source) {
  require(!source.chat_template.empty(),
          "{}: there is no chat template (chat_template.jinja, or chat_template in tokenizer_config.json)",
          source.where);
  return ChatTemplate::parse(source.chat_template, source.where + ": chat template");
}

}  // namespace

ChatFormat::ChatFormat(const ChatSource& source)
    : chat_template_(required_template(source)), special_tokens_(source.special_tokens) {
  if (!source.tool_template.empty())
    tool_template_ = ChatTemplate::parse(source.tool_template, source.where + ": chat template tool_use");
}

RenderedChat ChatFormat::render(const OrderedJson& messages, ChatTemplateOptions options) const {
  options.special_tokens.insert(options.special_tokens.begin(), special_tokens_.begin(),
                                special_tokens_.end());
  const bool is_with_tools = options.tools != nullptr && tool_template_.has_value();
  return (is_with_tools ? *tool_template_ : chat_template_).render(messages, options);
}

}  // namespace fathom
