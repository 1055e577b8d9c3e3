// `fathom serve` through the real binary, alone and under mpirun, against `fathom run`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "serve/http_library.h"
#include "support/program.h"
#include "support/shared_data.h"
#include "support/tiny_checkpoint.h"

namespace fathom {
namespace {

using nlohmann::json;
using test::ProgramResult;
using testing::HasSubstr;

const std::string kServed = test::tiny_checkpoint("tiny_bf16");

/// What the command says of where it listens: "... on http://127.0.0.1:PORT/v1...".
int port_in(const std::string& err) {
  const std::string before = "http://127.0.0.1:";
  return std::stoi(err.substr(err.find(before) + before.size()));
}

std::string answer_of_run(const std::string& prompt) {
  const ProgramResult result =
      test::run_fathom({"run", kServed, prompt, "--temperature", "0", "-n", "24", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  return json::parse(result.out).at("text");
}

std::string answer_of_server(int port, const std::string& prompt) {
  httplib::Client client("127.0.0.1", port);
  const json body = {{"prompt", prompt}, {"max_tokens", 24}, {"temperature", 0}};
  const httplib::Result result = client.Post("/v1/completions", body.dump(), "application/json");
  if (!result) return "no answer: " + httplib::to_string(result.error());
  if (result->status != 200) return result->body;
  return json::parse(result->body).at("choices").at(0).at("text");
}

struct ServedBy {
  std::string name;
  int processes = 1;
  std::vector<std::string> options;
};

class ServeCommandTest : public testing::TestWithParam<ServedBy> {
 protected:
  test::TemporaryFolder folder_;

  /// Starts a server, has `use` ask it, ends it in order, and returns what became of it.
  static ProgramResult serve(int processes, std::vector<std::string> options,
                             const std::function<void(int port, pid_t pid)>& use) {
    std::vector<std::string> arguments = {"serve", kServed, "--port", "0", "--threads", "1"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return test::fathom_while(processes, arguments, "/v1", [&](const std::string& err, pid_t pid) {
      use(port_in(err), pid);
      kill(pid, processes == 1 ? SIGTERM : SIGUSR1);  // which mpirun hands on
    });
  }
};

TEST_P(ServeCommandTest, AnswersAreThoseOfRun) {
  std::vector<std::string> prompts;
  std::vector<std::string> expected;
  for (const test::TinyExpectation& one : test::tiny_expectations("tiny_bf16")) {
    prompts.push_back(one.prompt);
    expected.push_back(answer_of_run(one.prompt));
  }
  const std::string counts = folder_.path() / "counts.json";
  std::vector<std::string> options = GetParam().options;
  options.insert(options.end(), {"--write-expert-load", counts});
  const ProgramResult result = serve(GetParam().processes, options, [&](int port, pid_t) {
    std::vector<std::future<std::string>> answers;
    for (int round = 0; round < 2; ++round)
      for (const std::string& prompt : prompts)
        answers.push_back(std::async(std::launch::async, [=] { return answer_of_server(port, prompt); }));
    for (std::size_t i = 0; i < answers.size(); ++i)
      EXPECT_EQ(answers[i].get(), expected[i % expected.size()]);
  });
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("serving tiny_bf16 on http://127.0.0.1:"));
  EXPECT_GT(json::parse(read_text_file(counts, 1 << 20)).at("tokens_of_expert").size(), 0U);

  // What was counted places experts the next time.
  options.insert(options.end(), {"--expert-load", counts});
  const ProgramResult again = serve(GetParam().processes, options, [&](int port, pid_t) {
    EXPECT_EQ(answer_of_server(port, prompts.front()), expected.front());
  });
  EXPECT_EQ(again.status, 0) << again.err;
}

INSTANTIATE_TEST_SUITE_P(
    Processes, ServeCommandTest,
    testing::Values(ServedBy{"One", 1, {}}, ServedBy{"OneWithoutDrafts", 1, {"--speculate", "off"}},
                    ServedBy{"Two", 2, {}}, ServedBy{"TwoWithCopies", 2, {"--redundant-experts", "4"}},
                    ServedBy{"Disaggregated", 3, {"--prefill-processes", "1", "--redundant-experts", "2"}}),
    [](const auto& by) { return by.param.name; });

TEST_F(ServeCommandTest, PrefixesInMemoryAreCounted) {
  const ProgramResult result = serve(1, {"--prefix-cache-memory", "1M"}, [&](int port, pid_t) {
    httplib::Client client("127.0.0.1", port);
    const json prefixes = json::parse(client.Get("/health")->body).at("prefixes");
    for (const char* key :
         {"memory_bytes", "memory_pages", "loaded_from_memory", "folder_bytes", "loaded_from_folder"})
      EXPECT_EQ(prefixes.at(key), 0) << key << ", where there is room for all in the caches";
  });
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_CLEAN_FAILURE(test::run_fathom({"serve", kServed, "--prefix-cache-memory", "much"}), 2,
                       "--prefix-cache-memory");
}

TEST_F(ServeCommandTest, DraftsAreCountedAndNeedOneProcess) {
  const ProgramResult result =
      serve(1, {"--speculate", "ngram", "--draft-tokens", "3"}, [&](int port, pid_t) {
        httplib::Client client("127.0.0.1", port);
        const json body = {{"prompt", "one two one two one two one two"},
                           {"max_tokens", 60},
                           {"temperature", 0},
                           {"ignore_eos", true}};
        ASSERT_TRUE(client.Post("/v1/completions", body.dump(), "application/json"));
        const json health = json::parse(client.Get("/health")->body);
        EXPECT_GT(health.at("drafted_tokens"), 0);
        EXPECT_LE(health.at("checked_tokens"), health.at("drafted_tokens"));
        EXPECT_LE(health.at("accepted_tokens"), health.at("checked_tokens"));
      });
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_CLEAN_FAILURE(test::run_fathom({"serve", kServed, "--speculate", "mtp"}), 1, "has no MTP module");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"serve", kServed, "--draft-tokens", "0"}), 2, "draft-tokens is 0");
  const ProgramResult spread = test::mpirun_fathom(2, {"serve", kServed, "--speculate", "ngram"});
  EXPECT_NE(spread.status, 0);
  EXPECT_THAT(spread.err, HasSubstr("drafts are for a server of one process, and this one has 2"));
}

TEST_F(ServeCommandTest, AProcessThatDiesEndsTheJobAndIsNamed) {
  std::vector<std::string> arguments = {"serve", kServed, "--port", "0", "--threads", "1"};
  const ProgramResult result =
      test::fathom_while(2, arguments, "/v1", [&](const std::string& err, pid_t pid) {
        EXPECT_NE(answer_of_server(port_in(err), "The"), "");
        kill(test::pid_of_rank(pid, 1), SIGKILL);
      });
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("process rank 1"));
}

TEST_F(ServeCommandTest, WhatCannotBeServedIsRefused) {
  EXPECT_CLEAN_FAILURE(test::run_fathom({"serve", folder_.path() / "none"}), 1, "no such folder");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"serve", kServed, "--prefill-processes", "1"}), 1,
                       "leave none of 1 to go on");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"serve", kServed, "--expert-load", folder_.path() / "none.json"}), 1,
                       "none.json");
  EXPECT_CLEAN_FAILURE(test::run_fathom({"serve", kServed, "--port", "70000"}), 2, "--port");
  const ProgramResult uneven = test::mpirun_fathom(2, {"serve", kServed, "--redundant-experts", "1"});
  EXPECT_NE(uneven.status, 0);
  EXPECT_THAT(uneven.err, HasSubstr("8 experts and 1 redundant copies do not divide over 2 processes"));
}

}  // namespace
}  // namespace fathom
