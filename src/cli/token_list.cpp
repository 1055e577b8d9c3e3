#include "cli/token_list.h"

#include <charconv>

#include "base/error.h"

namespace fathom::cli {

std::vector<std::int32_t> parse_token_list(std::string_view text, std::string_view option) {
  constexpr std::string_view kBetween = ", \t\n[]";
  std::vector<std::int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    if (kBetween.find(*at) != std::string_view::npos) {
      ++at;
      continue;
    }
    std::int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    const bool whole =
        error == std::errc{} && (next == end || kBetween.find(*next) != std::string_view::npos);
    if (!whole)
      throw UsageError(fmt::format("{}: expected token ids such as 1,2,3, got \"{}\"", option, text));
    ids.push_back(id);
    at = next;
  }
  return ids;
}

}  // namespace fathom::cli
