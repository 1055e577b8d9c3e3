#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fathom {

/// A live line on standard error that a later one overwrites; on anything but a terminal, a plain line at
/// most every few seconds, so that logs stay short. Thread-safe; one line at a time in a process.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Shows `text` (no newline in it). Rate-limited: call it as often as you like.
  void update(std::string_view text);
  /// Shows `text` now and ends the line; later output starts below.
  void finish(std::string_view text);

 private:
  double last_shown_ = -1e9;  // seconds
};

/// "1.2 s", "3m 05s", "2h 10m".
std::string format_duration(double seconds);
/// "512 B", "1.4 MiB", "8.9 GiB".
std::string format_bytes(std::uint64_t bytes);
/// "1,234,567".
std::string format_count(std::uint64_t count);

/// Seconds on a clock that never goes back.
double monotonic_seconds();

}  // namespace fathom
