#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace fathom {

/// Messages for people go to standard error, one line each, so that standard output stays data.
/// They step around a live progress line (base/progress.h).
void log_line(std::string_view level, std::string_view message);

/// No more of them, from this process: of several that do the same one is enough.
void silence_log();

template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line("", fmt::vformat(format, fmt::make_format_args(args...)));
}

template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line("warning: ", fmt::vformat(format, fmt::make_format_args(args...)));
}

}  // namespace fathom
