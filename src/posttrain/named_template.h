#pragma once

#include <string_view>

#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace fathom {

/// How chats are to be written for a model.
/// @param named  empty: by its own template; "plain": `plain_template`; else a file of Jinja
/// Throws `Error` where the model has no template and none is named.
ChatSource named_chat_source(const Tokenizer& tokenizer, std::string_view named);

/// Questions and answers as plain text, for models whose vocabulary has no tokens for turns:
///
///     Question: What is 2 + 2?
///     Answer: 4
std::string_view plain_template();

}  // namespace fathom
