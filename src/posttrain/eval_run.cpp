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
  struct Asked {
    EvalQueue::Item item;
    Problem problem;
  };
  EvalQueue queue(tasks, settings, plan);
  EvalQueue counting(tasks, settings, plan);
  EvalProgress progress;
  progress.all = queue.all();
  std::int64_t missing = 0;
  while (counting.next(log)) ++missing;
  progress.done = progress.all - missing;
  const Split split = split_of(settings.split);
  std::map<std::size_t, Asked> asked;  // by the request's id
  std::size_t next_id = 0;
  const auto next = [&]() -> std::optional<AnswerRequest> {
    const auto item = queue.next(log);
    if (!item) return std::nullopt;
    Problem problem = tasks[item->task]->problem(split, settings.seed, item->index);
    AnswerRequest request;
    request.id = next_id++;
    request.prompt = tokenizer.encode(format.prompt(problem.turns) + settings.prefix);
    request.prefix = settings.prefix;
    request.think_tokens = settings.think_tokens;
    request.options.max_tokens = settings.max_tokens;
    request.options.stop = format.stops();
    request.options.sampling.temperature = item->sample < 0 ? 0 : settings.temperature;
    request.options.sampling.top_p = settings.top_p;
    request.options.sampling.seed =
        checksum(fmt::format("{} {} {} {}", settings.seed, problem.id(), item->index, item->sample));
    asked.emplace(request.id, Asked{*item, std::move(problem)});
    return request;
  };
  const auto on_answer = [&](GivenAnswer answer) {
    Asked one = std::move(asked.at(answer.id));
    asked.erase(answer.id);
    const Task& task = *tasks[one.item.task];
    EvalSample sample;
    sample.reward = task.score(one.problem, {answer.text, answer.tokens});
    sample.task = task.name();
    sample.index = one.item.index;
    sample.sample = one.item.sample;
    sample.id = one.problem.id();
    sample.question = one.problem.question();
    sample.reference = one.problem.reference;
    sample.text = std::move(answer.text);
    sample.tokens = answer.tokens;
    sample.reason = stop_reason_name(answer.reason);
    sample.was_cut = answer.was_cut;
    progress.right += sample.reward.accuracy >= 1 ? 1 : 0;
    progress.new_tokens += sample.tokens;
    ++progress.new_answers;
    ++progress.done;
    log.append(std::move(sample));
  };
  engine.answer_all(next, on_answer, [&] { return goes_on(progress); });
}

}  // namespace fathom
