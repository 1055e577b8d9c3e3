#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "small_tokenizer.h"
#include "support/error_text.h"

namespace fathom::test {
namespace {

using testing::HasSubstr;

// A tokenizer comes of `file` and encodes, or an `Error` does; anything else fails the test.
void expect_tokenizer_or_error(const std::string& file) {
  try {
    const Tokenizer tokenizer = tokenizer_from(file);
    const std::vector<std::int32_t> ids = tokenizer.encode("The 漢字 12345 <bos> \xff don't\n\n x");
    static_cast<void>(tokenizer.decode(ids));
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()), "");
  }
}

TEST(HostileTokenizerTest, EveryBeginningOfAFileIsAnError) {
  const std::string file = read_text_file(golden("text/goldens/small/tokenizer.json"), 1U << 20U);
  for (std::size_t length = 0; length + 2 < file.size(); length += 1 + length / 40) {
    EXPECT_THROW(tokenizer_from(file.substr(0, length)), Error) << length;
  }
}

TEST(HostileTokenizerTest, ChangedBytesDoNoHarm) {
  const std::string file = read_text_file(golden("text/goldens/small/tokenizer.json"), 1U << 20U);
  Rng random(1);
  for (int i = 0; i < 150; ++i) {
    std::string changed = file;
    for (std::uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
      changed[random.below(changed.size())] = static_cast<char>(random.below(256));
    }
    expect_tokenizer_or_error(changed);
  }
}

TEST(HostileTokenizerTest, RandomBytesAreAnError) {
  Rng random(2);
  for (int i = 0; i < 500; ++i) {
    std::string bytes;
    for (std::uint64_t length = random.below(64); length > 0; --length) {
      bytes += static_cast<char>(random.below(256));
    }
    EXPECT_THROW(tokenizer_from(bytes), Error);
  }
}

// One value somewhere in the file becomes another.
void replace_somewhere(Json& json, Rng& random) {
  static const std::vector<Json> kValues = {
      nullptr, true, -1, 0, 7, 1e300, "", "a", "(((", "\\", "[a-", Json::array(), Json::object(), UINT64_MAX};
  if (json.is_structured() && !json.empty() && random.below(8) != 0) {
    auto child = json.begin();
    std::advance(child, static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(json.size(), 20))));
    return replace_somewhere(*child, random);
  }
  json = kValues[random.below(kValues.size())];
}

TEST(HostileTokenizerTest, ChangedValuesDoNoHarm) {
  const Json file = small_tokenizer_json();
  Rng random(3);
  for (int i = 0; i < 400; ++i) {
    Json changed = file;
    replace_somewhere(changed, random);
    expect_tokenizer_or_error(changed.dump());
  }
}

TEST(HostileTokenizerTest, WhatIsNotSupportedIsNamed) {
  const auto error_with = [](const char* pointer, const Json& value) {
    Json file = small_tokenizer_json();
    file[Json::json_pointer(pointer)] = value;
    return error_of([&] { tokenizer_from(file.dump()); });
  };
  const struct {
    const char* pointer;
    Json value;
    const char* message;
  } kCases[] = {
      {"/truncation", Json::object(), "\"truncation\" is not supported"},
      {"/padding", Json::object(), "\"padding\" is not supported"},
      {"/surprise", 1, "the key \"surprise\" is not supported"},
      {"/normalizer", {{"type", "Lowercase"}}, "normalizer type \"Lowercase\" is not supported"},
      {"/pre_tokenizer", nullptr, "there is no ByteLevel step"},
      {"/pre_tokenizer/pretokenizers/0/type", "Metaspace", "pre-tokenizer type \"Metaspace\""},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Twisted", "behavior \"Twisted\""},
      {"/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", ""}}, "the pattern is empty"},
      {"/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", "(a"}}, "is not understood"},
      {"/post_processor", {{"type", "BertProcessing"}}, "post-processor type \"BertProcessing\""},
      {"/decoder", nullptr, "decoder"},
      {"/decoder/type", "WordPiece", "decoder type \"WordPiece\""},
      {"/model/type", "Unigram", "model.type: \"Unigram\" is not supported"},
      {"/model/dropout", 0.1, "model.dropout"},
      {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
      {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix"},
      {"/model/unk_token", "<none>", "model.unk_token \"<none>\" is not in the vocabulary"},
      {"/model/vocab/zz", 5, "the id 5 is given to two tokens"},
      {"/model/vocab/zz", -1, "token ids go from 0"},
      {"/model/vocab/zz", 1 << 24, "token ids go from 0"},
      {"/model/vocab/zz", 1.5, "expected a whole number"},
      {"/model/merges/0", "a", "expected two tokens and one space"},
      {"/model/merges/0", "a b c", "expected two tokens and one space"},
      {"/model/merges/0", {"qq", "b"}, "\"qq\" is not in the vocabulary"},
      {"/model/merges/0", {"q", "z"}, "\"qz\" is not in the vocabulary"},
      {"/added_tokens/0/id", 5, "the id 5 belongs to"},
      {"/added_tokens/3/id", 1000, "has the id 1000, but the next free one is"},
      {"/added_tokens/1/content", "<bos>", "is added twice"},
      {"/added_tokens/0/content", "", "added_tokens[0].content"},
      {"/added_tokens/0/lstrip", 1, "expected true or false"},
  };
  for (const auto& test : kCases) {
    const std::string message = error_with(test.pointer, test.value);
    EXPECT_THAT(message, HasSubstr(test.message)) << test.pointer;
    EXPECT_THAT(message, HasSubstr("tokenizer.json"));
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(HostileTokenizerTest, ByteFallbackIsRefusedOnlyWhereABytesTokenIsMissing) {
  Json file = small_tokenizer_json();
  file["model"]["byte_fallback"] = true;
  EXPECT_NO_THROW(tokenizer_from(file.dump()));
  file["model"]["vocab"]["Ā(gone)"] = file["model"]["vocab"]["Ā"];
  file["model"]["vocab"].erase("Ā");
  EXPECT_THAT(error_of([&] { tokenizer_from(file.dump()); }), HasSubstr("byte_fallback"));
}

TEST(HostileTokenizerTest, ConfigsThatContradictTheVocabularyAreNamed) {
  const std::string file = small_tokenizer_json().dump();
  const auto error_with = [&](const char* config) { return error_of([&] { tokenizer_from(file, config); }); };
  EXPECT_THAT(error_with(R"({"bos_token": "<none>"})"), HasSubstr("bos_token \"<none>\" is not in the voc"));
  EXPECT_THAT(error_with(R"({"add_bos_token": true})"), HasSubstr("there is no bos_token"));
  EXPECT_THAT(error_with(R"({"add_eos_token": true})"), HasSubstr("there is no eos_token"));
  EXPECT_THAT(error_with(R"({"add_bos_token": "yes"})"), HasSubstr("add_bos_token: expected true or false"));
  EXPECT_THAT(error_with(R"({"bos_token": 3})"), HasSubstr("bos_token: expected a string"));
  EXPECT_THAT(error_with("[]"), HasSubstr("tokenizer_config.json: expected an object"));
}

TEST(HostileTokenizerTest, MissingFilesAreNamed) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { Tokenizer::load(folder.path()); }), HasSubstr("tokenizer.json"));
  EXPECT_THAT(error_of([&] { Tokenizer::load(folder.path() / "absent"); }), HasSubstr("absent"));
}

}  // namespace
}  // namespace fathom::test
