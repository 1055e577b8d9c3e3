// Filters of lists and dicts.

#include <algorithm>
#include <array>

#include "text/jinja_filters.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parameters.h"
#include "text/jinja_text.h"

namespace fathom::jinja {
namespace {

/// The items of a list that is made already, once.
Value iterator_over(Interpreter& interpreter, std::vector<Value> items) {
  const Value list = Value::list(interpreter.budget(), std::move(items));
  return Value::iterator(interpreter.budget(), iterate(interpreter.budget(), list), list.depth());
}

Value list_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("list", arguments, {});
  return Value::list(interpreter.budget(), items_of(interpreter.budget(), value));
}

Value items_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("items", arguments, {});
  if (value.is_undefined()) return iterator_over(interpreter, {});
  if (!value.is(Kind::kDict)) fault("Can only get item pairs from a mapping.");
  return Value::iterator(interpreter.budget(),
                         iterate(interpreter.budget(), Value::view(value, ViewKind::kItems)), value.depth());
}

Value first_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("first", arguments, {});
  const NextItem next = iterate(interpreter.budget(), value);
  auto item = next();
  return item ? std::move(*item)
              : Value::undefined(interpreter.budget(), "No first item, sequence was empty.");
}

Value last_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("last", arguments, {});
  if (value.is(Kind::kIterator) || value.is(Kind::kLoop) || value.is_undefined())
    fault("a value of type {} has no last item", type_name(value));
  const std::vector<Value> items = items_of(interpreter.budget(), value);
  return items.empty() ? Value::undefined(interpreter.budget(), "No last item, sequence was empty.")
                       : items.back();
}

Value reverse_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters none("reverse", arguments, {});
  std::vector<Value> items = items_of(interpreter.budget(), value);
  std::reverse(items.begin(), items.end());
  if (value.is_text()) {
    std::string text;
    for (const Value& item : items) text += item.str();
    return Value::text(interpreter.budget(), std::move(text), value.text().is_markup);
  }
  if (value.is(Kind::kIterator)) return Value::list(interpreter.budget(), std::move(items));
  return iterator_over(interpreter, std::move(items));
}

/// What an item is sorted by: the attributes that "a,b" names, or itself.
Value sort_key(Interpreter& interpreter, const Value& item, const Value& attribute, bool is_case_sensitive) {
  std::vector<Value> keys;
  const auto add = [&](const Value& path) {
    Value key = value_at_path(interpreter, item, path);
    keys.push_back(is_case_sensitive ? key : without_case(interpreter, key));
  };
  if (attribute.is_text()) {
    for (const std::string_view path : split_at(attribute.str(), ",", -1))
      add(interpreter.text(std::string(path)));
  } else {
    add(attribute);
  }
  return Value::list(interpreter.budget(), std::move(keys));
}

/// Sorted by key, equal ones in the order in which they came.
std::vector<Value> sorted(Interpreter& interpreter, std::vector<std::pair<Value, Value>> keyed,
                          bool is_reversed) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return is_reversed ? is_less(interpreter.budget(), b.first, a.first)
                       : is_less(interpreter.budget(), a.first, b.first);
  });
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return items;
}

Value sort_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items_of(interpreter.budget(), value)) {
    Value key = sort_key(interpreter, item, given.value_or(2, Value::none()), given.flag(1, false));
    keyed.emplace_back(std::move(key), std::move(item));
  }
  return Value::list(interpreter.budget(), sorted(interpreter, std::move(keyed), given.flag(0, false)));
}

Value dictsort_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = given.has(1) ? given.text(1) : "key";
  if (by != "key" && by != "value") fault("You can only sort by either \"key\" or \"value\"");
  if (value.is_undefined()) refuse_undefined(value);
  if (!value.is(Kind::kDict)) fault("dictsort takes a dict, not a value of type {}", type_name(value));
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, item] : value.dict().entries()) {
    const Value& sorted_by = by == "key" ? key : item;
    keyed.emplace_back(given.flag(0, false) ? sorted_by : without_case(interpreter, sorted_by),
                       Value::tuple(interpreter.budget(), {key, item}));
  }
  return Value::list(interpreter.budget(), sorted(interpreter, std::move(keyed), given.flag(2, false)));
}

template <bool wants_largest>
Value extreme_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("min", arguments, {"case_sensitive", "attribute"});
  const Value attribute = given.value_or(1, Value::none());
  std::optional<Value> best;
  Value best_key;
  const NextItem next = iterate(interpreter.budget(), value);
  while (auto item = next()) {
    Value key = value_at_path(interpreter, *item, attribute);
    if (!given.flag(0, false)) key = without_case(interpreter, key);
    const bool is_better = !best || (wants_largest ? is_less(interpreter.budget(), best_key, key)
                                                   : is_less(interpreter.budget(), key, best_key));
    if (!is_better) continue;
    best = std::move(item);
    best_key = std::move(key);
  }
  return best ? std::move(*best)
              : Value::undefined(interpreter.budget(), "No aggregated item, sequence was empty.");
}

Value batch_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("batch", arguments, {"linecount", "fill_with"}, 1);
  const std::int64_t size = given.whole(0, 1);
  std::vector<Value> batches;
  std::vector<Value> batch;
  const auto flush = [&] {
    batches.push_back(Value::list(interpreter.budget(), std::move(batch)));
    batch = {};
  };
  for (Value& item : items_of(interpreter.budget(), value)) {
    if (static_cast<std::int64_t>(batch.size()) == size) flush();
    batch.push_back(std::move(item));
  }
  if (!batch.empty()) {
    if (given.has_value(1) && size > 0) {
      Budget::check_items(static_cast<std::size_t>(size));
      while (static_cast<std::int64_t>(batch.size()) < size) batch.push_back(given[1]);
    }
    flush();
  }
  return iterator_over(interpreter, std::move(batches));
}

Value slice_filter(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  const Parameters given("slice", arguments, {"slices", "fill_with"}, 1);
  const std::vector<Value> items = items_of(interpreter.budget(), value);
  const std::int64_t count = given.whole(0, 1);
  if (count == 0) fault("slice: division by zero");
  if (count > 0) Budget::check_items(static_cast<std::size_t>(count));
  const auto size = static_cast<std::int64_t>(items.size());
  std::vector<Value> slices;
  std::int64_t begin = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const bool is_longer = i < size % count;
    const std::int64_t end = begin + size / count + (is_longer ? 1 : 0);
    std::vector<Value> slice(items.begin() + begin, items.begin() + end);
    if (given.has_value(1) && !is_longer) slice.push_back(given[1]);
    slices.push_back(Value::list(interpreter.budget(), std::move(slice)));
    begin = end;
  }
  return iterator_over(interpreter, std::move(slices));
}

constexpr std::array<NamedFilter, 11> kSequenceFilters = {{{"list", list_filter},
                                                           {"items", items_filter},
                                                           {"first", first_filter},
                                                           {"last", last_filter},
                                                           {"reverse", reverse_filter},
                                                           {"sort", sort_filter},
                                                           {"dictsort", dictsort_filter},
                                                           {"min", extreme_filter<false>},
                                                           {"max", extreme_filter<true>},
                                                           {"batch", batch_filter},
                                                           {"slice", slice_filter}}};

}  // namespace

FilterBody find_sequence_filter(std::string_view name) {
  const auto* found = std::ranges::find(kSequenceFilters, name, &NamedFilter::name);
  return found != kSequenceFilters.end() ? found->body : nullptr;
}

}  // namespace fathom::jinja
