#include "serve/answer_stream.h"

#include <utility>

namespace fathom {

void AnswerStream::push(std::string_view text) {
  {
    const std::scoped_lock lock(mutex_);
    news_.text += text;
  }
  changed_.notify_one();
}

void AnswerStream::end(Outcome outcome) {
  {
    const std::scoped_lock lock(mutex_);
    news_.outcome = std::move(outcome);
  }
  changed_.notify_one();
}

AnswerStream::News AnswerStream::wait(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, most, [this] { return !news_.text.empty() || news_.outcome; });
  return std::exchange(news_, {});
}

}  // namespace fathom
