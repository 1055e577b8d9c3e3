#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/json.h"

namespace fathom {

/// A chat to learn from, in the form that chat templates take.
struct ChatRecord {
  OrderedJson messages;  // a list of objects with "role"
  OrderedJson tools;     // a list of JSON schemas; null: none
};

/// A line of a chat corpus in any of the forms that are about:
///
///     {"messages": [{"role": "user", "content": ...}, ...], "tools": [...]}
///     {"conversations": [{"from": "human", "value": ...}, ...]}            ShareGPT
///     {"prompt": ..., "completion": ...}                                   texts, or lists of messages
///     {"instruction": ..., "input": ..., "output": ...}                    Alpaca
///
/// Throws `Error` naming the line and the field where it is none of them, or has no assistant's message.
/// @param where  names the line in messages, as "FILE:3"
ChatRecord chat_record(const OrderedJson& line, std::string_view where);

}  // namespace fathom
