// Evaluations with a tiny model: what they ask, and that nothing depends on what else they ask.

#include "posttrain/eval_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "posttrain/task_registry.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

class EvalRunTest : public testing::Test {
 protected:
  EvalRunTest() {
    settings_.max_tokens = 12;
    settings_.format = "none";
    tasks_.push_back(make_task("arithmetic:digits=1,depth=1"));
    tasks_.push_back(make_task("arithmetic:digits=1,depth=1,operators=+"));
  }

  /// @param answers  after which it is ended; 0: never
  void run(const std::string& file, const EvalPlan& plan, std::int64_t at_once, std::int64_t answers = 0) {
    ThreadPool pool(1);
    const Transformer transformer(model_.config, model_.weights, model_.config.max_position_embeddings);
    AnswerEngineOptions options;
    options.at_once = at_once;
    options.cache_type = LatentType::f32;
    AnswerEngine engine(pool, model_, transformer, options);
    EvalLog log(folder_.path() / file, settings_);
    run_eval(engine, model_.tokenizer, *make_prompt_format(settings_.format), tasks_, settings_, plan, log,
             [&](const EvalProgress& progress) { return answers == 0 || progress.new_answers < answers; });
  }
  std::map<std::string, std::string> answers(const std::string& file) {
    std::map<std::string, std::string> texts;
    for (const EvalSample& one : read_eval_record(folder_.path() / file).samples)
      EXPECT_TRUE(texts
                      .emplace(one.task + " " + std::to_string(one.index) + " " + std::to_string(one.sample),
                               one.text + "|" + std::to_string(one.tokens))
                      .second)
          << "asked twice";
    return texts;
  }

  TextModel model_ = load_text_model(test::tiny_checkpoint("tiny_f32"));
  std::vector<std::unique_ptr<Task>> tasks_;
  EvalSettings settings_;
  test::TemporaryFolder folder_;
};

TEST_F(EvalRunTest, AsksEachProblemAsOftenAsPlanned) {
  run("a.jsonl", {.count = 3, .samples = 2, .greedy = true}, 4);
  EXPECT_EQ(answers("a.jsonl").size(), 2U * 3U * 3U);
}

TEST_F(EvalRunTest, AnEvaluationThatWasEndedGoesOnToTheSameAnswers) {
  const EvalPlan plan{.count = 3, .samples = 2, .greedy = true};
  run("whole.jsonl", plan, 3);
  run("parts.jsonl", plan, 3, 5);
  const auto part = answers("parts.jsonl");
  EXPECT_GE(part.size(), 5U);
  EXPECT_LT(part.size(), 18U);
  run("parts.jsonl", plan, 1);
  EXPECT_EQ(answers("parts.jsonl"), answers("whole.jsonl"));
  // More samples of the same problems: those that were there stay.
  run("parts.jsonl", {.count = 4, .samples = 3, .greedy = true}, 3);
  EXPECT_EQ(answers("parts.jsonl").size(), 2U * 4U * 4U);
}

TEST_F(EvalRunTest, ThinkingIsCutAtItsBudgetAndTheAnswerFollows) {
  settings_.prefix = "<think>";
  settings_.max_tokens = 40;
  settings_.think_tokens = 4;
  run("cut.jsonl", {.count = 2, .samples = 1, .greedy = true}, 2);
  for (const EvalSample& one : read_eval_record(folder_.path() / "cut.jsonl").samples) {
    EXPECT_TRUE(one.was_cut) << "a random model closes no block";
    EXPECT_THAT(one.text, testing::StartsWith("<think>"));
    EXPECT_THAT(one.text, HasSubstr("\n</think>\n\n"));
    EXPECT_LE(one.tokens, 40);
  }
  settings_.think_tokens = 0;
  run("uncut.jsonl", {.count = 1, .samples = 0, .greedy = true}, 2);
  const EvalSample uncut = read_eval_record(folder_.path() / "uncut.jsonl").samples.front();
  EXPECT_FALSE(uncut.was_cut);
  // The first tokens are those that it would have had.
  const std::string cut = read_eval_record(folder_.path() / "cut.jsonl").samples.front().text;
  EXPECT_TRUE(uncut.text.starts_with(cut.substr(0, cut.find("\n</think>"))));
}

TEST_F(EvalRunTest, APromptThatDoesNotFitIsAWrongAnswerAndNoEnd) {
  tasks_.push_back(make_task("sorting:items=words,min-length=50,max-length=50"));
  run("long.jsonl", {.count = 2, .samples = 0, .greedy = true}, 2);
  const std::vector<EvalSample> samples = read_eval_record(folder_.path() / "long.jsonl").samples;
  EXPECT_EQ(samples.size(), 6U);
  for (const EvalSample& one : samples)
    if (one.task == tasks_.back()->name()) {
      EXPECT_EQ(one.reason, "context_full");
      EXPECT_EQ(one.reward.accuracy, 0);
    }
}

TEST_F(EvalRunTest, WhatCannotBeAnsweredIsSaid) {
  tasks_.clear();
  tasks_.push_back(make_task("words"));
  EXPECT_THAT(error_of([&] { run("all.jsonl", {.count = 0}, 1); }),
              HasSubstr("has no end: say how many problems, as --count 200"));
  EXPECT_THAT(error_of([] { make_prompt_format("chatml"); }), HasSubstr("template, plain, deepseek or none"));
}

TEST(PromptFormatTest, FormatsPutTurnsAsTheirModelsReadThem) {
  const std::vector<ChatTurn> turns = {
      {"system", "Be brief."}, {"user", "1+1?"}, {"assistant", "2"}, {"user", "2+2?"}};
  EXPECT_EQ(make_prompt_format("plain")->prompt(turns),
            "Be brief.\n\nQuestion: 1+1?\n\nAnswer: 2\n\nQuestion: 2+2?\nAnswer:");
  EXPECT_EQ(make_prompt_format("deepseek")->prompt(turns),
            "Be brief.<\uFF5CUser\uFF5C>1+1?<\uFF5C"
            "Assistant\uFF5C>2<\uFF5C"
            "end\u2581of\u2581sentence\uFF5C><\uFF5CUser\uFF5C>2+2?<\uFF5C"
            "Assistant\uFF5C>");
  ChatSource source;
  source.where = "m";
  source.chat_template =
      "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}[me]{% endif %}";
  source.special_tokens = {{"bos_token", "<s>"}};
  const auto by_template = make_template_format(ChatFormat(source));
  EXPECT_EQ(by_template->prompt(turns), "<s>[system]Be brief.[user]1+1?[assistant]2[user]2+2?[me]");
  EXPECT_TRUE(by_template->begins_text()) << "the template has put BOS there";
  EXPECT_FALSE(make_prompt_format("plain")->begins_text());
}

}  // namespace
}  // namespace fathom
