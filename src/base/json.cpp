#include "base/json.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/ordered_json.h"

namespace fathom {
namespace {

template <typename Value>
Value parse_bounded(std::string_view text, std::string_view where) {
  constexpr int kMaxDepth = 64;
  constexpr std::int64_t kMaxValues = 4'000'000;
  std::int64_t values = 0;
  std::vector<std::set<std::string>> keys;  // of the objects that are open now
  const auto check = [&](int depth, typename Value::parse_event_t event, Value& value) {
    require(depth <= kMaxDepth, "{}: JSON nested deeper than {} levels", where, kMaxDepth);
    require(++values <= kMaxValues, "{}: JSON of more than {} values", where, kMaxValues);
    if (event == Value::parse_event_t::object_start) keys.emplace_back();
    if (event == Value::parse_event_t::object_end) keys.pop_back();
    if (event == Value::parse_event_t::key) {
      const auto& key = value.template get_ref<const std::string&>();
      require(keys.back().insert(key).second, "{}: the key \"{}\" stands twice in one object", where,
              printable(key));
    }
    return true;
  };
  try {
    return Value::parse(text, check);
  } catch (const typename Value::exception& error) {
    std::string_view reason = error.what();
    if (const auto tag = reason.find("] "); tag != std::string_view::npos) reason.remove_prefix(tag + 2);
    fail("{}: not valid JSON: {}", where, printable(reason));
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  return parse_bounded<Json>(text, where);
}

OrderedJson parse_ordered_json(std::string_view text, std::string_view where) {
  return parse_bounded<OrderedJson>(text, where);
}

Json read_json_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  return parse_json(read_text_file(path, max_bytes), path.string());
}

}  // namespace fathom
