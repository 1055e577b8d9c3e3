#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "infer/engine_request.h"

namespace fathom {

/// An answer on its way from the engine, which must not wait, to a client, who may be slow.
class AnswerStream {
 public:
  // By the engine:
  void push(std::string_view text);
  void end(Outcome outcome);

  struct News {
    std::string text;                // since the last time
    std::optional<Outcome> outcome;  // the end, once
  };
  /// Waits until there is something new, but not longer than that; then it may be nothing.
  News wait(std::chrono::milliseconds most);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  News news_;
};

}  // namespace fathom
