#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace fathom {

/// A program that answers lines with lines did not.
class LineServerFailure : public Error {
 public:
  using Error::Error;
};

/// A program of the user's that stays and answers each line on its standard input with one on its standard
/// output. Its standard error is ours. It runs as we do: not in a sandbox.
class LineServer {
 public:
  /// Started when it is first asked. @param seconds  that an answer may take
  LineServer(std::filesystem::path program, std::vector<std::string> arguments, double seconds);
  ~LineServer();
  LineServer(const LineServer&) = delete;
  LineServer& operator=(const LineServer&) = delete;

  /// @param line  without its end
  /// Throws `LineServerFailure` where the program cannot be started, has ended, takes too long, or writes
  /// more than a line or one of more than 1 MiB. It is ended then, and started anew when it is next asked.
  std::string ask(std::string_view line);

 private:
  void start();
  void stop();
  std::string exchange(std::string_view line);
  [[noreturn]] void give_up(const std::string& why);

  std::filesystem::path program_;
  std::vector<std::string> arguments_;
  double seconds_;
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
};

}  // namespace fathom
