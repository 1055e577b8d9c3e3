#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "text/tokenizer.h"

namespace fathom::test {
namespace {

std::string small() {
  return golden("text/goldens/small").string();
}

TEST(TokenizeTest, JsonIsTheArrayOfIdsAndNothingElse) {
  const std::string text = "The quick brown fox, 漢字 12345 <eos>\n";
  const Tokenizer tokenizer = Tokenizer::load(small());
  const ProgramResult result = run_fathom({"tokenize", small(), "--text", text, "--json"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(result.out, Json(tokenizer.encode(text)).dump() + "\n");
  const ProgramResult plain = run_fathom({"tokenize", small(), "--text", text, "--json", "--no-special"});
  EXPECT_EQ(plain.out, Json(tokenizer.encode(text, false)).dump() + "\n");
}

TEST(TokenizeTest, TextComesFromAFileOrStandardInputByteForByte) {
  const std::string text = "a\r\n\xff b \xe4\xb8";
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "text", text);
  write_file_atomically(folder.path() / "empty", "");
  const std::string expected = Json(Tokenizer::load(small()).encode(text)).dump() + "\n";
  EXPECT_EQ(run_fathom({"tokenize", small(), "--json"}, text).out, expected);
  EXPECT_EQ(run_fathom({"tokenize", small(), "--json", "--file", folder.path() / "text"}).out, expected);
  EXPECT_EQ(run_fathom({"tokenize", small(), "--json", "--file", folder.path() / "empty"}).out, "[0]\n");
  EXPECT_EQ(run_fathom({"tokenize", small(), "--json", "--no-special"}).out, "[]\n");
}

TEST(TokenizeTest, DecodeGivesTheTextBack) {
  const std::string text = "naïve\tcafé 😀\n";
  const std::string ids = run_fathom({"tokenize", small(), "--text", text, "--json"}).out;
  EXPECT_EQ(run_fathom({"tokenize", small(), "--decode", ids}).out, "<bos>" + text);
  EXPECT_EQ(run_fathom({"tokenize", small(), "--decode", ids, "--no-special"}).out, text);
  EXPECT_EQ(run_fathom({"tokenize", small(), "--decode", "0,1", "--json"}).out, "\"<bos><eos>\"\n");
}

TEST(TokenizeTest, ShowsIdsBesideTheirText) {
  const ProgramResult result = run_fathom({"tokenize", small(), "--text", "a\n"});
  EXPECT_THAT(result.out, testing::HasSubstr("0  \"<bos>\"\n"));
  EXPECT_THAT(result.out, testing::HasSubstr("\"\\n\"\n"));
  EXPECT_EQ(result.err, "3 tokens\n");
}

TEST(TokenizeTest, ConversationsAreWrittenAsTheTemplateSays) {
  const TemporaryFolder folder;
  const std::string chat = (folder.path() / "chat.json").string();
  const std::string jinja = (folder.path() / "a.jinja").string();
  write_file_atomically(chat, R"({"messages": [{"role": "user", "content": "Hi <eos>"}], "tools": [1],
                                  "chat_template_kwargs": {"x": "y"}})");
  write_file_atomically(jinja,
                        "{{ bos_token }}{{ messages[0].content }}{{ tools }}{{ x }}"
                        "{% if add_generation_prompt %}>{% endif %}");
  const std::string text = "<bos>Hi <eos>[1]y>";
  const auto run = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "tokenize", small(), "--chat", chat, "--chat-template", jinja, "--add-generation-prompt"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_fathom(arguments).out;
  };
  EXPECT_EQ(run({"--render"}), text);
  EXPECT_EQ(run({"--render", "--json"}), Json(text).dump() + "\n");
  EXPECT_EQ(run({"--json"}), Json(Tokenizer::load(small()).encode(text, false)).dump() + "\n");
  write_file_atomically(chat, R"([{"role": "user"}])");
  EXPECT_EQ(run_fathom({"tokenize", small(), "--chat", chat, "--render"}).out, "[{'role': 'user'}]");
}

TEST(TokenizeTest, FailuresAreOneLine) {
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize", small(), "--decode", "1,999999"}), 1,
                       "there is no token 999999");
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize", small(), "--decode", "-1"}), 1, "there is no token -1");
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize", small(), "--decode", "1;2"}), 2, "expected token ids");
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize", small(), "--text", "a", "--file", "b"}), 2, "--file");
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize", small(), "--file", "/nonexistent"}), 1, "/nonexistent");
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize", "/nonexistent", "--text", "a"}), 1, "/nonexistent");
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize"}), 2, "model");
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize", small(), "--render"}), 2, "--chat");
  EXPECT_CLEAN_FAILURE(run_fathom({"tokenize", small(), "--chat", "/nonexistent"}), 1, "/nonexistent");
}

}  // namespace
}  // namespace fathom::test
