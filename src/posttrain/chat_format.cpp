#include "posttrain/chat_format.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"

namespace fathom {
namespace {

constexpr std::uint64_t kLargestTemplate = 1U << 20U;

struct NamedTemplate {
  std::string source;
  std::string where;
};

NamedTemplate named_template(const Tokenizer& tokenizer, std::string_view named) {
  if (named == "plain") return {std::string(plain_template()), "the plain template"};
  if (!named.empty()) {
    const std::filesystem::path file = named;
    return {read_text_file(file, kLargestTemplate), file.string()};
  }
  require(
      !tokenizer.chat_template().empty(),
      "the model has no chat template: name one with --chat-template FILE, or take `--chat-template plain`, "
      "which writes Question: and Answer: as text");
  return {tokenizer.chat_template(), "the model's chat template"};
}

std::vector<std::pair<std::string, std::string>> special_tokens_of(const Tokenizer& tokenizer) {
  std::vector<std::pair<std::string, std::string>> tokens;
  const auto add = [&](const char* name, std::optional<std::int32_t> id) {
    tokens.emplace_back(name, id ? std::string(tokenizer.token_bytes(*id)) : std::string());
  };
  add("bos_token", tokenizer.bos());
  add("eos_token", tokenizer.eos());
  return tokens;
}

}  // namespace

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

ChatFormat::ChatFormat(const Tokenizer& tokenizer, std::string_view named)
    : source_(named_template(tokenizer, named).source),
      template_(ChatTemplate::parse(source_, named_template(tokenizer, named).where)),
      special_tokens_(special_tokens_of(tokenizer)) {}

RenderedChat ChatFormat::render(const OrderedJson& messages, const OrderedJson& tools,
                                bool add_generation_prompt) const {
  ChatTemplateOptions options;
  options.tools = tools.is_null() ? nullptr : &tools;
  options.add_generation_prompt = add_generation_prompt;
  options.special_tokens = special_tokens_;
  return template_.render(messages, options);
}

std::string ChatFormat::prompt(const OrderedJson& messages, const OrderedJson& tools) const {
  return render(messages, tools, true).text;
}

std::vector<std::pair<std::size_t, std::size_t>> ChatFormat::answers_by_prefix(
    const ChatRecord& chat, const std::string& text) const {
  std::vector<std::pair<std::size_t, std::size_t>> spans;
  OrderedJson before = OrderedJson::array();
  for (const OrderedJson& message : chat.messages) {
    if (message.at("role").get<std::string>() != "assistant") {
      before.push_back(message);
      continue;
    }
    const std::string prompt = render(before, chat.tools, true).text;
    before.push_back(message);
    const std::string with_answer = render(before, chat.tools, false).text;
    // What later turns make of it may be another text: then it is not what the model would have to say.
    if (with_answer.size() > prompt.size() && with_answer.starts_with(prompt) &&
        text.starts_with(with_answer))
      spans.emplace_back(prompt.size(), with_answer.size());
  }
  return spans;
}

ChatFormat::Learned ChatFormat::learned(const ChatRecord& chat, std::string_view where) const {
  try {
    RenderedChat whole = render(chat.messages, chat.tools, false);
    const bool is_marked = !whole.generations.empty() && !whole.has_hidden_generation;
    Learned learned{std::move(whole.text), std::move(whole.generations)};
    if (!is_marked) learned.spans = answers_by_prefix(chat, learned.text);
    require(!learned.spans.empty(),
            "the chat template shows no answer where its generation prompt ends: mark answers by generation "
            "blocks "
            "in a template of your own, --chat-template FILE");
    return learned;
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
}

}  // namespace fathom
