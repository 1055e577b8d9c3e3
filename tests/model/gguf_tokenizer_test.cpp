#include "model/gguf_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "io/gguf_writer.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "text/tokenizer.h"
#include "text/tokenizer_writer.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::HasSubstr;

constexpr std::uint64_t kMostText = 1 << 24;

/// Texts that differ where tokenizers do: digits, white space, scripts, contractions, broken words.
const std::vector<std::string>& hard_texts() {
  static const std::vector<std::string> kTexts = {"",
                                                  " ",
                                                  "\n\n\t  x",
                                                  "Hello, World! I'm, you'Ll, WE'VE",
                                                  "3 33 333 3333 33333 12,345.678",
                                                  "名前は、カタカナ。 안녕 мир ΑΒΓ ǅ ß",
                                                  "a\r\nb\r\n\r\n  c   ",
                                                  "<｜begin▁of▁sentence｜>hi<｜end▁of▁sentence｜> ok",
                                                  "fn main() { println!(\"{}\", x[0]); } // __init__",
                                                  "🦙.cpp \u200d👩‍👩‍👧 ½ e\u0301",
                                                  "    indented\n        more"};
  return kTexts;
}

/// A tokenizer after a journey through a GGUF file, of which `change` may spoil the metadata.
class GgufTokenizerTest : public testing::Test {
 protected:
  template <typename Change>
  TokenizerSpec through_gguf(const TokenizerSpec& spec, std::int64_t vocab_size, const Change& change) {
    GgufMetadata metadata;
    add_gguf_tokenizer(spec, vocab_size, metadata);
    change(metadata);
    const std::filesystem::path path = folder_.path() / "t.gguf";
    GgufWriter writer(path, metadata, {{"t", {1}, DType::f32}});
    writer.write("t", Tensor::zeros({1}));
    writer.commit();
    return gguf_tokenizer_spec(GgufFile(path));
  }
  TokenizerSpec through_gguf(const TokenizerSpec& spec, std::int64_t vocab_size) {
    return through_gguf(spec, vocab_size, [](GgufMetadata&) {});
  }

  test::TemporaryFolder folder_;
};

void expect_same_ids(const Tokenizer& a, const Tokenizer& b, const std::string& text) {
  for (const bool add_special : {true, false})
    EXPECT_EQ(a.encode(text, add_special), b.encode(text, add_special));
  EXPECT_EQ(a.decode(a.encode(text), false), b.decode(b.encode(text), false));
}

TEST_F(GgufTokenizerTest, DeepSeekV3GivesTheIdsOfItsTokenizerJson) {
  FATHOM_SHARED_DATA_OR_SKIP(data);
  const TokenizerSpec spec = read_tokenizer_spec(data / "tokenizers" / "deepseek-v3");
  const TokenizerSpec read = through_gguf(spec, 129280, [](GgufMetadata& metadata) {
    EXPECT_EQ(*metadata.find("tokenizer.ggml.pre"), GgufValue(std::string("deepseek-v3")));
    EXPECT_FALSE(metadata.contains("tokenizer.huggingface.json"));
  });
  EXPECT_EQ(read.chat_template, spec.chat_template);
  EXPECT_EQ(read.named_tokens, spec.named_tokens);
  const Tokenizer expected(spec);
  const Tokenizer got(read);
  EXPECT_EQ(got.bos(), expected.bos());
  EXPECT_EQ(got.eos(), expected.eos());
  EXPECT_EQ(got.vocab_size(), expected.vocab_size());  // not the model's
  for (const std::string& text : hard_texts()) expect_same_ids(got, expected, text);
  expect_same_ids(got, expected, read_text_file(data / "text" / "tinyshakespeare.txt", kMostText));
}

/// llama.cpp's own test vectors, made with the original tokenizers: texts between marker lines, ids in lines.
TEST_F(GgufTokenizerTest, OlderVocabulariesGiveTheIdsOfTheOriginalTokenizers) {
  FATHOM_SHARED_DATA_OR_SKIP(data);
  for (const char* name : {"ggml-vocab-deepseek-llm.gguf", "ggml-vocab-deepseek-coder.gguf"}) {
    const std::filesystem::path file = data / "tokenizers" / "gguf-vocab" / name;
    const Tokenizer tokenizer{gguf_tokenizer_spec(GgufFile(file))};
    std::string texts = read_text_file(file.string() + ".inp", kMostText);
    std::string ids = read_text_file(file.string() + ".out", kMostText);
    constexpr std::string_view kMark = "\n__ggml_vocab_test__\n";
    int compared = 0;
    while (!ids.empty()) {
      const std::string text = texts.substr(0, texts.find(kMark));
      texts.erase(0, std::min(texts.size(), text.size() + kMark.size()));
      const std::string line = ids.substr(0, ids.find('\n'));
      ids.erase(0, line.size() + 1);
      std::string got;
      for (const std::int32_t id : tokenizer.encode(text, false)) got += " " + std::to_string(id);
      EXPECT_EQ(got, line) << name << ": " << text;
      ++compared;
    }
    EXPECT_GE(compared, 46);
  }
}

/// A word, a digit and a control token.
TokenizerSpec small_spec() {
  TokenizerSpec spec;
  spec.name = "small";
  spec.pre_tokenizer = {SplitStep{.pattern = "\\p{N}{2}"}};  // of nobody that llama.cpp knows
  spec.tokens = {"a", "b", "ab", "1", "<end>"};
  spec.model_tokens = 4;
  spec.merges = {{"a", "b"}};
  AddedToken end;
  end.id = 4;
  end.content = "<end>";
  end.special = true;
  spec.added_tokens = {end};
  spec.eos_token = "<end>";
  return spec;
}

TEST_F(GgufTokenizerTest, ChatTemplatesAndTheTokensThatTheyNameAreKept) {
  TokenizerSpec spec = small_spec();
  spec.chat_template = "{{ messages }}";
  spec.tool_chat_template = "{{ tools }}";
  spec.named_tokens = {{"pad_token", "<end>"}, {"unk_token", "not a token"}};
  TokenizerSpec read = through_gguf(spec, 8);
  EXPECT_EQ(read.chat_template, spec.chat_template);
  EXPECT_EQ(read.tool_chat_template, spec.tool_chat_template);
  EXPECT_THAT(read.named_tokens, testing::ElementsAre(testing::Pair("pad_token", "<end>")));
  read = through_gguf(spec, 8, [](GgufMetadata& metadata) {
    metadata.set("tokenizer.ggml.padding_token_id",
                 std::uint32_t{7});  // a token that only fills the vocabulary
    metadata.set("tokenizer.ggml.mask_token_id", std::uint32_t{0xFFFFFFFF});
  });
  EXPECT_THAT(read.named_tokens, testing::IsEmpty());
}

TEST_F(GgufTokenizerTest, OtherTokenizersTravelWhole) {
  const TokenizerSpec spec = small_spec();
  const TokenizerSpec read = through_gguf(spec, 7, [](GgufMetadata& metadata) {
    EXPECT_EQ(*metadata.find("tokenizer.ggml.pre"), GgufValue(std::string("default")));
  });
  EXPECT_EQ(tokenizer_json_text(read), tokenizer_json_text(spec));
  EXPECT_EQ(read.eos_token, spec.eos_token);
}

TEST_F(GgufTokenizerTest, KimiCutsHanApartAndCasesTogether) {
  TokenizerSpec spec = small_spec();
  const Tokenizer tokenizer(through_gguf(spec, 7, [](GgufMetadata& metadata) {
    metadata.remove("tokenizer.huggingface.json");
    metadata.set("tokenizer.ggml.pre", std::string("kimi-k2"));
  }));
  EXPECT_EQ(tokenizer.encode("ab ab1ab<end>", false), (std::vector<std::int32_t>{2, 2, 3, 2, 4}));
}

TEST_F(GgufTokenizerTest, WrongMetadataAreNamed) {
  const auto error_with = [&](const char* key, GgufValue value) {
    return error_of([&] {
      through_gguf(small_spec(), 7, [&](GgufMetadata& metadata) {
        metadata.remove("tokenizer.huggingface.json");
        metadata.set("tokenizer.ggml.pre", std::string("gpt-2"));
        metadata.set(key, value);
      });
    });
  };
  const auto strings = [](std::vector<std::string> values) { return GgufArray{std::move(values)}; };
  EXPECT_THAT(error_with("tokenizer.ggml.model", std::string("llama")),
              HasSubstr("tokenizer.ggml.model is \"llama\""));
  EXPECT_THAT(error_with("tokenizer.ggml.pre", std::string("other")),
              HasSubstr("tokenizer.ggml.pre is \"other\", expected one of deepseek-v3, deepseek-llm"));
  EXPECT_THAT(error_with("tokenizer.ggml.tokens", strings({"a", "a"})), HasSubstr("expected 2 of them"));
  EXPECT_THAT(error_with("tokenizer.ggml.tokens", strings({"a", "b", "a", "1", "<end>", "x", "y"})),
              HasSubstr("tokenizer.ggml.tokens[2]: the token \"a\" is there twice"));
  EXPECT_THAT(error_with("tokenizer.ggml.merges", strings({"ab"})),
              HasSubstr("tokenizer.ggml.merges[0] is \"ab\""));
  EXPECT_THAT(error_with("tokenizer.ggml.eos_token_id", std::uint32_t{7}),
              HasSubstr("expected the id of one of 5"));
  EXPECT_THAT(error_of([&] { through_gguf(small_spec(), 4); }),
              HasSubstr("the tokenizer has 5 tokens, the model an embedding for 4"));
}

TEST_F(GgufTokenizerTest, UnusedTokensThatFillAVocabularyUpAreLeftOut) {
  const auto to_gpt2 = [](GgufMetadata& metadata) {
    metadata.remove("tokenizer.huggingface.json");
    metadata.set("tokenizer.ggml.pre", std::string("gpt-2"));
  };
  EXPECT_EQ(through_gguf(small_spec(), 7, to_gpt2).tokens, small_spec().tokens);
  TokenizerSpec spec = small_spec();
  spec.tokens.insert(spec.tokens.begin() + 4, "");  // an id that stands for nothing, before others
  spec.added_tokens.front().id = 5;
  const Tokenizer tokenizer(through_gguf(spec, 7, to_gpt2));
  EXPECT_EQ(tokenizer.vocab_size(), 6);
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{4}), "[PAD4]");
  EXPECT_THAT(tokenizer.encode("1<end>", false), ::testing::ElementsAre(3, 5));
}

}  // namespace
}  // namespace fathom
