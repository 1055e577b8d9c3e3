#pragma once

#include <fmt/core.h>

#include <cstddef>
#include <exception>
#include <string>
#include <utility>

namespace fathom::jinja {

/// Why a template cannot go on, without the place: who knows the line adds it.
class Fault : public std::exception {
 public:
  explicit Fault(std::string message, bool is_refusal = false)
      : message_(std::move(message)), is_refusal_(is_refusal) {}
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
  /// Whether the template itself said so, by `raise_exception`.
  [[nodiscard]] bool is_refusal() const { return is_refusal_; }

 private:
  std::string message_;
  bool is_refusal_;
};

/// Throws a `Fault` with a formatted message.
template <typename... Args>
[[noreturn]] void fault(fmt::format_string<Args...> format, Args&&... args) {
  throw Fault(fmt::vformat(format, fmt::make_format_args(args...)));
}

/// What anybody's template may use: a second or so of time, and memory. What people write takes a thousandth
/// of it.
class Budget {
 public:
  static constexpr std::size_t kMaxTextBytes = 64U << 20U;  // of one string, and of the output
  static constexpr std::size_t kMaxItems = 1'000'000;       // of one list or dict
  static constexpr int kMaxValueDepth = 200;                // of lists in lists
  static constexpr int kMaxDepth = 1000;                    // of evaluation: expressions, blocks, macros

  Budget() = default;
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  void spend(std::size_t steps = 1) {
    if (steps > steps_left_)
      fault("the template does not come to an end: it was stopped after {} steps", kMaxSteps);
    steps_left_ -= steps;
  }
  /// For work on so many bytes, some sixty of which take as long as a step.
  void spend_on_bytes(std::size_t bytes) { spend(bytes / 64 + 1); }

  void take(std::size_t bytes) {
    if (bytes > bytes_left_) fault("the template needs more than {} MiB of memory", kMaxBytes >> 20U);
    bytes_left_ -= bytes;
  }
  void give_back(std::size_t bytes) noexcept { bytes_left_ += bytes; }

  static void check_text_bytes(std::size_t bytes) {
    if (bytes > kMaxTextBytes) fault("a text becomes longer than {} MiB", kMaxTextBytes >> 20U);
  }
  static void check_items(std::size_t items) {
    if (items > kMaxItems) fault("a sequence becomes longer than {} items", kMaxItems);
  }

  /// One level of evaluation deeper, for as long as it lives.
  class Level {
   public:
    explicit Level(Budget& budget) : budget_(budget) {
      if (++budget_.depth_ > kMaxDepth) {
        --budget_.depth_;
        fault("the template calls itself too often, or nests deeper than {} levels", kMaxDepth);
      }
    }
    ~Level() { --budget_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
  };

 private:
  static constexpr std::size_t kMaxSteps = 30'000'000;
  static constexpr std::size_t kMaxBytes = 512U << 20U;
  std::size_t steps_left_ = kMaxSteps;
  std::size_t bytes_left_ = kMaxBytes;
  int depth_ = 0;
};

/// Memory that something takes for as long as it lives.
class Charge {
 public:
  Charge(Budget& budget, std::size_t bytes) : budget_(budget), bytes_(bytes) { budget.take(bytes); }
  ~Charge() { budget_.give_back(bytes_); }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

 private:
  Budget& budget_;
  std::size_t bytes_;
};

/// A text that grows within bounds.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(budget) {}
  void append(std::string_view text) {
    Budget::check_text_bytes(text_.size() + text.size());
    budget_.spend_on_bytes(text.size());
    text_ += text;
  }
  void append(std::size_t count, char c) {
    if (count > Budget::kMaxTextBytes) Budget::check_text_bytes(count);
    Budget::check_text_bytes(text_.size() + count);
    budget_.spend_on_bytes(count);
    text_.append(count, c);
  }
  [[nodiscard]] std::size_t size() const { return text_.size(); }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  Budget& budget_;
  std::string text_;
};

}  // namespace fathom::jinja
