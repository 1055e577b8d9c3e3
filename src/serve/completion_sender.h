#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "serve/answer_stream.h"
#include "serve/completion_json.h"
#include "serve/completion_request.h"
#include "serve/http_library.h"

namespace fathom {

/// How many completions are being sent, so that there are not too many and the end can wait for them.
class SendingCount {
 public:
  /// @return  whether there was room for one more
  bool enter(std::size_t most);
  void leave();
  [[nodiscard]] std::size_t count() const;
  void wait_for_none();

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t count_ = 0;
};

/// A completion on its way from the engine to a client: whole at the end, or as server-sent events. However
/// it goes, with the sender its request has ended.
class CompletionSender {
 public:
  /// Keeps references. @param count  that this one has entered, and leaves
  CompletionSender(Engine& engine, SendingCount& count, CompletionLabel label,
                   const CompletionRequest& request);
  ~CompletionSender();
  CompletionSender(const CompletionSender&) = delete;
  CompletionSender& operator=(const CompletionSender&) = delete;

  /// See `Engine::submit`.
  void submit(std::vector<std::int32_t> prompt, const GenerationOptions& options);

  [[nodiscard]] const char* content_type() const;

  /// Sends what is new: a content provider of cpp-httplib, which calls it again and again. Where there is
  /// nothing for a while it sends what means nothing, as only that shows whether the client is still there.
  /// @return  false: the client has gone
  bool send(httplib::DataSink& sink);

 private:
  bool send_end(httplib::DataSink& sink, const Outcome& outcome);

  Engine& engine_;
  SendingCount& count_;
  CompletionLabel label_;
  bool streams_;
  bool includes_usage_;
  std::chrono::steady_clock::time_point last_sent_ = std::chrono::steady_clock::now();
  std::shared_ptr<AnswerStream> stream_ = std::make_shared<AnswerStream>();  // shared with the engine
  Engine::Request request_;                                                  // until it has ended
};

}  // namespace fathom
