#include "text/chat_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jinja_support.h"
#include "small_tokenizer.h"
#include "support/error_text.h"
#include "text/tokenizer_writer.h"

namespace fathom::test {
namespace {

using testing::ElementsAre;
using testing::Pair;

/// A folder with the small tokenizer, and what else a model has of chats.
class ChatFormatTest : public testing::Test {
 protected:
  void write(const char* name, const std::string& text) const {
    std::filesystem::create_directories((folder_.path() / name).parent_path());
    write_file_atomically(folder_.path() / name, text);
  }
  /// @param config  that `tokenizer_config.json` says beside the tokens
  void write_config(OrderedJson config) const {
    write("tokenizer.json", small_tokenizer_json().dump());
    config["bos_token"] = "<bos>";
    config["eos_token"] = {{"content", "<eos>"}, {"lstrip", false}};
    write("tokenizer_config.json", config.dump());
  }
  [[nodiscard]] Tokenizer tokenizer() const { return Tokenizer::load(folder_.path()); }
  [[nodiscard]] std::string render(const ChatTemplateOptions& options = {}) const {
    return ChatFormat(tokenizer().chat_source())
        .render(OrderedJson::parse(R"([{"role": "user"}])"), options)
        .text;
  }

  TemporaryFolder folder_;
  OrderedJson tools_ = OrderedJson::array();
};

TEST_F(ChatFormatTest, TemplatesKnowTheModelsTokensByName) {
  write_config(
      {{"pad_token", "<eos>"},
       {"unk_token", nullptr},
       {"chat_template", "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ unk_token is defined }}"}});
  EXPECT_EQ(render(), "<bos>|<eos>|<eos>|False");
  EXPECT_EQ(render({.special_tokens = {{"bos_token", "<other>"}}}), "<other>|<eos>|<eos>|False");
}

TEST_F(ChatFormatTest, TheTemplateForToolsIsForChatsWithTools) {
  const auto named = OrderedJson::parse(R"([{"name": "default", "template": "plain"},
                                            {"name": "rag", "template": "rag"},
                                            {"name": "tool_use", "template": "tools"}])");
  write_config({{"chat_template", named}});
  EXPECT_EQ(render(), "plain");
  EXPECT_EQ(render({.tools = &tools_}), "tools");
}

TEST_F(ChatFormatTest, FilesOfTheirOwnGoBeforeTheConfig) {
  write_config({{"chat_template", "of the config"}});
  write("chat_template.jinja", "of a file\n");
  write("additional_chat_templates/tool_use.jinja", "for tools");
  EXPECT_EQ(render(), "of a file");
  EXPECT_EQ(render({.tools = &tools_}), "for tools");
}

TEST_F(ChatFormatTest, WhatIsWrittenIsReadAgain) {
  write_config({{"pad_token", "<eos>"}, {"chat_template", "plain"}});
  write("additional_chat_templates/tool_use.jinja", "tools");
  const TemporaryFolder copy;
  write_tokenizer(read_tokenizer_spec(folder_.path()), copy.path());
  const ChatSource source = Tokenizer::load(copy.path()).chat_source();
  EXPECT_EQ(source.chat_template, "plain");
  EXPECT_EQ(source.tool_template, "tools");
  EXPECT_THAT(source.special_tokens, ElementsAre(Pair("bos_token", "<bos>"), Pair("eos_token", "<eos>"),
                                                 Pair("pad_token", "<eos>")));
}

TEST_F(ChatFormatTest, ModelsWithoutTemplateSaySo) {
  write_config(OrderedJson::object());
  EXPECT_EQ(
      error_of([&] { (void)render(); }),
      (folder_.path() / "tokenizer.json").string() +
          ": there is no chat template (chat_template.jinja, or chat_template in tokenizer_config.json)");
  write("chat_template.jinja", "\n{% if %}");
  EXPECT_EQ(error_of([&] { (void)render(); }),
            (folder_.path() / "tokenizer.json").string() +
                ": chat template:2: '%}' is here, where an expression is expected");
}

}  // namespace
}  // namespace fathom::test
