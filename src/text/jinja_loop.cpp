#include "text/jinja_loop.h"

#include "text/jinja_operators.h"

namespace fathom::jinja {

std::optional<Value> Loop::advance() {
  std::optional<Value> item;
  if (!after_.is_missing()) {
    item = std::move(after_);
    after_ = Value();
  } else if (rest_at_ < rest_.size()) {
    item = rest_[rest_at_++];
  } else if (next_) {
    item = next_();
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
    } else if (next_) {
      if (auto item = next_()) after_ = std::move(*item);
    }
  }
  return after_.is_missing() ? nullptr : &after_;
}

std::int64_t Loop::length() {
  if (!length_) {
    while (next_) {
      auto item = next_();
      if (!item) break;
      Budget::check_items(rest_.size() + 1);
      rest_.push_back(std::move(*item));
    }
    next_ = nullptr;
    length_ = static_cast<std::int64_t>(rest_.size() - rest_at_) + index0 + 1 + (after_.is_missing() ? 0 : 1);
  }
  return *length_;
}

bool Loop::changed(Budget& budget, std::vector<Value> values) {
  if (last_values_ && last_values_->size() == values.size()) {
    bool are_same = true;
    for (std::size_t i = 0; i < values.size() && are_same; ++i)
      are_same = are_equal(budget, values[i], (*last_values_)[i]);
    if (are_same) return false;
  }
  last_values_ = std::move(values);
  return true;
}

void Loop::clear() {
  next_ = nullptr;
  recurse = nullptr;
  current_ = before_ = after_ = Value();
  rest_.clear();
  rest_at_ = 0;
  last_values_.reset();
}

}  // namespace fathom::jinja
