#pragma once

#include <string_view>

#include "base/json.h"
#include "posttrain/task.h"

namespace fathom {

/// A problem as a line of a chat corpus: "messages" (its turns, and the worked solution as the assistant's,
/// where there is one), "answer", "id", "canonical", "metadata".
OrderedJson problem_to_json(const Problem& problem);

/// A problem and an answer to it, of such a line: the answer is "response", or else what the assistant says
/// last.
struct AnsweredProblem {
  Problem problem;
  Response response;  // with "tokens", where the line has them
};
/// @param where  names the line in messages, as "FILE:3"
/// Throws `Error` naming the line and the field that is missing or no string.
AnsweredProblem answered_problem_of_json(const Json& line, std::string_view where);

}  // namespace fathom
