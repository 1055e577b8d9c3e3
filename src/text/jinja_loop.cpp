#include "text/jinja_loop.h"

#include "text/jinja_operators.h"

namespace fathom::jinja {
namespace {
constexpr std::size_t kItemCost = 2 * sizeof(Value);
}

std::optional<Value> Loop::read() {
  if (is_reading_) fault("the condition of a loop asks for the loop's next item");
  if (!next_) return std::nullopt;
  struct Reading {
    bool& flag;
    explicit Reading(bool& the_flag) : flag(the_flag) { flag = true; }
    ~Reading() { flag = false; }
  } const reading(is_reading_);
  return next_();
}

std::optional<Value> Loop::advance() {
  std::optional<Value> item;
  if (!after_.is_missing()) {
    item = std::move(after_);
    after_ = Value();
  } else if (rest_at_ < rest_.size()) {
    item = rest_[rest_at_++];
  } else {
    item = read();
  }
  if (!item) return std::nullopt;
  ++index0;
  before_ = std::move(current_);
  current_ = *item;
  return item;
}

const Value* Loop::peek() {
  if (after_.is_missing()) {
    if (rest_at_ < rest_.size()) {
      after_ = rest_[rest_at_++];
    } else if (auto item = read()) {
      after_ = std::move(*item);
    }
  }
  return after_.is_missing() ? nullptr : &after_;
}

std::int64_t Loop::length() {
  if (!length_) {
    while (auto item = read()) {
      Budget::check_items(rest_.size() + 1);
      budget_.take(kItemCost);
      rest_.push_back(std::move(*item));
    }
    length_ = static_cast<std::int64_t>(rest_.size() - rest_at_) + index0 + 1 + (after_.is_missing() ? 0 : 1);
  }
  return *length_;
}

bool Loop::changed(std::vector<Value> values) {
  if (last_values_ && last_values_->size() == values.size()) {
    bool are_same = true;
    for (std::size_t i = 0; i < values.size() && are_same; ++i)
      are_same = are_equal(budget_, values[i], (*last_values_)[i]);
    if (are_same) return false;
  }
  last_values_ = std::move(values);
  return true;
}

void Loop::clear() {
  next_ = nullptr;
  recurse = nullptr;
  current_ = before_ = after_ = Value();
  budget_.give_back(rest_.size() * kItemCost);
  rest_.clear();
  rest_at_ = 0;
  last_values_.reset();
}

}  // namespace fathom::jinja
