#include "text/json_schema_keywords.h"

#include <algorithm>
#include <array>

namespace fathom {
namespace {

using namespace std::string_view_literals;

constexpr std::array kEnforced = {
    "type"sv,          "enum"sv,    "const"sv,       "properties"sv,       "required"sv,
    "minLength"sv,     "pattern"sv, "maxLength"sv,   "additionalItems"sv,  "additionalProperties"sv,
    "prefixItems"sv,   "items"sv,   "minItems"sv,    "maxItems"sv,         "minProperties"sv,
    "maxProperties"sv, "minimum"sv, "maximum"sv,     "exclusiveMinimum"sv, "exclusiveMaximum"sv,
    "multipleOf"sv,    "format"sv,  "uniqueItems"sv, "propertyNames"sv,    "patternProperties"sv};
constexpr std::array kCombinations = {"$ref"sv, "allOf"sv, "anyOf"sv, "oneOf"sv};
constexpr std::array kAnnotations = {"title"sv,   "description"sv, "default"sv,    "examples"sv,
                                     "example"sv, "deprecated"sv,  "readOnly"sv,   "writeOnly"sv,
                                     "$schema"sv, "$id"sv,         "id"sv,         "$comment"sv,
                                     "$anchor"sv, "$defs"sv,       "definitions"sv};

}  // namespace

SchemaKeyword kind_of_keyword(std::string_view keyword) {
  const auto is_in = [&](const auto& list) { return std::ranges::find(list, keyword) != list.end(); };
  if (is_in(kEnforced)) return SchemaKeyword::kEnforced;
  if (is_in(kCombinations)) return SchemaKeyword::kCombination;
  if (is_in(kAnnotations) || keyword.starts_with("x-")) return SchemaKeyword::kAnnotation;
  return SchemaKeyword::kOther;
}

}  // namespace fathom
