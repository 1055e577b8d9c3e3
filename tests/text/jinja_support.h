#pragma once

#include <ctime>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "base/ordered_json.h"
#include "support/shared_data.h"
#include "text/chat_template.h"

namespace fathom::test {

/// A golden of make_chat_template_goldens.py.
inline OrderedJson template_golden(const char* name) {
  const auto path = golden(std::filesystem::path("text/goldens") / name);
  return parse_ordered_json(read_text_file(path, 16U << 20U), path.string());
}

/// 5 November 2025, 13:07:09, as the goldens have it.
inline std::tm time_of_goldens() {
  std::tm time{};
  time.tm_year = 2025 - 1900;
  time.tm_mon = 10;
  time.tm_mday = 5;
  time.tm_hour = 13;
  time.tm_min = 7;
  time.tm_sec = 9;
  time.tm_wday = 3;
  time.tm_yday = 308;
  return time;
}

/// What a template prints, given one variable `messages` and no more than others want.
inline std::string print_template(std::string_view source,
                                  const char* messages = R"([{"role": "user", "content": "Hi"}])") {
  return ChatTemplate::parse(source, "t").render(OrderedJson::parse(messages)).text;
}

}  // namespace fathom::test
