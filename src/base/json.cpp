#include "base/json.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace fathom {

Json parse_json(std::string_view text, std::string_view where) {
  constexpr int kMaxDepth = 64;
  constexpr std::int64_t kMaxValues = 4'000'000;
  std::int64_t values = 0;
  std::vector<std::set<std::string>> keys;  // of the objects that are open now
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    require(depth <= kMaxDepth, "{}: JSON nested deeper than {} levels", where, kMaxDepth);
    require(++values <= kMaxValues, "{}: JSON of more than {} values", where, kMaxValues);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      require(keys.back().insert(key).second, "{}: the key \"{}\" stands twice in one object", where,
              printable(key));
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    std::string_view reason = error.what();
    if (const auto tag = reason.find("] "); tag != std::string_view::npos) reason.remove_prefix(tag + 2);
    fail("{}: not valid JSON: {}", where, printable(reason));
  }
}

Json read_json_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  return parse_json(read_text_file(path, max_bytes), path.string());
}

}  // namespace fathom
