#include "posttrain/problem_json.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace fathom {
namespace {

const std::string& string_of(const Json& object, const char* field, std::string_view where) {
  const auto place = object.find(field);
  require(place != object.end() && place->is_string(), "{}: needs a string \"{}\"", where, field);
  return place->get_ref<const std::string&>();
}

std::vector<ChatTurn> turns_of(const Json& line, std::string_view where) {
  const auto messages = line.find("messages");
  require(messages != line.end() && messages->is_array(), "{}: needs a list \"messages\"", where);
  std::vector<ChatTurn> turns;
  for (const Json& message : *messages) {
    require(message.is_object(), "{}: a message is no object with \"role\" and \"content\"", where);
    turns.push_back({string_of(message, "role", where), string_of(message, "content", where)});
  }
  return turns;
}

}  // namespace

OrderedJson problem_to_json(const Problem& problem) {
  OrderedJson messages = OrderedJson::array();
  for (const ChatTurn& turn : problem.turns)
    messages.push_back({{"role", turn.role}, {"content", turn.content}});
  if (!problem.solution.empty()) messages.push_back({{"role", "assistant"}, {"content", problem.solution}});
  OrderedJson json = {{"messages", std::move(messages)},
                      {"answer", problem.reference},
                      {"id", problem.id()},
                      {"canonical", problem.canonical}};
  if (!problem.metadata.empty()) json["metadata"] = problem.metadata;
  return json;
}

AnsweredProblem answered_problem_of_json(const Json& line, std::string_view where) {
  require(line.is_object(), "{}: is no JSON object", where);
  AnsweredProblem answered;
  Problem& problem = answered.problem;
  problem.turns = turns_of(line, where);
  if (!problem.turns.empty() && problem.turns.back().role == "assistant") {
    problem.solution = std::move(problem.turns.back().content);
    problem.turns.pop_back();
  }
  bool asks = false;
  for (const ChatTurn& turn : problem.turns) asks = asks || turn.role == "user";
  require(asks, "{}: its messages hold none of a user", where);
  problem.reference = string_of(line, "answer", where);
  if (line.contains("canonical")) problem.canonical = string_of(line, "canonical", where);
  if (const auto metadata = line.find("metadata"); metadata != line.end()) {
    require(metadata->is_object(), "{}: \"metadata\" is no object", where);
    for (const auto& [key, value] : metadata->items())
      problem.metadata[key] = string_of(*metadata, key.c_str(), where);
  }
  answered.response.text = line.contains("response") ? string_of(line, "response", where) : problem.solution;
  require(line.contains("response") || !problem.solution.empty(),
          "{}: has no answer to score: a string \"response\", or a last message of the assistant", where);
  if (const auto tokens = line.find("tokens"); tokens != line.end()) {
    require(tokens->is_number_unsigned() && *tokens <= INT64_MAX, "{}: \"tokens\" is no count", where);
    answered.response.tokens = tokens->get<std::int64_t>();
  }
  return answered;
}

}  // namespace fathom
