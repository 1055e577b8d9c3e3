#include "posttrain/conversation_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/error_text.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

std::string messages_of_line(const char* line) {
  return chat_record(OrderedJson::parse(line), "f:1").messages.dump();
}

TEST(ConversationJsonTest, TakesTheFormsThatAreAbout) {
  const std::string expected = R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])";
  EXPECT_EQ(messages_of_line(
                R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})"),
            expected);
  EXPECT_EQ(messages_of_line(
                R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]})"),
            expected);
  EXPECT_EQ(messages_of_line(R"({"prompt": "a", "completion": "b"})"), expected);
  EXPECT_EQ(messages_of_line(R"({"prompt": [{"role": "user", "content": "a"}],
                         "completion": [{"role": "assistant", "content": "b"}]})"),
            expected);
  EXPECT_EQ(messages_of_line(R"({"instruction": "a", "input": "", "output": "b"})"), expected);
  EXPECT_THAT(messages_of_line(R"({"instruction": "a", "input": "x", "output": "b"})"),
              HasSubstr(R"("a\n\nx")"));
}

TEST(ConversationJsonTest, KeepsTools) {
  const OrderedJson line = OrderedJson::parse(
      R"({"messages": [{"role": "assistant", "content": "b"}], "tools": [{"type": "function"}]})");
  EXPECT_EQ(chat_record(line, "f:1").tools.dump(), R"([{"type":"function"}])");
}

TEST(ConversationJsonTest, NamesWhatIsNoChat) {
  const auto error = [](const char* line) { return error_of([&] { (void)messages_of_line(line); }); };
  EXPECT_THAT(error(R"([1])"), HasSubstr("f:1: a line must be a JSON object"));
  EXPECT_THAT(error(R"({"text": "a"})"), HasSubstr("it needs \"messages\""));
  EXPECT_THAT(error(R"({"messages": []})"), HasSubstr("a list that is not empty"));
  EXPECT_THAT(error(R"({"messages": [{"content": "a"}]})"), HasSubstr("an object with a \"role\""));
  EXPECT_THAT(error(R"({"messages": [{"role": "user", "content": "a"}]})"),
              HasSubstr("no message is the assistant's"));
  EXPECT_THAT(error(R"({"conversations": [{"from": "bot", "value": "a"}]})"), HasSubstr("\"from\" is"));
  EXPECT_THAT(error(R"({"conversations": [{"from": "gpt", "value": 1}]})"),
              HasSubstr("\"value\" must be a string"));
  EXPECT_THAT(error(R"({"prompt": 1, "completion": "a"})"), HasSubstr("\"prompt\" must be"));
  EXPECT_THAT(error(R"({"messages": [{"role": "assistant"}], "tools": {}})"),
              HasSubstr("\"tools\" must be a list"));
}

}  // namespace
}  // namespace fathom
