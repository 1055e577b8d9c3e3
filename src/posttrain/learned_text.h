#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "posttrain/conversation_json.h"
#include "text/chat_format.h"

namespace fathom {

/// A text with the places of what is learned: begin and end, bytes, in order.
struct LearnedText {
  std::string text;
  std::vector<std::pair<std::size_t, std::size_t>> spans;
};

/// The whole chat, of which the assistant's words are learned, and what ends them: what the template marks by
/// `{% generation %}`, or else what it puts behind its own generation prompt. Earlier answers that later
/// turns change, as where a template drops old thoughts, are read and not learned. Throws `Error` naming the
/// line where the template refuses the chat, or no answer can be found.
LearnedText learned_text(const ChatFormat& format, const ChatRecord& chat, std::string_view where);

}  // namespace fathom
