#include "posttrain/eval_run.h"

#include <fmt/core.h>

#include <map>
#include <optional>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"

namespace fathom {
namespace {

/// What is asked next, in order of problems.
class EvalQueue {
 public:
  struct Item {
    std::size_t task = 0;
    std::int64_t index = 0;
    std::int64_t sample = -1;
  };

  EvalQueue(const std::vector<std::unique_ptr<Task>>& tasks, const EvalSettings& settings,
            const EvalPlan& plan)
      : tasks_(tasks), plan_(plan), at_{0, 0, plan.greedy ? -1 : 0} {
    for (const auto& task : tasks)
      counts_.push_back(eval_problems(*task, split_of(settings.split), plan.count));
  }

  [[nodiscard]] std::int64_t all() const {
    std::int64_t problems = 0;
    for (const std::int64_t count : counts_) problems += count;
    return problems * (plan_.samples + (plan_.greedy ? 1 : 0));
  }

  std::optional<Item> next(const EvalLog& log) {
    while (at_.task < tasks_.size()) {
      const Item item = at_;
      advance();
      if (item.index < counts_[item.task] && item.sample < plan_.samples &&
          !log.has(tasks_[item.task]->name(), item.index, item.sample))
        return item;
    }
    return std::nullopt;
  }

 private:
  void advance() {
    if (++at_.sample < plan_.samples) return;
    at_.sample = plan_.greedy ? -1 : 0;
    if (++at_.index < counts_[at_.task]) return;
    at_.index = 0;
    ++at_.task;
  }

  const std::vector<std::unique_ptr<Task>>& tasks_;
  EvalPlan plan_;
  std::vector<std::int64_t> counts_;
  Item at_;
};

/// The questions and answers of one call of `run_eval`.
class EvalRound {
 public:
  EvalRound(const Tokenizer& tokenizer, const PromptFormat& format,
            const std::vector<std::unique_ptr<Task>>& tasks, const EvalSettings& settings,
            const EvalPlan& plan, std::int64_t max_positions, EvalLog& log)
      : tokenizer_(tokenizer),
        format_(format),
        tasks_(tasks),
        settings_(settings),
        split_(split_of(settings.split)),
        max_positions_(max_positions),
        log_(log),
        queue_(tasks, settings, plan) {
    EvalQueue missing = queue_;
    progress_.all = progress_.done = queue_.all();
    while (missing.next(log)) --progress_.done;
  }

  [[nodiscard]] const EvalProgress& progress() const { return progress_; }

  std::optional<AnswerRequest> next() {
    while (const auto item = queue_.next(log_)) {
      Asked asked{*item, tasks_[item->task]->problem(split_, settings_.seed, item->index)};
      AnswerRequest request;
      request.prompt = prompt_ids(tokenizer_, format_, asked.problem.turns, settings_.prefix);
      if (std::ssize(request.prompt) >= max_positions_) {
        // One such problem must not end the evaluation of all others.
        GivenAnswer none;
        none.reason = StopReason::context_full;
        receive(asked, std::move(none));
        continue;
      }
      request.id = next_id_++;
      request.prefix = settings_.prefix;
      request.think_tokens = settings_.think_tokens;
      request.options.max_tokens = settings_.max_tokens;
      request.options.stop = format_.stops();
      request.options.sampling.temperature = item->sample < 0 ? 0 : settings_.temperature;
      request.options.sampling.top_p = settings_.top_p;
      request.options.sampling.seed =
          checksum(fmt::format("{} {} {} {}", settings_.seed, asked.problem.id(), item->index, item->sample));
      asked_.emplace(request.id, std::move(asked));
      return request;
    }
    return std::nullopt;
  }

  void receive(GivenAnswer answer) {
    const auto asked = asked_.find(answer.id);
    receive(asked->second, std::move(answer));
    asked_.erase(asked);
  }

 private:
  struct Asked {
    EvalQueue::Item item;
    Problem problem;
  };

  void receive(const Asked& asked, GivenAnswer answer) {
    const Task& task = *tasks_[asked.item.task];
    EvalSample sample;
    sample.reward = task.score(asked.problem, {answer.text, answer.tokens});
    sample.task = task.name();
    sample.index = asked.item.index;
    sample.sample = asked.item.sample;
    sample.id = asked.problem.id();
    sample.question = asked.problem.question();
    sample.reference = asked.problem.reference;
    sample.text = std::move(answer.text);
    sample.tokens = answer.tokens;
    sample.reason = stop_reason_name(answer.reason);
    sample.was_cut = answer.was_cut;
    progress_.right += sample.reward.accuracy >= 1 ? 1 : 0;
    progress_.new_tokens += sample.tokens;
    ++progress_.new_answers;
    ++progress_.done;
    log_.append(std::move(sample));
  }

  const Tokenizer& tokenizer_;
  const PromptFormat& format_;
  const std::vector<std::unique_ptr<Task>>& tasks_;
  const EvalSettings& settings_;
  Split split_;
  std::int64_t max_positions_;
  EvalLog& log_;
  EvalQueue queue_;
  EvalProgress progress_;
  std::map<std::size_t, Asked> asked_;  // by the request's id
  std::size_t next_id_ = 0;
};

}  // namespace

std::int64_t eval_problems(const Task& task, Split split, std::int64_t count) {
  const std::optional<std::int64_t> size = task.size(split);
  if (count == 0 && !size)
    throw UsageError(fmt::format("task {} has no end: say how many problems, as --count 200", task.name()));
  require(!size || *size > 0, "task {}: has no problems for {}", task.name(), split_name(split));
  return size && (count == 0 || count > *size) ? *size : count;
}

void run_eval(AnswerEngine& engine, const Tokenizer& tokenizer, const PromptFormat& format,
              const std::vector<std::unique_ptr<Task>>& tasks, const EvalSettings& settings,
              const EvalPlan& plan, EvalLog& log, const std::function<bool(const EvalProgress&)>& goes_on) {
  EvalRound round(tokenizer, format, tasks, settings, plan, engine.max_positions(), log);
  engine.answer_all([&] { return round.next(); },
                    [&](GivenAnswer answer) { round.receive(std::move(answer)); },
                    [&] { return goes_on(round.progress()); });
}

}  // namespace fathom
