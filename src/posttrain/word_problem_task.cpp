#include "posttrain/word_problem_task.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "posttrain/generated_task.h"
#include "posttrain/word_problem_story.h"

namespace fathom {

const std::vector<TaskOption> kWordProblemOptions = {
    {"kind", "all", "collection, shopping, trip, ages, factory, sharing or all"},
    {"min-steps", "2", "calculations that a problem takes at least, 2 to 6"},
    {"max-steps", "6", "and at most"},
    {"distractors", "1", "sentences with numbers that do not matter, 0 to 6"},
    {"largest", "30", "number in a problem, but for totals; 9 to 9999"},
};

namespace {

class WordProblemTask : public GeneratedTask {
 public:
  WordProblemTask(const TaskOptions& options, const TaskRules& rules)
      : GeneratedTask(options.name(), rules),
        least_steps_(options.integer("min-steps", 2, 6)),
        most_steps_(options.integer("max-steps", 2, 6)),
        distractors_(options.integer("distractors", 0, 6)),
        largest_(options.integer("largest", 9, 9999)) {
    if (least_steps_ > most_steps_)
      throw UsageError(fmt::format("task {}: min-steps is {} and max-steps {}", options.task(), least_steps_,
                                   most_steps_));
    std::vector<std::string_view> kinds(kStoryKinds.begin(), kStoryKinds.end());
    kinds.emplace_back("all");
    const std::size_t chosen = options.choice("kind", kinds);
    kinds.pop_back();
    kinds_ = chosen == kinds.size() ? kinds : std::vector<std::string_view>{kinds[chosen]};
  }

 private:
  [[nodiscard]] Problem generate(Rng& rng) const override {
    const std::int64_t steps = random_between(rng, least_steps_, most_steps_);
    const std::string_view kind = random_item(rng, kinds_);
    Story story = tell_story(rng, kind, steps, largest_);
    for (std::int64_t i = 0; i < distractors_; ++i) {
      const auto place = static_cast<std::ptrdiff_t>(rng.below(story.sentences.size() + 1));
      story.sentences.insert(story.sentences.begin() + place, irrelevant_fact(rng));
    }
    std::string text;
    for (const std::string& sentence : story.sentences) text += sentence + " ";
    Problem problem;
    problem.canonical = "words " + story.canonical;
    problem.turns = {{"user", text + story.question}};
    problem.reference = std::to_string(story.answer);
    problem.solution = worked_solution(story.steps, problem.reference);
    problem.metadata = {{"kind", std::string(kind)}, {"steps", std::to_string(steps)}};
    return problem;
  }

  [[nodiscard]] Check check(const Problem& problem, const std::string& answer) const override {
    return check_number(problem.reference, answer);
  }

  std::int64_t least_steps_;
  std::int64_t most_steps_;
  std::int64_t distractors_;
  std::int64_t largest_;
  std::vector<std::string_view> kinds_;
};

}  // namespace

std::unique_ptr<Task> make_word_problem_task(const TaskOptions& options, const TaskRules& rules) {
  return std::make_unique<WordProblemTask>(options, rules);
}

}  // namespace fathom
