#include "serve/completion_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "serve/api_error.h"
#include "serve/completion_json.h"

namespace fathom {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ApiError refusal_of(const std::string& body) {
  try {
    read_completion_request(body);
  } catch (const ApiError& error) {
    return error;
  }
  return {0, "", "no error"};
}

TEST(CompletionRequestTest, FieldsAreThoseOfOpenAi) {
  const CompletionRequest request = read_completion_request(
      R"({"model": "m", "prompt": "Hello", "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": -3,
          "stop": ["a", "b"], "stream": true, "stream_options": {"include_usage": true}, "n": 1, "echo": false,
          "user": "u", "logprobs": null, "top_k": 5})");
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(std::get<std::string>(request.prompt), "Hello");
  EXPECT_EQ(request.options.max_tokens, 7);
  EXPECT_EQ(request.options.sampling.temperature, 0.5);
  EXPECT_EQ(request.options.sampling.top_p, 0.9);
  EXPECT_EQ(request.options.sampling.top_k, 5);
  EXPECT_EQ(request.seed, static_cast<std::uint64_t>(-3));
  EXPECT_THAT(request.options.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.include_usage);
}

TEST(CompletionRequestTest, DefaultsAreThoseOfOpenAi) {
  const CompletionRequest request = read_completion_request(R"({"prompt": ""})");
  EXPECT_EQ(request.options.max_tokens, 16);
  EXPECT_EQ(request.options.sampling.temperature, 1.0);
  EXPECT_EQ(request.options.sampling.top_p, 1.0);
  EXPECT_FALSE(request.seed);
  EXPECT_FALSE(request.stream);
}

TEST(CompletionRequestTest, APromptIsTextOrTokenIds) {
  const auto ids = [](const std::string& json) {
    return std::get<std::vector<std::int32_t>>(read_completion_request(R"({"prompt": )" + json + "}").prompt);
  };
  EXPECT_THAT(ids("[1, 2, 3]"), ElementsAre(1, 2, 3));
  EXPECT_THAT(ids("[[1, 2, 3]]"), ElementsAre(1, 2, 3));
  EXPECT_THAT(ids("[]"), ElementsAre());
  EXPECT_EQ(std::get<std::string>(read_completion_request(R"({"prompt": ["one"]})").prompt), "one");
}

TEST(CompletionRequestTest, WhatIsWrongIsNamed) {
  const auto expect = [](const std::string& body, const std::string& param, const std::string& text) {
    const ApiError error = refusal_of(body);
    EXPECT_EQ(error.status(), 400) << body;
    EXPECT_EQ(error.param(), param) << body;
    EXPECT_THAT(error.what(), HasSubstr(text)) << body;
  };
  expect("", "", "the body");
  expect("[1]", "", "must be a JSON object");
  expect(R"({"prompt": "a", "prompt": "b"})", "", "the body");
  expect("{}", "prompt", "give a prompt");
  expect(R"({"prompt": ["a", "b"]})", "prompt", "one prompt a request");
  expect(R"({"prompt": [1, 2.5]})", "prompt", "whole numbers");
  expect(R"({"prompt": [1, -2]})", "prompt", "whole numbers");
  expect(R"({"prompt": [4294967296]})", "prompt", "whole numbers");
  expect(R"({"prompt": {}})", "prompt", "must be a string");
  expect(R"({"prompt": "a", "max_tokens": 0})", "max_tokens", "1 or more");
  expect(R"({"prompt": "a", "max_tokens": 18446744073709551615})", "max_tokens", "whole number");
  expect(R"({"prompt": "a", "max_tokens": "9"})", "max_tokens", "whole number");
  expect(R"({"prompt": "a", "temperature": "hot"})", "temperature", "must be a number");
  expect(R"({"prompt": "a", "temperature": -1})", "", "temperature is -1");
  expect(R"({"prompt": "a", "top_p": 0})", "", "top-p is 0");
  expect(R"({"prompt": "a", "n": 2})", "n", "not supported");
  expect(R"({"prompt": "a", "echo": true})", "echo", "not supported");
  expect(R"({"prompt": "a", "stop": [1]})", "stop", "must be a string");
  expect(R"({"prompt": "a", "stream": 1})", "stream", "true or false");
  expect(R"({"prompt": "a", "tempreature": 1})", "tempreature", "unknown field");
  expect(R"({"prompt": )" + std::string(1000, '[') + "}", "", "the body");
}

TEST(ApiErrorTest, HasTheFormOfOpenAi) {
  const auto json = nlohmann::json::parse(error_json(bad_request("no \"such\" thing", "stop")));
  EXPECT_EQ(json, (nlohmann::json{{"error",
                                   {{"message", "no \"such\" thing"},
                                    {"type", "invalid_request_error"},
                                    {"param", "stop"},
                                    {"code", nullptr}}}}));
}

TEST(CompletionJsonTest, AnswersHaveTheFormOfOpenAi) {
  const CompletionLabel label{"cmpl-1", 5, "m"};
  Answer answer;
  answer.text = "so it is";
  answer.reason = StopReason::stop_string;
  answer.stats.prompt_tokens = 3;
  answer.stats.cached_tokens = 2;
  answer.stats.answer_tokens = 4;
  EXPECT_EQ(completion_json(label, answer),
            R"({"id":"cmpl-1","object":"text_completion","created":5,"model":"m","choices":[{"index":0,)"
            R"("text":"so it is","logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,)"
            R"("completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}})");
  EXPECT_EQ(completion_chunk_json(label, "so"),
            R"({"id":"cmpl-1","object":"text_completion","created":5,"model":"m","choices":[{"index":0,)"
            R"("text":"so","logprobs":null,"finish_reason":null}]})");
  EXPECT_EQ(finish_reason_name(StopReason::max_tokens), "length");
  EXPECT_EQ(finish_reason_name(StopReason::end_of_text), "stop");
}

TEST(CompletionRequestTest, AnswersMayHaveAForm) {
  using Kind = GrammarRequest::Kind;
  const auto form_of = [](const std::string& fields) {
    return read_completion_request(R"({"prompt": "x", )" + fields + "}").options.grammar;
  };
  EXPECT_EQ(form_of(R"("user": "u")").kind, Kind::kNone);
  EXPECT_EQ(form_of(R"("response_format": {"type": "text"})").kind, Kind::kNone);
  EXPECT_EQ(form_of(R"("response_format": {"type": "json_object"})").kind, Kind::kJsonObject);
  EXPECT_EQ(form_of(R"("grammar": "root ::= \"a\"")"),
            (GrammarRequest{.kind = Kind::kGbnf, .text = "root ::= \"a\""}));
  // Properties keep the order in which they were written.
  EXPECT_EQ(
      form_of(R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": false,
                       "schema": {"properties": {"z": true, "a": true}}}})"),
      (GrammarRequest{.kind = Kind::kJsonSchema,
                      .text = R"({"properties":{"z":true,"a":true}})",
                      .ignores_unenforceable = true}));
  EXPECT_THAT(refusal_of(R"({"prompt": "x", "response_format": {"type": "xml"}})").what(),
              HasSubstr("json_schema"));
  EXPECT_THAT(refusal_of(R"({"prompt": "x", "response_format": {"type": "json_schema"}})").what(),
              HasSubstr("needs json_schema"));
  EXPECT_THAT(refusal_of(R"({"prompt": "x", "grammar": 1})").what(), HasSubstr("grammar must be a string"));
}

}  // namespace
}  // namespace fathom
