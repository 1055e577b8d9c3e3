#include "base/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <mutex>

#include "base/log.h"

namespace fathom {
namespace {

constexpr double kTerminalInterval = 0.1;  // seconds between repaints
constexpr double kLogInterval = 5.0;

std::mutex output_mutex;
bool is_silent = false;
std::string shown_line;  // what stands on the terminal's last row now; empty when none

bool stderr_is_terminal() {
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  return terminal;
}

void paint(std::string_view text) {
  fmt::print(stderr, "\r\x1b[2K{}", text);
  std::fflush(stderr);
}

}  // namespace

void log_line(std::string_view level, std::string_view message) {
  const std::scoped_lock lock(output_mutex);
  if (is_silent) return;
  if (!shown_line.empty()) fmt::print(stderr, "\r\x1b[2K");
  fmt::print(stderr, "{}{}\n", level, message);
  if (!shown_line.empty()) paint(shown_line);
}

void silence_log() {
  const std::scoped_lock lock(output_mutex);
  is_silent = true;
}

ProgressLine::ProgressLine() = default;

ProgressLine::~ProgressLine() {
  const std::scoped_lock lock(output_mutex);
  if (!shown_line.empty()) fmt::print(stderr, "\n");
  shown_line.clear();
}

void ProgressLine::update(std::string_view text) {
  const std::scoped_lock lock(output_mutex);
  const double now = monotonic_seconds();
  if (now - last_shown_ < (stderr_is_terminal() ? kTerminalInterval : kLogInterval)) return;
  last_shown_ = now;
  if (stderr_is_terminal()) {
    shown_line = text;
    paint(shown_line);
  } else {
    fmt::print(stderr, "{}\n", text);
  }
}

void ProgressLine::finish(std::string_view text) {
  const std::scoped_lock lock(output_mutex);
  if (stderr_is_terminal()) paint("");
  shown_line.clear();
  fmt::print(stderr, "{}\n", text);
}

std::string format_duration(double seconds) {
  constexpr double kLongest = 1e15;  // beyond it, and for NaN, there is nothing to say
  if (!(seconds >= 0 && seconds < kLongest)) return "?";
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string format_count(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace fathom
