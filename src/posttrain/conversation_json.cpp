#include "posttrain/conversation_json.h"

#include <fmt/core.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/error.h"

namespace fathom {
namespace {

OrderedJson message(std::string_view role, const OrderedJson& content) {
  return {{"role", role}, {"content", content}};
}

const OrderedJson& text_of(const OrderedJson& object, const std::string& key, std::string_view where) {
  require(object.contains(key) && object.at(key).is_string(), "{}: \"{}\" must be a string", where, key);
  return object.at(key);
}

/// ShareGPT's names of who speaks.
std::string_view role_named(std::string_view name, std::string_view where) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kRoles = {
      {{"human", "user"},
       {"user", "user"},
       {"gpt", "assistant"},
       {"assistant", "assistant"},
       {"model", "assistant"},
       {"system", "system"},
       {"tool", "tool"},
       {"observation", "tool"}}};
  for (const auto& [known, role] : kRoles)
    if (known == name) return role;
  fail("{}: \"from\" is {}, and must be human, gpt, system or tool", where, printable(std::string(name)));
}

OrderedJson sharegpt_messages(const OrderedJson& turns, std::string_view where) {
  require(turns.is_array(), "{}: \"conversations\" must be a list", where);
  OrderedJson messages = OrderedJson::array();
  for (const OrderedJson& turn : turns) {
    require(turn.is_object(), "{}: \"conversations\" must be a list of objects", where);
    messages.push_back(message(role_named(text_of(turn, "from", where).get<std::string>(), where),
                               text_of(turn, "value", where)));
  }
  return messages;
}

/// One side of a prompt with its completion.
void append_side(const OrderedJson& line, const std::string& key, std::string_view role,
                 std::string_view where, OrderedJson& messages) {
  const OrderedJson& side = line.at(key);
  if (side.is_string()) {
    messages.push_back(message(role, side));
    return;
  }
  require(side.is_array(), "{}: \"{}\" must be a string or a list of messages", where, key);
  for (const OrderedJson& one : side) messages.push_back(one);
}

OrderedJson messages_of(const OrderedJson& line, std::string_view where) {
  OrderedJson messages = OrderedJson::array();
  if (line.contains("messages")) return line.at("messages");
  if (line.contains("conversations")) return sharegpt_messages(line.at("conversations"), where);
  if (line.contains("prompt") && line.contains("completion")) {
    append_side(line, "prompt", "user", where, messages);
    append_side(line, "completion", "assistant", where, messages);
    return messages;
  }
  if (line.contains("instruction") && line.contains("output")) {
    std::string question = text_of(line, "instruction", where).get<std::string>();
    const std::string input = line.contains("input") ? text_of(line, "input", where).get<std::string>() : "";
    if (!input.empty()) question += "\n\n" + input;
    messages.push_back(message("user", question));
    messages.push_back(message("assistant", text_of(line, "output", where)));
    return messages;
  }
  fail(
      "{}: no chat: it needs \"messages\", \"conversations\", \"prompt\" and \"completion\", or "
      "\"instruction\" and \"output\"",
      where);
}

}  // namespace

ChatRecord chat_record(const OrderedJson& line, std::string_view where) {
  require(line.is_object(), "{}: a line must be a JSON object", where);
  ChatRecord record{messages_of(line, where), {}};
  require(record.messages.is_array() && !record.messages.empty(),
          "{}: \"messages\" must be a list that is not empty", where);
  bool has_answer = false;
  for (const OrderedJson& one : record.messages) {
    require(one.is_object() && one.contains("role") && one.at("role").is_string(),
            "{}: each message must be an object with a \"role\"", where);
    has_answer = has_answer || one.at("role").get<std::string>() == "assistant";
  }
  require(has_answer, "{}: no message is the assistant's, so there is nothing to learn", where);
  if (line.contains("tools") && !line.at("tools").is_null()) {
    require(line.at("tools").is_array(), "{}: \"tools\" must be a list", where);
    record.tools = line.at("tools");
  }
  return record;
}

}  // namespace fathom
