#include "serve/completion_sender.h"

#include <chrono>
#include <string_view>
#include <utility>

#include "serve/api_error.h"

namespace fathom {
namespace {

/// How long nothing is sent before it is tried whether the client is still there.
constexpr std::chrono::milliseconds kClientCheck{200};
/// What is sent for that, and means nothing: a comment in a stream of events, a space before a JSON text.
constexpr std::string_view kEmptyEvent = ":\n\n";
constexpr std::string_view kEmptyJson = " ";

bool send_text(httplib::DataSink& sink, std::string_view text) {
  return sink.write(text.data(), text.size());
}

bool send_event(httplib::DataSink& sink, const std::string& data) {
  return send_text(sink, "data: " + data + "\n\n");
}

}  // namespace

bool SendingCount::enter(std::size_t most) {
  const std::scoped_lock lock(mutex_);
  if (count_ >= most) return false;
  ++count_;
  return true;
}

void SendingCount::leave() {
  const std::scoped_lock lock(mutex_);
  --count_;
  // With the lock held: whoever waits may destroy this next.
  changed_.notify_all();
}

std::size_t SendingCount::count() const {
  const std::scoped_lock lock(mutex_);
  return count_;
}

void SendingCount::wait_for_none() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return count_ == 0; });
}

CompletionSender::CompletionSender(Engine& engine, SendingCount& count, CompletionLabel label,
                                   const CompletionRequest& request)
    : engine_(engine),
      count_(count),
      label_(std::move(label)),
      streams_(request.stream),
      includes_usage_(request.include_usage) {}

CompletionSender::~CompletionSender() {
  if (request_) engine_.cancel(request_);
  count_.leave();
}

void CompletionSender::submit(std::vector<std::int32_t> prompt, const GenerationOptions& options) {
  request_ = engine_.submit(
      std::move(prompt), options, [stream = stream_](std::string_view text) { stream->push(text); },
      [stream = stream_](Outcome outcome) { stream->end(std::move(outcome)); });
}

const char* CompletionSender::content_type() const {
  return streams_ ? "text/event-stream" : "application/json";
}

bool CompletionSender::send(httplib::DataSink& sink) {
  const AnswerStream::News news = stream_->wait(kClientCheck);
  const auto now = std::chrono::steady_clock::now();
  if (streams_ && !news.text.empty()) {
    if (!send_event(sink, completion_chunk_json(label_, news.text))) return false;
    last_sent_ = now;
  }
  if (news.outcome) return send_end(sink, *news.outcome);
  if (now - last_sent_ < kClientCheck) return true;
  last_sent_ = now;
  return send_text(sink, streams_ ? kEmptyEvent : kEmptyJson);
}

bool CompletionSender::send_end(httplib::DataSink& sink, const Outcome& outcome) {
  request_.reset();
  const bool has_failed = !outcome.error.empty();
  const std::string failure = has_failed ? error_json({500, "server_error", outcome.error}) : std::string();
  if (!streams_) {
    if (!send_text(sink, has_failed ? failure : completion_json(label_, outcome.answer))) return false;
  } else {
    if (!send_event(sink, has_failed ? failure : completion_chunk_json(label_, {}, outcome.answer.reason)))
      return false;
    if (includes_usage_ && !send_event(sink, completion_usage_json(label_, outcome.answer.stats)))
      return false;
    if (!send_event(sink, "[DONE]")) return false;
  }
  sink.done();
  return true;
}

}  // namespace fathom
