#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <thread>
#include <vector>

#include "base/checksum.h"
#include "jinja_support.h"
#include "support/error_text.h"

namespace fathom::test {
namespace {

using testing::ElementsAre;
using testing::Pair;

std::string hexadecimal_checksum(std::string_view text) {
  return fmt::format("{:016x}", checksum(text));
}

/// What a conversation of the goldens comes to: length and checksum of its text, or how it fails.
OrderedJson rendered(const ChatTemplate& chat_template, const OrderedJson& talk, const OrderedJson& tokens) {
  ChatTemplateOptions options;
  const auto given = [&](const char* key) { return talk.contains(key) ? &talk.at(key) : nullptr; };
  options.tools = given("tools");
  options.documents = given("documents");
  options.variables = given("variables");
  options.add_generation_prompt = talk.value("add_generation_prompt", false);
  options.continue_final_message = talk.value("continue_final_message", false);
  options.local_time = time_of_goldens;
  for (const auto& [name, token] : tokens.items())
    options.special_tokens.emplace_back(name, token.get<std::string>());
  try {
    const std::string text = chat_template.render(talk.at("messages"), options).text;
    return {text.size(), hexadecimal_checksum(text)};
  } catch (const ChatTemplateRefusal& refusal) {
    return {"refusal", refusal.reason()};
  } catch (const Error&) {
    return {"error", ""};
  }
}

TEST(ChatTemplateTest, RendersPublishedTemplatesAsTransformersDoes) {
  FATHOM_SHARED_DATA_OR_SKIP(data);
  const OrderedJson goldens = template_golden("chat_templates.json");
  const OrderedJson& talks = goldens["conversations"];
  std::size_t agreed = 0;
  for (const auto& [name, wanted] : goldens["templates"].items()) {
    const std::string source = read_text_file(data / "templates" / name, 1U << 20U);
    ASSERT_EQ(hexadecimal_checksum(source), wanted["hash"])
        << name << " is not the file that the goldens were made of";
    const ChatTemplate chat_template = ChatTemplate::parse(source, name);
    for (std::size_t i = 0; i < talks.size(); ++i) {
      OrderedJson expected = wanted["rendered"][i];
      if (expected[0] == "error") expected[1] = "";
      EXPECT_EQ(rendered(chat_template, talks[i], goldens["tokens"]), expected) << name << "\n" << talks[i];
      ++agreed;
    }
  }
  EXPECT_GT(agreed, 50U * 30U);
}

constexpr const char* kChatMl =
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

TEST(ChatTemplateTest, SaysWhereTheAssistantsTextIs) {
  const auto chat_template = ChatTemplate::parse(kChatMl, "t");
  const auto messages =
      OrderedJson::parse(R"([{"role": "user", "content": "é"}, {"role": "assistant", "content": "ja"},
                                               {"role": "user", "content": ""}, {"role": "assistant", "content": "nein"}])");
  const RenderedChat chat = chat_template.render(messages);
  EXPECT_EQ(chat.text, "<|user|>é\n<|assistant|>ja\n<|user|>\n<|assistant|>nein\n");
  EXPECT_THAT(chat.generations, ElementsAre(Pair(24, 26), Pair(49, 53)));
  EXPECT_EQ(chat.text.substr(49, 4), "nein");
  EXPECT_FALSE(chat.has_hidden_generation);
}

TEST(ChatTemplateTest, ReasoningHasAllItsNamesAndNullsAreLeftOut) {
  EXPECT_EQ(print_template("{{ messages }}", R"([{"role": "assistant", "content": null, "thinking": "t"}])"),
            "[{'thinking': 't', 'role': 'assistant', 'reasoning_content': 't'}]");
  EXPECT_EQ(
      print_template("{{ tools }} {{ documents }} {{ add_generation_prompt }} {{ bos_token is defined }}"),
      "None None False False");
}

TEST(ChatTemplateTest, VariablesGoBeforeSpecialTokens) {
  const auto messages = OrderedJson::parse(R"([{"role": "user"}])");
  const auto variables = OrderedJson::parse(R"({"bos_token": "[B]", "x": [1]})");
  ChatTemplateOptions options;
  options.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  options.variables = &variables;
  EXPECT_EQ(ChatTemplate::parse("{{ bos_token }}{{ eos_token }}{{ x }}", "t").render(messages, options).text,
            "[B]</s>[1]");
}

TEST(ChatTemplateTest, LastMessageGoesOn) {
  const auto chat_template = ChatTemplate::parse(kChatMl, "t");
  ChatTemplateOptions options;
  options.continue_final_message = true;
  const auto messages =
      OrderedJson::parse(R"([{"role": "user", "content": "A"}, {"role": "assistant", "content": "The "}])");
  const RenderedChat chat = chat_template.render(messages, options);
  EXPECT_EQ(chat.text, "<|user|>A\n<|assistant|>The ");
  EXPECT_THAT(chat.generations, ElementsAre(Pair(23, 27)));
  options.add_generation_prompt = true;
  EXPECT_EQ(error_of([&] { (void)chat_template.render(messages, options); }),
            "t: either the last message is continued, or an answer begins: not both");
}

TEST(ChatTemplateTest, RefusalsCarryTheTemplatesWords) {
  try {
    print_template("\n{{ raise_exception('Only ' ~ messages|length ~ '?') }}");
    FAIL();
  } catch (const ChatTemplateRefusal& refusal) {
    EXPECT_EQ(refusal.reason(), "Only 1?");
    EXPECT_STREQ(refusal.what(), "t:2: the template refuses: Only 1?");
  }
}

TEST(ChatTemplateTest, WhatIsNoConversationIsRefused) {
  EXPECT_EQ(error_of([] { print_template("", "[]"); }),
            "t: the conversation is empty: give one message at least");
  EXPECT_EQ(error_of([] { print_template("", "{}"); }), "t: the messages are no list");
  EXPECT_EQ(error_of([] { print_template("", R"([{}, 5])"); }), "t: message 2 is no object");
}

TEST(ChatTemplateTest, SeveralThreadsRenderAtOnce) {
  const auto chat_template = ChatTemplate::parse(kChatMl, "t");
  const auto messages =
      OrderedJson::parse(R"([{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}])");
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (std::string& text : texts)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) text = chat_template.render(messages).text;
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : texts) EXPECT_EQ(text, "<|user|>A\n<|assistant|>B\n");
}

}  // namespace
}  // namespace fathom::test
