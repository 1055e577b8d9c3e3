#include "base/json_excerpt.h"

#include <nlohmann/json.hpp>

namespace fathom {

std::string excerpt(const Json& value) {
  constexpr std::size_t kLongest = 40;
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() <= kLongest) return text;
  text.resize(kLongest);
  text += "...";
  return text;
}

}  // namespace fathom
