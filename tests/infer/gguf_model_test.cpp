#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>

#include "base/thread_pool.h"
#include "infer/score.h"
#include "infer/text_model.h"
#include "io/gguf.h"
#include "model/gguf_save.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"
#include "text/tokenizer_spec.h"

namespace fathom {
namespace {

/// The file is llama.cpp's conversion, the log-probabilities are transformers'.
TEST(GgufTextModelTest, WhatLlamaCppConvertsComputesWhatTransformersDoes) {
  ThreadPool pool(2);
  const Context context{pool};
  const TextModel model = load_text_model(test::golden("model/goldens/gguf/tiny_f32.gguf"));
  const Transformer transformer(model.config, model.weights, 128);
  for (const test::TinyExpectation& expected : test::tiny_expectations("tiny_f32")) {
    EXPECT_EQ(model.tokenizer.encode(expected.prompt), expected.ids);
    const Score score = score_tokens(context, transformer, expected.ids);
    for (std::size_t i = 1; i < expected.logprobs.size(); ++i)
      EXPECT_NEAR(score.log_probabilities[i - 1], *expected.logprobs[i],
                  1e-5 * std::max(1.0, std::abs(*expected.logprobs[i])));
  }
}

TEST(GgufTextModelTest, WritesWhatLlamaCppConverts) {
  const GgufFile expected(test::golden("model/goldens/gguf/tiny_f32.gguf"));
  const std::filesystem::path folder = test::tiny_checkpoint("tiny_f32");
  const LoadedModel model = load_model(folder);
  const TokenizerSpec tokenizer = read_tokenizer_spec(folder);
  const test::TemporaryFolder target;
  ThreadPool pool(2);
  GgufSaveOptions options;
  options.dtype = DType::f32;
  const auto paths =
      save_gguf(pool, target.path() / "tiny.gguf", model.config, model.weights, &tokenizer, options);
  const GgufFile got(paths.front());
  EXPECT_EQ(got.names(), expected.names());
  for (const std::string& name : expected.names()) {
    const Tensor theirs = expected.get(name);
    EXPECT_TRUE(std::ranges::equal(got.get(name, theirs.shape()).bytes(), theirs.bytes())) << name;
  }
  for (const auto& [key, value] : expected.metadata().entries()) {
    const bool is_idle = key == "tokenizer.ggml.padding_token_id" || key == "tokenizer.ggml.add_sep_token";
    if (is_idle || !(key.starts_with("deepseek2.") || key.starts_with("tokenizer."))) continue;
    ASSERT_TRUE(got.metadata().contains(key)) << key;
    EXPECT_EQ(*got.metadata().find(key), value) << key;
  }
}

}  // namespace
}  // namespace fathom
