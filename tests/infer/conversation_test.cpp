#include "infer/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <span>
#include <vector>

#include "infer/generator.h"
#include "infer/text_model.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using testing::HasSubstr;

class ConversationTest : public testing::Test {
 protected:
  [[nodiscard]] Conversation empty(LatentType type, std::int64_t capacity = 128) const {
    return {LatentCache(model_.config, capacity, type), {}};
  }
  Answer go_on(Conversation& conversation, std::span<const std::int32_t> prompt, LatentType type) const {
    const Generator generator(context_, transformer_, model_.tokenizer, {}, nullptr, type);
    return generator.generate(prompt, options_, {}, nullptr, &conversation);
  }

  static constexpr std::uint64_t kFingerprint = 5;
  const test::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "conversation";
  TextModel model_ = load_text_model(test::tiny_checkpoint("tiny_f32"));
  std::vector<std::int32_t> prompt_ = test::tiny_expectations("tiny_f32").front().ids;
  ThreadPool pool_{1};
  Context context_{pool_};
  Transformer transformer_{model_.config, model_.weights, 128};
  GenerationOptions options_ = [] {
    GenerationOptions options;
    options.sampling.temperature = 0;
    options.max_tokens = 12;
    return options;
  }();
};

TEST_F(ConversationTest, GoesOnFromItsFileAsIfItHadNeverEnded) {
  for (const LatentType type : kernels::kLatentTypes) {
    SCOPED_TRACE(kernels::latent_type_name(type));
    Conversation first = empty(type);
    go_on(first, prompt_, type);
    EXPECT_EQ(first.tokens.size(), prompt_.size() + 12);
    save_conversation(path_, kFingerprint, first);

    Conversation loaded = empty(type);
    load_conversation(path_, kFingerprint, loaded);
    EXPECT_EQ(loaded.tokens, first.tokens);
    EXPECT_EQ(loaded.cache.length(), static_cast<std::int64_t>(first.tokens.size()) - 1)
        << "the last token has not been read";
    std::vector<std::int32_t> more = first.tokens;
    more.insert(more.end(), {5, 6, 7});
    Conversation fresh = empty(type);
    const Answer expected = go_on(fresh, more, type);
    const Answer answer = go_on(loaded, more, type);
    EXPECT_EQ(answer.tokens, expected.tokens);
    EXPECT_EQ(answer.stats.cached_tokens, static_cast<std::int64_t>(first.tokens.size()) - 1);
    EXPECT_EQ(expected.stats.cached_tokens, 0);
  }
}

TEST_F(ConversationTest, AnotherPromptKeepsWhatItBeginsWithAlike) {
  Conversation conversation = empty(LatentType::f32);
  go_on(conversation, prompt_, LatentType::f32);
  std::vector<std::int32_t> other(prompt_.begin(), prompt_.begin() + 5);
  other.push_back(prompt_[5] == 9 ? 10 : 9);
  EXPECT_EQ(go_on(conversation, other, LatentType::f32).stats.cached_tokens, 5);
  EXPECT_EQ(go_on(conversation, other, LatentType::f32).stats.cached_tokens, 5)
      << "the last token is read again, to go on from";
}

TEST_F(ConversationTest, WhatDoesNotFitIsRefused) {
  Conversation conversation = empty(LatentType::f16);
  go_on(conversation, prompt_, LatentType::f16);
  save_conversation(path_, kFingerprint, conversation);
  const auto error = [&](std::uint64_t fingerprint, LatentType type, std::int64_t capacity) {
    Conversation into = empty(type, capacity);
    return test::error_of([&] { load_conversation(path_, fingerprint, into); });
  };
  EXPECT_THAT(error(6, LatentType::f16, 128), HasSubstr("made by another model"));
  EXPECT_THAT(error(kFingerprint, LatentType::q8, 128), HasSubstr("stored as f16, and --cache-type is q8"));
  EXPECT_THAT(error(kFingerprint, LatentType::f16, 9), HasSubstr("and there is room for 9"));
  EXPECT_EQ(error(kFingerprint, LatentType::f16, 128), "no error");
}

}  // namespace
}  // namespace fathom
