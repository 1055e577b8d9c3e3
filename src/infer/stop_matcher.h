#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// Finds stop strings in text that comes in pieces. Text that may turn out to be the beginning of a stop
/// string is held back until it is known not to be.
class StopMatcher {
 public:
  /// Empty stop strings are left out: every text holds them.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Takes the next piece and returns what may be shown now. Once a stop string has been found, the text
  /// before it has been returned, and nothing more will be.
  std::string push(std::string_view piece);
  /// No more pieces: what was held back.
  std::string finish();

  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace fathom
