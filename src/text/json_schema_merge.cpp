#include "text/json_schema_merge.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "text/json_schema_keywords.h"

namespace fathom {
namespace {

/// What `schema` has for a keyword, or `otherwise`.
OrderedJson value_or(const OrderedJson& schema, const std::string& keyword, OrderedJson otherwise) {
  const auto found = schema.find(keyword);
  return found == schema.end() ? std::move(otherwise) : *found;
}

OrderedJson both(const OrderedJson& a, const OrderedJson& b) {
  if (a == true || a == b) return b;
  if (b == true) return a;
  if (a == false || b == false) return false;
  return {{"allOf", OrderedJson::array({a, b})}};
}

OrderedJson as_list(const OrderedJson& value) {
  return value.is_array() ? value : OrderedJson::array({value});
}

bool lists(const OrderedJson& list, const OrderedJson& value) {
  return std::ranges::find(list, value) != list.end();
}

OrderedJson common_types(const OrderedJson& a, const OrderedJson& b) {
  OrderedJson common = OrderedJson::array();
  const auto add = [&](const OrderedJson& types, const OrderedJson& others) {
    for (const OrderedJson& type : types) {
      const bool is_common = lists(others, type) || (type == "integer" && lists(others, "number"));
      if (is_common && !lists(common, type)) common.push_back(type);
    }
  };
  add(as_list(a), as_list(b));
  add(as_list(b), as_list(a));
  return common;
}

OrderedJson common_values(const OrderedJson& a, const OrderedJson& b) {
  OrderedJson common = OrderedJson::array();
  for (const OrderedJson& value : a)
    if (lists(b, value)) common.push_back(value);
  return common;
}

/// Members of both by `keyword`, where those of one meet what the other says of all that it does not name.
void merge_properties(const OrderedJson& a, const OrderedJson& b, OrderedJson& merged) {
  const OrderedJson of_a = value_or(a, "properties", OrderedJson::object());
  const OrderedJson of_b = value_or(b, "properties", OrderedJson::object());
  const OrderedJson others_a = value_or(a, "additionalProperties", true);
  const OrderedJson others_b = value_or(b, "additionalProperties", true);
  OrderedJson properties = OrderedJson::object();
  for (const auto& [name, schema] : of_a.items())
    properties[name] = both(schema, value_or(of_b, name, others_b));
  for (const auto& [name, schema] : of_b.items())
    if (!of_a.contains(name)) properties[name] = both(others_a, schema);
  if (!properties.empty()) merged["properties"] = std::move(properties);
  if (a.contains("additionalProperties") || b.contains("additionalProperties"))
    merged["additionalProperties"] = both(others_a, others_b);
}

void merge_items(const OrderedJson& a, const OrderedJson& b, OrderedJson& merged) {
  const OrderedJson of_a = value_or(a, "prefixItems", OrderedJson::array());
  const OrderedJson of_b = value_or(b, "prefixItems", OrderedJson::array());
  const OrderedJson others_a = value_or(a, "items", true);
  const OrderedJson others_b = value_or(b, "items", true);
  OrderedJson prefix = OrderedJson::array();
  for (std::size_t i = 0; i < std::max(of_a.size(), of_b.size()); ++i)
    prefix.push_back(both(i < of_a.size() ? of_a[i] : others_a, i < of_b.size() ? of_b[i] : others_b));
  if (!prefix.empty()) merged["prefixItems"] = std::move(prefix);
  if (a.contains("items") || b.contains("items")) merged["items"] = both(others_a, others_b);
}

/// Of a keyword that both have.
OrderedJson merged_keyword(const std::string& keyword, const OrderedJson& a, const OrderedJson& b,
                           const std::string& where) {
  if (a == b) return a;
  if (keyword == "type") return common_types(a, b);
  if (keyword == "enum") return common_values(a, b);
  if (keyword == "required") {
    OrderedJson all = a;
    for (const OrderedJson& name : b)
      if (!lists(all, name)) all.push_back(name);
    return all;
  }
  if (keyword == "propertyNames") return both(a, b);
  if (keyword.starts_with("min") || keyword == "exclusiveMinimum") return std::max(a, b);
  if (keyword.starts_with("max") || keyword == "exclusiveMaximum") return std::min(a, b);
  fail("{}: the keyword {} stands in schemas that must hold together, with different values: not supported",
       where, printable(keyword));
}

bool is_merged_with_others(std::string_view keyword) {
  return keyword == "properties" || keyword == "additionalProperties" || keyword == "prefixItems" ||
         keyword == "items";
}

bool is_annotation(std::string_view keyword) {
  return kind_of_keyword(keyword) == SchemaKeyword::kAnnotation;
}

}  // namespace

OrderedJson merge_schemas(const OrderedJson& a, const OrderedJson& b, const std::string& where) {
  if (!a.is_object()) return a == true ? b : a;
  if (!b.is_object()) return b == true ? a : b;
  OrderedJson merged = OrderedJson::object();
  merge_properties(a, b, merged);
  merge_items(a, b, merged);
  for (const OrderedJson* schema : {&a, &b})
    for (const auto& [keyword, value] : schema->items())
      if (!is_merged_with_others(keyword) && !is_annotation(keyword)) {
        if (!merged.contains(keyword)) {
          merged[keyword] = value;
        } else if (schema == &b) {
          merged[keyword] = merged_keyword(keyword, merged[keyword], value, where);
        }
      }
  return merged;
}

}  // namespace fathom
