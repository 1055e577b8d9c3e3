#include "infer/model_drafter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/file.h"
#include "base/thread_pool.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using testing::HasSubstr;

class ModelDrafterTest : public testing::Test {
 protected:
  static SamplingOptions greedy_options() {
    SamplingOptions options;
    options.temperature = 0;
    return options;
  }

  /// The model's own greedy continuation of a text.
  [[nodiscard]] std::vector<std::int32_t> continuation(std::vector<std::int32_t> text, int count) const {
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < count; ++i) {
      const auto length = static_cast<std::int64_t>(text.size());
      const Tensor hidden = model_.hidden_states(context_, text, Sequences::uniform(1, length));
      const Tensor logits = model_.head(context_, hidden.rows(length - 1, length));
      tokens.push_back(
          static_cast<std::int32_t>(std::ranges::max_element(logits.values()) - logits.values().begin()));
      text.push_back(tokens.back());
    }
    return tokens;
  }

  [[nodiscard]] std::vector<std::int32_t> drafts(Drafter::State& text, std::int32_t next,
                                                 std::int64_t count) const {
    Drafter::Job job{text, next, count, sampler_};
    drafter_.draft(context_, {&job, 1});
    return job.drafts;
  }

  ModelConfig config_ = test::tiny_v3();
  TransformerWeights weights_ = random_weights(config_, 21);
  Transformer model_{config_, weights_, 24};
  ThreadPool pool_{1};  // the model is tiny: more threads would wait for each other
  Context context_{pool_};
  Sampler sampler_{greedy_options()};
  ModelDrafter drafter_{model_, model_, config_.vocab_size};
};

TEST_F(ModelDrafterTest, DraftsAreTheSmallerModelsContinuationWhateverBecameOfEarlierOnes) {
  const std::unique_ptr<Drafter::State> text = drafter_.begin(24);
  drafter_.read(*text, std::vector<std::int32_t>{3, 9, 4, 30}, {});
  EXPECT_EQ(drafts(*text, 7, 3), continuation({3, 9, 4, 30, 7}, 3));
  drafter_.read(*text, std::vector<std::int32_t>{7}, {});
  EXPECT_EQ(drafts(*text, 50, 1), continuation({3, 9, 4, 30, 7, 50}, 1));
  drafter_.read(*text, std::vector<std::int32_t>{50, 2, 2}, {});
  EXPECT_EQ(drafts(*text, 8, 4), continuation({3, 9, 4, 30, 7, 50, 2, 2, 8}, 4));
}

TEST_F(ModelDrafterTest, BeyondItsContextThereAreNoDrafts) {
  const std::unique_ptr<Drafter::State> text = drafter_.begin(100);
  drafter_.read(*text, std::vector<std::int32_t>(22, 5), {});
  EXPECT_EQ(drafts(*text, 6, 8).size(), 2U);
  drafter_.read(*text, std::vector<std::int32_t>(10, 5), {});
  EXPECT_TRUE(drafts(*text, 6, 8).empty());
}

TEST(RequireSameVocabularyTest, TheFirstTokenThatDiffersIsNamed) {
  const Tokenizer tokenizer = Tokenizer::load(test::tiny_checkpoint("tiny_f32"));
  EXPECT_NO_THROW(require_same_vocabulary(tokenizer, "big", tokenizer, "small"));

  const test::TemporaryFolder folder;
  const std::filesystem::path other = test::copy_tiny_checkpoint("tiny_f32", folder.path());
  const std::string spelling(tokenizer.token_spelling(*tokenizer.bos()));
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    if (!exists(other / name)) continue;
    std::string json = read_text_file(other / name, 1 << 24);
    for (std::size_t at = 0; (at = json.find(spelling, at)) != std::string::npos;)
      json.replace(at, spelling.size(), "<another>");
    std::ofstream(other / name) << json;
  }
  EXPECT_THAT(
      test::error_of([&] { require_same_vocabulary(tokenizer, "big", Tokenizer::load(other), "small"); }),
      testing::AllOf(HasSubstr("is \"<another>\" and in big \"" + spelling), HasSubstr("small: token"),
                     HasSubstr("same vocabulary")));
}

}  // namespace
}  // namespace fathom
