// The HTTP side over a real engine, asked by cpp-httplib's client.

#include "serve/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "infer/text_model.h"
#include "serve/http_library.h"
#include "support/error_text.h"
#include "support/serving.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class HttpServerTest : public testing::Test {
 protected:
  TextModel model_ = load_text_model(test::tiny_checkpoint("tiny_f32"));
  test::TinyExpectation expected_ = test::tiny_expectations("tiny_f32").front();
  test::EngineSetup setup_;
  HttpOptions options_{.port = 0, .model = "tiny"};

  void serve(const std::function<void(Engine&, HttpServer&, httplib::Client&)>& use) {
    test::with_engine(model_, setup_, [&](Engine& engine) {
      HttpServer server(engine, model_.tokenizer, options_);
      httplib::Client client("127.0.0.1", server.port());
      use(engine, server, client);
    });
  }
  [[nodiscard]] json body() const {
    return {{"model", "tiny"}, {"prompt", expected_.prompt}, {"max_tokens", 24}, {"temperature", 0}};
  }
  static httplib::Result post(httplib::Client& client, const json& body) {
    return client.Post("/v1/completions", body.dump(), "application/json");
  }
};

/// The `data:` lines of a stream of events, without its comments.
std::vector<std::string> events_of(const std::string& text) {
  std::vector<std::string> events;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find("\n\n", at);
    EXPECT_NE(end, std::string::npos);
    if (text[at] != ':') {
      EXPECT_EQ(text.substr(at, 6), "data: ");
      events.push_back(text.substr(at + 6, end - at - 6));
    }
    at = end + 2;
  }
  return events;
}

TEST_F(HttpServerTest, AnAnswerIsThatOfTransformers) {
  serve([&](Engine&, HttpServer&, httplib::Client& client) {
    for (const json& prompt : {json(expected_.prompt), json(expected_.ids)}) {
      json request = body();
      request["prompt"] = prompt;
      const httplib::Result result = post(client, request);
      ASSERT_TRUE(result);
      EXPECT_EQ(result->status, 200) << result->body;
      EXPECT_EQ(result->get_header_value("Content-Type"), "application/json");
      const json answer = json::parse(result->body);
      EXPECT_EQ(answer.at("choices").at(0).at("text"), expected_.answer);
      EXPECT_EQ(answer.at("choices").at(0).at("finish_reason"), "length");
      EXPECT_EQ(answer.at("usage").at("prompt_tokens"), expected_.ids.size());
      EXPECT_EQ(answer.at("usage").at("completion_tokens"), 24);
      EXPECT_EQ(answer.at("model"), "tiny");
    }
  });
}

TEST_F(HttpServerTest, AnAnswerHasTheFormThatIsAskedFor) {
  setup_.end_of_text = model_.end_of_text();
  serve([&](Engine&, HttpServer&, httplib::Client& client) {
    json request = body();
    request["max_tokens"] = 200;
    const json schema = {{"enum", {12, 345}}};  // without a place for white space, which a random model likes
    request["response_format"] = {{"type", "json_schema"}, {"json_schema", {{"schema", schema}}}};
    const httplib::Result result = post(client, request);
    ASSERT_TRUE(result);
    const json choice = json::parse(result->body).at("choices").at(0);
    EXPECT_EQ(choice.at("finish_reason"), "stop");
    const json answer = json::parse(choice.at("text").get<std::string>());
    EXPECT_TRUE(answer == 12 || answer == 345) << answer;

    request.erase("response_format");
    request["grammar"] = "root ::= root";
    EXPECT_EQ(post(client, request)->status, 400);
    EXPECT_THAT(post(client, request)->body, HasSubstr("grammar:1:1: the rule root begins with itself"));
  });
}

TEST_F(HttpServerTest, AStreamsPiecesTogetherAreTheAnswer) {
  serve([&](Engine&, HttpServer&, httplib::Client& client) {
    json request = body();
    request["stream"] = true;
    request["stream_options"] = {{"include_usage", true}};
    const httplib::Result result = post(client, request);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->get_header_value("Content-Type"), "text/event-stream");
    const std::vector<std::string> events = events_of(result->body);
    ASSERT_GE(events.size(), 4U);  // pieces that wait for the client come together
    EXPECT_EQ(events.back(), "[DONE]");
    EXPECT_EQ(json::parse(events[events.size() - 2]).at("usage").at("completion_tokens"), 24);
    std::string text;
    for (std::size_t i = 0; i + 2 < events.size(); ++i) {
      const json choice = json::parse(events[i]).at("choices").at(0);
      text += choice.at("text");
      EXPECT_EQ(choice.at("finish_reason"), i + 3 == events.size() ? json("length") : json(nullptr));
    }
    EXPECT_EQ(text, expected_.answer);
  });
}

TEST_F(HttpServerTest, ManyClientsAtOnceGetTheirOwnAnswers) {
  setup_.ranks = 2;
  setup_.prefill = 1;
  const std::vector<test::TinyExpectation> all = test::tiny_expectations("tiny_f32");
  serve([&](Engine&, HttpServer& server, httplib::Client&) {
    std::vector<std::future<std::string>> answers;
    for (int i = 0; i < 12; ++i)
      answers.push_back(std::async(std::launch::async, [&, i] {
        httplib::Client client("127.0.0.1", server.port());
        json request = body();
        request["prompt"] = all[static_cast<std::size_t>(i) % all.size()].prompt;
        return json::parse(post(client, request)->body).at("choices").at(0).at("text").get<std::string>();
      }));
    for (std::size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].get(), all[i % all.size()].answer);
  });
}

TEST_F(HttpServerTest, ErrorsHaveTheFormOfOpenAi) {
  options_.max_body = 4096;
  serve([&](Engine&, HttpServer&, httplib::Client& client) {
    const auto expect = [](const httplib::Result& result, int status, const std::string& text) {
      ASSERT_TRUE(result);
      EXPECT_EQ(result->status, status);
      const json error = json::parse(result->body).at("error");
      EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr(text));
      EXPECT_TRUE(error.contains("type"));
    };
    expect(client.Post("/v1/completions", "{", "application/json"), 400, "the body");
    expect(client.Post("/v1/completions", R"({"prompt": 5})", "application/json"), 400, "prompt must be");
    expect(client.Post("/v1/completions", R"({"prompt": [340]})", "application/json"), 400, "token id 340");
    expect(client.Post("/v1/completions", R"({"prompt": []})", "application/json"), 400, "prompt is empty");
    expect(client.Post("/v1/completions", R"({"prompt": "a", "model": "gpt"})", "application/json"), 404,
           "there is no model gpt here, but tiny");
    expect(client.Post("/v1/completions", std::string(5000, ' '), "application/json"), 413, "too long");
    expect(client.Get("/v1/nothing"), 404, "there is no GET /v1/nothing here");
    expect(client.Get("/v1/completions"), 404, "there is no GET /v1/completions here");
  });
}

TEST_F(HttpServerTest, ModelsAndHealthAreTold) {
  serve([&](Engine&, HttpServer&, httplib::Client& client) {
    const json models = json::parse(client.Get("/v1/models")->body);
    EXPECT_EQ(models.at("data").at(0).at("id"), "tiny");
    EXPECT_EQ(json::parse(client.Get("/health")->body).at("status"), "ok");
  });
}

/// Has the engine stand still, so that nobody is let in, while `still` lives.
void stop_engine(Engine& engine, const test::StandStill& still) {
  GenerationOptions options;
  options.max_tokens = 1;
  engine.submit({5}, options, {}, still.on_end());
  still.wait_until_it_stands();
}

TEST_F(HttpServerTest, TooManyRequestsAreToldToTryAgain) {
  setup_.engine.max_waiting = 1;
  serve([&](Engine& engine, HttpServer& server, httplib::Client& client) {
    std::future<int> waiting;
    {
      const test::StandStill still;
      stop_engine(engine, still);
      waiting = std::async(std::launch::async, [&] {
        httplib::Client other("127.0.0.1", server.port());
        return post(other, body())->status;
      });
      while (engine.waiting() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const httplib::Result result = post(client, body());
      ASSERT_TRUE(result);
      EXPECT_EQ(result->status, 429);
      EXPECT_EQ(json::parse(result->body).at("error").at("type"), "rate_limit_error");
    }
    EXPECT_EQ(waiting.get(), 200);
  });
}

TEST_F(HttpServerTest, AClientThatGoesAwayCancelsItsRequest) {
  for (const bool stream : {true, false}) {
    serve([&](Engine& engine, HttpServer& server, httplib::Client& client) {
      const test::StandStill still;  // so that the answer cannot be sent before
      stop_engine(engine, still);
      json request = body();
      request["stream"] = stream;
      httplib::Client hasty("127.0.0.1", server.port());
      hasty.set_read_timeout(0, 50000);
      EXPECT_FALSE(post(hasty, request)) << "it gives up after 50 ms";
      hasty.stop();
      while (engine.waiting() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      // Seen while nothing is sent: nobody is there to take it.
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (json::parse(client.Get("/health")->body).at("sending") != 0 &&
             std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      EXPECT_LT(std::chrono::steady_clock::now(), deadline) << "stream: " << stream;
    });
  }
}

TEST_F(HttpServerTest, DrainingAnswersWhatIsUnderWayAndTakesNoMore) {
  serve([&](Engine& engine, HttpServer& server, httplib::Client& client) {
    std::future<std::string> answer;
    std::future<void> drained;
    {
      const test::StandStill still;
      stop_engine(engine, still);
      answer = std::async(std::launch::async, [&] {
        httplib::Client other("127.0.0.1", server.port());
        return json::parse(post(other, body())->body).at("choices").at(0).at("text").get<std::string>();
      });
      while (engine.waiting() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      drained = std::async(std::launch::async, [&] { server.drain(); });
      while (json::parse(client.Get("/health")->body).at("status") != "ending")
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_EQ(post(client, body())->status, 503);
    }
    EXPECT_EQ(answer.get(), expected_.answer);
    drained.get();
  });
}

TEST_F(HttpServerTest, APortThatIsTakenIsNamed) {
  serve([&](Engine& engine, HttpServer& server, httplib::Client&) {
    HttpOptions same = options_;
    same.port = server.port();
    EXPECT_THAT(test::error_of([&] { HttpServer(engine, model_.tokenizer, same); }),
                HasSubstr("cannot listen on 127.0.0.1 port " + std::to_string(server.port())));
  });
}

}  // namespace
}  // namespace fathom
