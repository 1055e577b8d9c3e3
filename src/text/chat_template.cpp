#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "text/jinja_interpreter.h"
#include "text/jinja_json.h"
#include "text/jinja_lexer.h"
#include "text/jinja_parser.h"
#include "text/jinja_scopes.h"
#include "text/jinja_text.h"
#include "text/utf8.h"

namespace fathom {

struct ChatTemplate::State {
  std::string where;
  std::string source;
  jinja::Budget budget;  // of the program's constants
  jinja::Program program;
};

namespace {

constexpr std::size_t kMaxTemplateBytes = 1U << 20U;

std::tm machine_time() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

/// As `strftime` of a Python datetime without time zone.
std::string format_time(const std::tm& time, const std::string& format) {
  std::string plain;
  for (std::size_t i = 0; i < format.size(); ++i) {
    const bool is_escape = format[i] == '%' && i + 1 < format.size();
    if (!is_escape) {
      plain += format[i];
      continue;
    }
    const char letter = format[++i];
    if (letter == 'f') {
      plain += "000000";
    } else if (letter != 'z' && letter != 'Z') {
      plain += '%';
      plain += letter;
    }
  }
  if (plain.empty()) return "";
  std::string text(64 * plain.size() + 64, '\0');
  text.resize(std::strftime(text.data(), text.size(), plain.c_str(), &time));
  return text;
}

}  // namespace

ChatTemplate ChatTemplate::parse(std::string_view source, const std::string& where) {
  require(source.size() <= kMaxTemplateBytes, "{}: the template is longer than {} bytes", where,
          kMaxTemplateBytes);
  require(is_valid_utf8(source), "{}: the template is not UTF-8", where);
  auto state = std::make_shared<State>();
  state->where = where;
  state->source = source;
  try {
    state->program = jinja::resolve_scopes(jinja::parse(source, state->budget), state->budget);
  } catch (const jinja::SyntaxFault& fault) {
    fail("{}:{}: {}", where, fault.line(), fault.what());
  } catch (const jinja::Fault& fault) {
    fail("{}: {}", where, fault.what());
  }
  return ChatTemplate(std::move(state));
}

namespace {

using jinja::Dict;
using jinja::Interpreter;
using jinja::Value;

constexpr std::array<std::string_view, 3> kReasoningNames = {"reasoning_content", "thinking", "reasoning"};
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

/// The message as templates see it: without null values, its reasoning under every name that templates know.
Value message_value(Interpreter& interpreter, const OrderedJson& message) {
  jinja::Budget& budget = interpreter.budget();
  const auto name = [&](std::string_view text) {
    return interpreter.text(jinja::valid_utf8(std::string(text)));
  };
  const OrderedJson* reasoning = nullptr;
  for (const std::string_view key : kReasoningNames) {
    const auto found = message.find(key);
    if (reasoning == nullptr && found != message.end() && !found->is_null()) reasoning = &*found;
  }
  const auto dict = std::make_shared<Dict>(budget);
  if (reasoning != nullptr) dict->set(name("thinking"), jinja::from_json(budget, *reasoning));
  for (const auto& [key, value] : message.items())
    if (!value.is_null()) dict->set(name(key), jinja::from_json(budget, value));
  if (reasoning != nullptr) dict->set(name("reasoning_content"), jinja::from_json(budget, *reasoning));
  return Value::dict(dict);
}

/// The text that the last message ends with, to which a mark is added that shows where it lands.
std::string mark_last_message(OrderedJson& messages) {
  OrderedJson& message = messages.back();
  const auto content = message.find("content");
  require(content != message.end() && !content->is_null(),
          "the last message cannot be continued: it has no content");
  if (content->is_array()) {
    for (auto part = content->rbegin(); part != content->rend(); ++part) {
      if (!part->is_object() || !part->contains("text") || !part->at("text").is_string()) continue;
      auto text = part->at("text").get<std::string>();
      (*part)["text"] = text + std::string(kContinueTag);
      return text;
    }
    fail("the last message cannot be continued: its content has no text");
  }
  require(content->is_string(), "the last message cannot be continued: its content is no text");
  auto text = content->get<std::string>();
  *content = text + std::string(kContinueTag);
  return text;
}

std::string_view stripped(std::string_view text, jinja::Side side) {
  return jinja::strip(text, nullptr, side);
}

/// Ends the chat where the last message does.
void cut_at_mark(RenderedChat& chat, std::string_view last) {
  std::string& text = chat.text;
  const std::string_view tag = stripped(kContinueTag, jinja::Side::kBoth);
  const std::size_t at = text.rfind(tag);
  require(at != std::string::npos && text.find(stripped(last, jinja::Side::kBoth)) != std::string::npos,
          "the last message cannot be continued: the template leaves a part of it out");
  const bool keeps_space = std::string_view(text).substr(at).starts_with(kContinueTag);
  text.resize(at);
  if (!keeps_space) text.resize(stripped(text, jinja::Side::kRight).size());
  for (auto& [begin, end] : chat.generations) {
    begin = std::min(begin, text.size());
    end = std::min(end, text.size());
  }
}

jinja::FormatTime time_formatter(const std::function<std::tm()>& local_time) {
  return [local_time](const std::string& format) {
    return format_time(local_time ? local_time() : machine_time(), format);
  };
}

RenderedChat finish(Interpreter& interpreter, const jinja::Program& program, const std::string& where) {
  try {
    jinja::Printed printed = interpreter.run(program);
    return {std::move(printed.text), std::move(printed.generations), printed.has_hidden_generation};
  } catch (const jinja::Fault& fault) {
    if (fault.is_refusal())
      throw ChatTemplateRefusal(
          fmt::format("{}:{}: the template refuses: {}", where, interpreter.line(), printable(fault.what())),
          fault.what());
    fail("{}:{}: {}", where, interpreter.line(), printable(fault.what()));
  }
}

/// Turns faults in what is given into errors.
template <typename Use>
void give(const std::string& where, const Use& use) {
  try {
    use();
  } catch (const jinja::Fault& fault) {
    fail("{}: what the template is given: {}", where, fault.what());
  }
}

}  // namespace

RenderedChat ChatTemplate::render(const OrderedJson& messages, const ChatTemplateOptions& options) const {
  const std::string& where = state_->where;
  require(messages.is_array(), "{}: the messages are no list", where);
  require(!messages.empty(), "{}: the conversation is empty: give one message at least", where);
  for (std::size_t i = 0; i < messages.size(); ++i)
    require(messages[i].is_object(), "{}: message {} is no object", where, i + 1);
  require(!options.add_generation_prompt || !options.continue_final_message,
          "{}: either the last message is continued, or an answer begins: not both", where);
  if (options.documents != nullptr)
    for (const OrderedJson& document : *options.documents)
      require(document.is_object(), "{}: a document is no object", where);

  std::optional<std::string> last;
  OrderedJson marked;
  if (options.continue_final_message) {
    marked = messages;
    last = mark_last_message(marked);
  }
  Interpreter interpreter(time_formatter(options.local_time));
  jinja::Budget& budget = interpreter.budget();
  give(where, [&] {
    const auto json_or_none = [&](const OrderedJson* json) {
      return json != nullptr ? jinja::from_json(budget, *json) : Value::none();
    };
    for (const auto& [name, token] : options.special_tokens)
      interpreter.define(name, interpreter.text(jinja::valid_utf8(token)));
    if (options.variables != nullptr)
      for (const auto& [name, value] : options.variables->items())
        interpreter.define(name, jinja::from_json(budget, value));
    std::vector<Value> values;
    values.reserve(messages.size());
    for (const OrderedJson& message : last ? marked : messages)
      values.push_back(message_value(interpreter, message));
    interpreter.define("messages", Value::list(budget, std::move(values)));
    interpreter.define("tools", json_or_none(options.tools));
    interpreter.define("documents", json_or_none(options.documents));
    interpreter.define("add_generation_prompt", Value::boolean(options.add_generation_prompt));
  });
  RenderedChat rendered = finish(interpreter, state_->program, where);
  if (last) cut_at_mark(rendered, *last);
  return rendered;
}

RenderedChat ChatTemplate::render_variables(const OrderedJson& variables,
                                            const std::function<std::tm()>& local_time) const {
  Interpreter interpreter(time_formatter(local_time));
  give(state_->where, [&] {
    for (const auto& [name, value] : variables.items())
      interpreter.define(name, jinja::from_json(interpreter.budget(), value));
  });
  return finish(interpreter, state_->program, state_->where);
}

}  // namespace fathom
