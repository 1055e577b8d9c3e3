#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fathom::cli {

/// Token ids as a user writes them: "1,2,3", with spaces and brackets if need be, so that the JSON arrays
/// that commands print can be given back. Throws `UsageError` naming `option`.
std::vector<std::int32_t> parse_token_list(std::string_view text, std::string_view option);

}  // namespace fathom::cli
