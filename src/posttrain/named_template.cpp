#include "posttrain/named_template.h"

#include <cstdint>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"

namespace fathom {

ChatSource named_chat_source(const Tokenizer& tokenizer, std::string_view named) {
  constexpr std::uint64_t kLargestTemplate = 1U << 20U;
  ChatSource source = tokenizer.chat_source();
  if (named.empty()) {
    require(!source.chat_template.empty(),
            "the model has no chat template: name one with --chat-template FILE, or take `--chat-template "
            "plain`, which writes Question: and Answer: as text");
    return source;
  }
  source.tool_template.clear();
  if (named == "plain") {
    source.where = "the plain template";
    source.chat_template = plain_template();
  } else {
    source.where = named;
    source.chat_template = read_text_file(std::filesystem::path(named), kLargestTemplate);
  }
  return source;
}

std::string_view plain_template() {
  return R"({{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
Answer:{% generation %} {{ message.content }}{{ eos_token }}{% endgeneration %}
{%- elif message.role == 'user' %}
{{- '' if loop.first else '\n\n' }}Question: {{ message.content }}
{% else %}
{{- message.content }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}Answer:{% endif %})";
}

}  // namespace fathom
