#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace fathom {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

/// Parses JSON that somebody else wrote: nesting (64 levels) and the number of values (4 million, so that a
/// small text cannot fill the memory) are bounded, a key given twice in one object is an error.
/// @param where  names the text in error messages, as "FOLDER/config.json"
Json parse_json(std::string_view text, std::string_view where);

/// `read_text_file` and `parse_json`.
Json read_json_file(const std::filesystem::path& path, std::uint64_t max_bytes = 64U << 20U);

}  // namespace fathom
