#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_budget.h"

namespace fathom::jinja {

class Dict;
class Interpreter;
class Value;
struct Arguments;

/// Python's types, as far as templates meet them.
enum class Kind : std::uint8_t {
  kMissing,    // a variable's place that holds nothing yet; no expression has this value
  kUndefined,  // what a name that is nowhere stands for
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,      // keys(), values() or items() of a dict
  kIterator,  // a generator: goes over its items once
  kNamespace,
  kLoop,  // the variable `loop`
  kMacro,
  kFunction,  // built in, or a method with the object it belongs to
};

/// A string. UTF-8; Python counts its characters.
struct Text {
  Text(Budget& the_budget, std::string the_text, bool markup);
  ~Text() { budget.give_back(cost()); }
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  [[nodiscard]] std::size_t cost() const { return sizeof(Text) + text.capacity(); }

  Budget& budget;
  const std::string text;
  const bool is_markup;  // what the filter `safe` made: adding to it escapes what is added
  const bool is_ascii;
};

/// A list or a tuple.
struct Sequence {
  Sequence(Budget& the_budget, std::vector<Value> the_items);
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  Budget& budget;
  const std::vector<Value> items;
  int depth = 1;  // of the lists and dicts in it, itself included
};

struct Range {
  std::int64_t start = 0;
  std::int64_t stop = 0;
  std::int64_t step = 1;
  [[nodiscard]] std::int64_t size() const;
};

enum class ViewKind : std::uint8_t { kKeys, kValues, kItems };

/// What an undefined value says when it is used.
struct Undefined {
  Undefined(Budget& budget, std::string the_message)
      : charge(budget, sizeof(Undefined) + the_message.capacity()), message(std::move(the_message)) {}
  const Charge charge;
  const std::string message;
};

/// Gives one item after another, then nullopt.
using NextItem = std::function<std::optional<Value>()>;

struct Iterator {
  Iterator(Budget& budget, NextItem the_next) : charge(budget, 256), next(std::move(the_next)) {}
  const Charge charge;
  const NextItem next;
};

struct Namespace;
struct Loop;
struct Macro;

using FunctionBody = Value (*)(Interpreter&, const Value& self, const Arguments&);

/// A value. Cheap to copy: what is large is shared and never changes, save namespaces, loops and iterators.
/// Namespaces and macros belong to the interpreter, so that values cannot hold one another for ever.
class Value {
 public:
  Value() = default;
  static Value none() { return Value(Kind::kNone); }
  static Value boolean(bool value) {
    Value result(Kind::kBool);
    result.int_ = value ? 1 : 0;
    return result;
  }
  static Value integer(std::int64_t value) {
    Value result(Kind::kInt);
    result.int_ = value;
    return result;
  }
  static Value real(double value) {
    Value result(Kind::kFloat);
    result.float_ = value;
    return result;
  }
  static Value undefined(Budget& budget, std::string message);
  static Value text(Budget& budget, std::string text, bool is_markup = false);
  static Value list(Budget& budget, std::vector<Value> items);
  static Value tuple(Budget& budget, std::vector<Value> items);
  static Value dict(std::shared_ptr<const Dict> dict);
  static Value range(Range range);
  static Value view(const Value& dict, ViewKind kind);
  /// @param depth  of the values that it goes over
  static Value iterator(Budget& budget, NextItem next, int depth);
  static Value of(Namespace& name_space);
  static Value of(const Macro& macro);
  static Value loop(std::shared_ptr<Loop> loop);
  /// @param name  that of a string constant of the program
  static Value function(Budget& budget, const char* name, FunctionBody body, Value self);

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] bool is(Kind kind) const { return kind_ == kind; }
  [[nodiscard]] bool is_missing() const { return kind_ == Kind::kMissing; }
  [[nodiscard]] bool is_undefined() const { return kind_ == Kind::kUndefined; }
  [[nodiscard]] bool is_none() const { return kind_ == Kind::kNone; }
  [[nodiscard]] bool is_text() const { return kind_ == Kind::kText; }
  /// Whether it is a number that Python computes with as an int: also True and False.
  [[nodiscard]] bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  [[nodiscard]] bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }
  [[nodiscard]] bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }

  // Each of the kind that its name says; nothing checks that.
  [[nodiscard]] bool boolean() const { return int_ != 0; }
  [[nodiscard]] std::int64_t integer() const { return int_; }
  [[nodiscard]] double real() const { return kind_ == Kind::kFloat ? float_ : static_cast<double>(int_); }
  [[nodiscard]] const Text& text() const { return *static_cast<const Text*>(shared_.get()); }
  [[nodiscard]] const std::string& str() const { return text().text; }
  [[nodiscard]] const std::vector<Value>& items() const {
    return static_cast<const Sequence*>(shared_.get())->items;
  }
  [[nodiscard]] const Dict& dict() const { return *static_cast<const Dict*>(shared_.get()); }
  [[nodiscard]] const Range& range() const { return *static_cast<const Range*>(shared_.get()); }
  [[nodiscard]] ViewKind view_kind() const { return static_cast<ViewKind>(int_); }
  [[nodiscard]] const std::string& undefined_message() const {
    return static_cast<const Undefined*>(shared_.get())->message;
  }
  [[nodiscard]] const NextItem& next_item() const {
    return static_cast<const Iterator*>(shared_.get())->next;
  }
  [[nodiscard]] Namespace& name_space() const { return *static_cast<Namespace*>(owned_elsewhere_); }
  [[nodiscard]] const Macro& macro() const { return *static_cast<const Macro*>(owned_elsewhere_); }
  [[nodiscard]] Loop& loop() const { return *static_cast<Loop*>(owned_elsewhere_); }
  [[nodiscard]] std::shared_ptr<Loop> shared_loop() const {
    return {shared_, static_cast<Loop*>(owned_elsewhere_)};
  }
  struct Function;
  [[nodiscard]] const Function& function() const { return *static_cast<const Function*>(shared_.get()); }

  /// How deep lists and dicts nest in it: 0 for what holds no values.
  [[nodiscard]] int depth() const;
  /// Python's `is`: the same object.
  [[nodiscard]] bool same_as(const Value& other) const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kMissing;
  union {
    std::int64_t int_ = 0;
    double float_;
    void* owned_elsewhere_;
  };
  std::shared_ptr<const void> shared_;
};

struct Value::Function {
  Function(Budget& budget, const char* the_name, FunctionBody the_body, Value the_self)
      : charge(budget, sizeof(Function)), name(the_name), body(the_body), self(std::move(the_self)) {}
  const Charge charge;
  const char* const name;
  const FunctionBody body;
  const Value self;
};

/// Order of dict keys, by which equal keys of Python are equal: 1, 1.0 and True are.
struct KeyLess {
  bool operator()(const Value& a, const Value& b) const;
};

/// A dict: keys in the order in which they came.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  explicit Dict(Budget& budget) : budget_(budget) {}
  ~Dict();
  Dict(const Dict&) = delete;
  Dict& operator=(const Dict&) = delete;

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  [[nodiscard]] const Value* find(const Value& key) const;
  [[nodiscard]] const Value* find(std::string_view key) const;
  /// Adds the key or gives it another value. Throws `Fault` when no dict may have the key.
  void set(Value key, Value value);
  [[nodiscard]] int depth() const { return depth_; }

 private:
  static constexpr std::size_t kIndexedFrom = 9;
  [[nodiscard]] std::size_t place_of(const Value& key) const;

  Budget& budget_;
  std::vector<Entry> entries_;
  std::map<Value, std::size_t, KeyLess> index_;  // empty while there are few
  int depth_ = 1;
};

/// Lets a value be a key: spends what comparing it with others takes. Throws `Fault` when Python could not
/// hash it, and for tuples of very many values.
void spend_on_key(Budget& budget, const Value& key);

struct Namespace {
  explicit Namespace(Budget& budget) : attributes(budget) {}
  Dict attributes;
};

/// Arguments of a call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// Python's name of the value's type.
std::string_view type_name(const Value& value);

}  // namespace fathom::jinja
