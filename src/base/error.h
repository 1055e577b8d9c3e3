#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace fathom {

/// Anything that went wrong for a reason outside the program: a file, a value, the machine.
/// The message is one line that says what, where, and what to do. The command line prints it and exits
/// with 1.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

/// A command or an option used wrongly; exits with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Throws `Error` with a formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::vformat(format, fmt::make_format_args(args...)));
}

/// Throws `Error` with a formatted message unless `condition` holds.
template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    throw Error(fmt::vformat(format, fmt::make_format_args(args...)));
}

/// `text` from outside made fit for a one-line message: control characters are shown as \xNN, and what lies
/// beyond some 200 bytes is left out.
std::string printable(std::string_view text);

/// The text of `errno`, for messages: "No space left on device".
std::string errno_text(int error_number);

}  // namespace fathom
