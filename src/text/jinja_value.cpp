#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace fathom::jinja {
namespace {

bool all_ascii(std::string_view text) {
  unsigned char seen = 0;
  for (const char c : text) seen |= static_cast<unsigned char>(c);
  return seen < 0x80;
}

int deepest(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth;
}

int checked_depth(int depth) {
  if (depth > Budget::kMaxValueDepth) fault("lists nested deeper than {} levels", Budget::kMaxValueDepth);
  return depth;
}

}  // namespace

Text::Text(Budget& the_budget, std::string the_text, bool markup)
    : budget(the_budget), text(std::move(the_text)), is_markup(markup), is_ascii(all_ascii(text)) {
  Budget::check_text_bytes(text.size());
  budget.take(cost());
}

Sequence::Sequence(Budget& the_budget, std::vector<Value> the_items)
    : budget(the_budget), items(std::move(the_items)), depth(checked_depth(1 + deepest(items))) {
  Budget::check_items(items.size());
  budget.take(sizeof(Sequence) + items.capacity() * sizeof(Value));
}
Sequence::~Sequence() {
  budget.give_back(sizeof(Sequence) + items.capacity() * sizeof(Value));
}

std::int64_t Range::size() const {
  if (step > 0 && start < stop)
    return static_cast<std::int64_t>(
               (static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start) - 1) /
               static_cast<std::uint64_t>(step)) +
           1;
  if (step < 0 && start > stop)
    return static_cast<std::int64_t>(
               (static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop) - 1) /
               (0 - static_cast<std::uint64_t>(step))) +
           1;
  return 0;
}

Value Value::undefined(Budget& budget, std::string message) {
  Value result(Kind::kUndefined);
  result.shared_ = std::make_shared<const Undefined>(budget, std::move(message));
  return result;
}

Value Value::text(Budget& budget, std::string text, bool is_markup) {
  Value result(Kind::kText);
  result.shared_ = std::make_shared<const Text>(budget, std::move(text), is_markup);
  return result;
}

Value Value::list(Budget& budget, std::vector<Value> items) {
  Value result(Kind::kList);
  result.shared_ = std::make_shared<const Sequence>(budget, std::move(items));
  return result;
}

Value Value::tuple(Budget& budget, std::vector<Value> items) {
  Value result(Kind::kTuple);
  result.shared_ = std::make_shared<const Sequence>(budget, std::move(items));
  return result;
}

Value Value::dict(std::shared_ptr<const Dict> dict) {
  Value result(Kind::kDict);
  result.shared_ = std::move(dict);
  return result;
}

Value Value::range(Range range) {
  Value result(Kind::kRange);
  result.shared_ = std::make_shared<const Range>(range);
  return result;
}

Value Value::view(const Value& dict, ViewKind kind) {
  Value result(Kind::kView);
  result.int_ = static_cast<std::int64_t>(kind);
  result.shared_ = dict.shared_;
  return result;
}

Value Value::iterator(Budget& budget, NextItem next, int depth) {
  Value result(Kind::kIterator);
  result.int_ = checked_depth(depth + 1);
  result.shared_ = std::make_shared<const Iterator>(budget, std::move(next));
  return result;
}

Value Value::of(Namespace& name_space) {
  Value result(Kind::kNamespace);
  result.owned_elsewhere_ = &name_space;
  return result;
}

Value Value::of(const Macro& macro) {
  Value result(Kind::kMacro);
  result.owned_elsewhere_ = const_cast<Macro*>(&macro);
  return result;
}

Value Value::loop(std::shared_ptr<Loop> loop) {
  Value result(Kind::kLoop);
  result.owned_elsewhere_ = loop.get();
  result.shared_ = std::move(loop);
  return result;
}

Value Value::function(Budget& budget, const char* name, FunctionBody body, Value self) {
  Value result(Kind::kFunction);
  result.shared_ = std::make_shared<const Function>(budget, name, body, std::move(self));
  return result;
}

int Value::depth() const {
  switch (kind_) {
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<const Sequence*>(shared_.get())->depth;
    case Kind::kDict:
      return dict().depth();
    case Kind::kView:
      return dict().depth() + 1;
    case Kind::kIterator:
      return static_cast<int>(int_);
    case Kind::kFunction:
      return function().self.depth() + 1;
    default:
      return 0;
  }
}

bool Value::same_as(const Value& other) const {
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case Kind::kMissing:
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return int_ == other.int_;
    case Kind::kFloat:
      return float_ == other.float_;
    case Kind::kNamespace:
    case Kind::kMacro:
      return owned_elsewhere_ == other.owned_elsewhere_;
    default:
      return shared_ == other.shared_;
  }
}

namespace {

int key_rank(const Value& key) {
  switch (key.kind()) {
    case Kind::kNone:
      return 0;
    case Kind::kBool:
    case Kind::kInt:
      return 1;
    case Kind::kFloat:
      return std::isnan(key.real()) ? 2 : 1;
    case Kind::kText:
      return 3;
    case Kind::kTuple:
      return 4;
    case Kind::kUndefined:
      return 5;
    case Kind::kRange:
      return 6;
    default:
      return 7;
  }
}

// Exact where a long double holds every int of 64 bits, as it does here and on AArch64.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral())
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
  const auto left =
      a.is_integral() ? static_cast<long double>(a.integer()) : static_cast<long double>(a.real());
  const auto right =
      b.is_integral() ? static_cast<long double>(b.integer()) : static_cast<long double>(b.real());
  return left < right ? -1 : left > right ? 1 : 0;
}

int compare_keys(const Value& a, const Value& b) {
  const int rank = key_rank(a);
  if (rank != key_rank(b)) return rank < key_rank(b) ? -1 : 1;
  if (rank == 1) return compare_numbers(a, b);
  if (rank == 3) return a.str().compare(b.str());
  if (rank == 4) {
    for (std::size_t i = 0; i < a.items().size() && i < b.items().size(); ++i)
      if (const int order = compare_keys(a.items()[i], b.items()[i]); order != 0) return order;
    return a.items().size() < b.items().size() ? -1 : a.items().size() > b.items().size() ? 1 : 0;
  }
  if (rank == 6) {
    const auto as_tuple = [](const Range& range) { return std::tuple(range.start, range.stop, range.step); };
    return as_tuple(a.range()) < as_tuple(b.range()) ? -1 : as_tuple(a.range()) > as_tuple(b.range()) ? 1 : 0;
  }
  return 0;
}

}  // namespace

bool KeyLess::operator()(const Value& a, const Value& b) const {
  return compare_keys(a, b) < 0;
}

namespace {

constexpr std::size_t kMaxKeyValues = 256;

/// Adds the bytes of a key, and counts the values that it is made of.
void measure_key(const Value& key, std::size_t& values, std::size_t& bytes) {
  if (++values > kMaxKeyValues) fault("a key of more than {} values", kMaxKeyValues);
  switch (key.kind()) {
    case Kind::kText:
      bytes += key.str().size();
      return;
    case Kind::kNone:
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
    case Kind::kUndefined:
    case Kind::kRange:
      return;
    case Kind::kTuple:
      for (const Value& item : key.items()) measure_key(item, values, bytes);
      return;
    default:
      fault("a value of type {} cannot be a key", type_name(key));
  }
}

}  // namespace

void spend_on_key(Budget& budget, const Value& key) {
  constexpr std::size_t kComparisons = 16;  // on the way to its place
  std::size_t values = 0;
  std::size_t bytes = 0;
  measure_key(key, values, bytes);
  budget.spend_on_bytes(kComparisons * bytes + values);
}

namespace {
constexpr std::size_t kEntryCost = 2 * sizeof(Value) + 64;
}

Dict::~Dict() {
  budget_.give_back(entries_.size() * kEntryCost);
}

std::size_t Dict::place_of(const Value& key) const {
  if (!index_.empty()) {
    const auto found = index_.find(key);
    return found == index_.end() ? entries_.size() : found->second;
  }
  std::size_t place = 0;
  while (place < entries_.size() && compare_keys(entries_[place].first, key) != 0) ++place;
  return place;
}

const Value* Dict::find(const Value& key) const {
  spend_on_key(budget_, key);
  const std::size_t place = place_of(key);
  return place < entries_.size() ? &entries_[place].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  if (index_.empty()) {
    for (const auto& [name, value] : entries_)
      if (name.is_text() && name.str() == key) return &value;
    return nullptr;
  }
  return find(Value::text(budget_, std::string(key)));
}

void Dict::set(Value key, Value value) {
  spend_on_key(budget_, key);
  depth_ = checked_depth(std::max({depth_, 1 + value.depth(), 1 + key.depth()}));
  const std::size_t place = place_of(key);
  if (place < entries_.size()) {
    entries_[place].second = std::move(value);
    return;
  }
  Budget::check_items(entries_.size() + 1);
  budget_.take(kEntryCost);
  entries_.emplace_back(std::move(key), std::move(value));
  if (entries_.size() < kIndexedFrom) return;
  if (index_.empty()) {
    for (std::size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].first, i);
  } else {
    index_.emplace(entries_.back().first, place);
  }
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kText:
      return value.text().is_markup ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kView:
      return value.view_kind() == ViewKind::kKeys     ? "dict_keys"
             : value.view_kind() == ViewKind::kValues ? "dict_values"
                                                      : "dict_items";
    case Kind::kIterator:
      return "generator";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kMacro:
      return "Macro";
    case Kind::kFunction:
      return "function";
  }
  return "object";
}

}  // namespace fathom::jinja
