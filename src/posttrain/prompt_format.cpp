#include "posttrain/prompt_format.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

class PlainFormat : public PromptFormat {
 public:
  [[nodiscard]] std::string_view name() const override { return "plain"; }
  [[nodiscard]] std::string prompt(std::span<const ChatTurn> turns) const override {
    std::string text;
    for (const ChatTurn& turn : turns) {
      if (!text.empty()) text += "\n\n";
      if (turn.role == "user") text += "Question: ";
      if (turn.role == "assistant") text += "Answer: ";
      text += turn.content;
    }
    return text + "\nAnswer:";
  }
  [[nodiscard]] std::vector<std::string> stops() const override { return {"\nQuestion:"}; }
};

/// As DeepSeek-V3 and R1 have it in their chat templates.
class DeepSeekFormat : public PromptFormat {
 public:
  [[nodiscard]] std::string_view name() const override { return "deepseek"; }
  [[nodiscard]] std::string prompt(std::span<const ChatTurn> turns) const override {
    std::string text;
    for (const ChatTurn& turn : turns) {
      if (turn.role == "user") text += "<\xEF\xBD\x9CUser\xEF\xBD\x9C>";
      if (turn.role == "assistant")
        text +=
            "<\xEF\xBD\x9C"
            "Assistant\xEF\xBD\x9C>";
      text += turn.content;
      if (turn.role == "assistant")
        text +=
            "<\xEF\xBD\x9C"
            "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>";
    }
    return text +
           "<\xEF\xBD\x9C"
           "Assistant\xEF\xBD\x9C>";
  }
};

class TemplateFormat : public PromptFormat {
 public:
  explicit TemplateFormat(ChatFormat format) : format_(std::move(format)) {}
  [[nodiscard]] std::string_view name() const override { return "template"; }
  [[nodiscard]] std::string prompt(std::span<const ChatTurn> turns) const override {
    OrderedJson messages = OrderedJson::array();
    for (const ChatTurn& turn : turns) messages.push_back({{"role", turn.role}, {"content", turn.content}});
    ChatTemplateOptions options;
    options.add_generation_prompt = true;
    return format_.render(messages, std::move(options)).text;
  }
  [[nodiscard]] bool begins_text() const override { return true; }

 private:
  ChatFormat format_;
};

class BareFormat : public PromptFormat {
 public:
  [[nodiscard]] std::string_view name() const override { return "none"; }
  [[nodiscard]] std::string prompt(std::span<const ChatTurn> turns) const override {
    std::string text;
    for (const ChatTurn& turn : turns) text += turn.content + "\n";
    return text;
  }
};

}  // namespace

std::unique_ptr<PromptFormat> make_prompt_format(std::string_view name) {
  if (name == "plain") return std::make_unique<PlainFormat>();
  if (name == "deepseek") return std::make_unique<DeepSeekFormat>();
  if (name == "none") return std::make_unique<BareFormat>();
  throw UsageError(
      fmt::format("there is no prompt format \"{}\": template, plain, deepseek or none", printable(name)));
}

std::vector<std::int32_t> prompt_ids(const Tokenizer& tokenizer, const PromptFormat& format,
                                     std::span<const ChatTurn> turns, std::string_view prefix) {
  return tokenizer.encode(format.prompt(turns).append(prefix), !format.begins_text());
}

std::unique_ptr<PromptFormat> make_template_format(ChatFormat format) {
  return std::make_unique<TemplateFormat>(std::move(format));
}

}  // namespace fathom
