#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "text/grammar.h"

namespace fathom {

/// A grammar as a pushdown automaton over the bytes of UTF-8: for each rule a deterministic automaton whose
/// edges are bytes and calls of rules. All rules' states are numbered together.
class GrammarAutomaton {
 public:
  using State = std::uint32_t;
  static constexpr State kNone = ~State{0};

  struct Call {
    State start = 0;  // of the rule that is called
    State after = 0;  // where to go on when it has ended
  };

  /// Throws `Error` where a rule is left-recursive (also by way of rules that may be empty), has no end, or
  /// needs too many states: anybody may have written the grammar.
  explicit GrammarAutomaton(const Grammar& grammar);

  /// Whether `text` is one of the grammar's. Throws `Error` as `GrammarStepper` does.
  [[nodiscard]] bool stands_for(std::string_view text) const;

  /// Of the first rule.
  [[nodiscard]] State start() const { return start_; }
  [[nodiscard]] std::size_t size() const { return info_.size() - 1; }
  /// After a byte; `kNone` where it does not go on with that one within the rule.
  [[nodiscard]] State next(State state, std::uint8_t byte) const {
    return next_[state * classes_ + class_of_[byte]];
  }
  [[nodiscard]] std::span<const Call> calls(State state) const {
    return std::span(calls_).subspan(info_[state].calls, info_[state + 1].calls - info_[state].calls);
  }
  /// Whether the rule may end here.
  [[nodiscard]] bool is_final(State state) const { return info_[state].is_final; }
  [[nodiscard]] bool has_bytes(State state) const { return info_[state].has_bytes; }
  /// Whether bytes are all there is: no calls, no end.
  [[nodiscard]] bool is_plain(State state) const { return info_[state].is_plain; }
  /// Whether the rule ends here, whatever comes.
  [[nodiscard]] bool only_ends(State state) const { return info_[state].only_ends; }

 private:
  struct Info {
    std::uint32_t calls = 0;  // first one in calls_
    bool is_final = false;
    bool has_bytes = false;
    bool is_plain = false;
    bool only_ends = false;
  };

  State start_ = 0;
  std::array<std::uint8_t, 256> class_of_{};  // bytes that no edge tells apart share a class
  std::size_t classes_ = 0;
  std::vector<State> next_;  // [states, classes]
  std::vector<Call> calls_;
  std::vector<Info> info_;  // [states], and one for the end of the last one's calls
};

}  // namespace fathom
