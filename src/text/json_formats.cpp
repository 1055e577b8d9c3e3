#include "text/json_formats.h"

#include <array>
#include <string>
#include <utility>

#include <fmt/core.h>

namespace fathom {
namespace {

// Dates have the days that their months have, and leap years theirs; years have four digits and begin at
// 1000.
constexpr const char* kDate =
    "([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|"
    "1[0-9]|"
    "2[0-8]))|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29)";
constexpr const char* kTime =
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
// RFC 3339, appendix A.
constexpr const char* kDuration =
    "P([0-9]{1,6}W|(([0-9]{1,6}Y([0-9]{1,6}M([0-9]{1,6}D)?)?|[0-9]{1,6}M([0-9]{1,6}D)?|[0-9]{1,6}D)"
    "(T([0-9]{1,6}H([0-9]{1,6}M([0-9]{1,6}S)?)?|[0-9]{1,6}M([0-9]{1,6}S)?|[0-9]{1,6}S))?)|"
    "T([0-9]{1,6}H([0-9]{1,6}M([0-9]{1,6}S)?)?|[0-9]{1,6}M([0-9]{1,6}S)?|[0-9]{1,6}S))";
constexpr const char* kUuid = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
// Labels of letters, digits and single hyphens inside; short enough in all.
constexpr const char* kHost = "([a-zA-Z0-9]{1,20}(-[a-zA-Z0-9]{1,10})?\\.){0,4}[a-zA-Z]{2,20}";
constexpr const char* kLocalPart = "[a-zA-Z0-9_+-]{1,30}(\\.[a-zA-Z0-9_+-]{1,30})?";
constexpr const char* kIpv4 =
    "((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
constexpr const char* kIpv6 =
    "(([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,7}:|([0-9a-fA-F]{1,4}:){1,6}:[0-9a-fA-F]{"
    "1,4}|"
    "([0-9a-fA-F]{1,4}:){1,5}(:[0-9a-fA-F]{1,4}){1,2}|([0-9a-fA-F]{1,4}:){1,4}(:[0-9a-fA-F]{1,4}){1,3}|"
    "([0-9a-fA-F]{1,4}:){1,3}(:[0-9a-fA-F]{1,4}){1,4}|([0-9a-fA-F]{1,4}:){1,2}(:[0-9a-fA-F]{1,4}){1,5}|"
    "[0-9a-fA-F]{1,4}:(:[0-9a-fA-F]{1,4}){1,6}|:((:[0-9a-fA-F]{1,4}){1,7}|:))";
// Of what may stand in a path, a query or a fragment, all but percent signs.
constexpr const char* kUriChars = "[a-zA-Z0-9._~!$&'()*+,;=:@/-]";

std::array<std::pair<std::string_view, std::string>, 10> make_patterns() {
  return {{{"date", fmt::format("^{}$", kDate)},
           {"time", fmt::format("^{}$", kTime)},
           {"date-time", fmt::format("^{}T{}$", kDate, kTime)},
           {"duration", fmt::format("^{}$", kDuration)},
           {"uuid", fmt::format("^{}$", kUuid)},
           {"email", fmt::format("^{}@{}$", kLocalPart, kHost)},
           {"hostname", fmt::format("^{}$", kHost)},
           {"ipv4", fmt::format("^{}$", kIpv4)},
           {"ipv6", fmt::format("^({})$", kIpv6)},
           {"uri", fmt::format("^(https?|ftp|wss?)://{0}(:[0-9]{{1,4}})?(/{1}*)?(\\?{1}*)?(#{1}*)?$", kHost,
                               kUriChars)}}};
}

}  // namespace

std::string_view pattern_of_format(std::string_view format) {
  static const auto patterns = make_patterns();
  for (const auto& [name, pattern] : patterns)
    if (name == format) return pattern;
  return {};
}

}  // namespace fathom
