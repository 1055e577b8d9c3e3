#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "text/jinja_value.h"

namespace fathom::jinja {

/// The variable `loop`: where a loop stands, and its items, of which it looks ahead as far as it is asked to.
struct Loop {
  std::int64_t index0 = -1;
  std::int64_t depth0 = 0;

  /// @param length  of all items; nullopt: they are counted when that is asked for
  Loop(Budget& budget, NextItem items, std::optional<std::int64_t> length)
      : charge_(budget, 512), budget_(budget), next_(std::move(items)), length_(length) {}
  ~Loop() { clear(); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// The next item, which becomes the current one; nullopt at the end.
  std::optional<Value> advance();
  /// The next item, which stays the next one.
  const Value* peek();
  /// Of all items; reads those that are left.
  std::int64_t length();
  [[nodiscard]] const Value& previous() const { return before_; }
  /// Whether the values differ from those of the last call.
  bool changed(std::vector<Value> values);

  /// Lets go of all items, at the loop's end: they may hold the loop.
  void clear();

  /// Renders the loop's body for other items; empty unless the loop is recursive.
  std::function<Value(const Value& items, std::int64_t depth)> recurse;

 private:
  /// The item that comes behind all that were read. A loop's condition may not ask for it again meanwhile.
  std::optional<Value> read();

  Charge charge_;
  Budget& budget_;
  NextItem next_;
  bool is_reading_ = false;
  std::optional<std::int64_t> length_;
  Value current_;
  Value before_;
  Value after_;
  std::vector<Value> rest_;  // read ahead for `length`
  std::size_t rest_at_ = 0;
  std::optional<std::vector<Value>> last_values_;
};

}  // namespace fathom::jinja
