#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "posttrain/answer_number.h"

namespace fathom {

/// What follows the think block: the text behind the last `</think>`, or all of a text without tags. Empty
/// where a block is opened and never closed: there is no answer yet.
std::string_view final_part(std::string_view answer);

/// The number that an answer (its `final_part`) gives, by the first of these that finds one:
///   1. the last \boxed{...}: the one number in it, behind its last "="; with none or several there is no
///   answer
///   2. the first number of the line behind the last "####"
///   3. the first number of the line behind the last "answer is", "answer:" or "answer ="
///   4. the last number
std::optional<AnswerNumber> extract_number(std::string_view answer);

/// The text that an answer (its `final_part`) gives, by the same marks in the same order: a box, the line
/// behind
/// "####" or "answer is", else the last line that is not empty; as `plain_answer` makes it. Empty: none.
std::string extract_text(std::string_view answer);

/// As `extract_text`, of marks alone: nothing where the answer has none of them.
std::optional<std::string> extract_marked_text(std::string_view answer);

/// Without what decorates an answer: \text{...} around it, spaces, quotes, asterisks, $, : and full stops at
/// its ends; runs of white space become one space.
std::string plain_answer(std::string_view text);

/// The items of a list as text writes it, separated by one space: commas, semicolons, brackets, quotes and
/// white space separate.
std::string plain_list(std::string_view text);

/// ASCII letters in lower case.
std::string lower_case(std::string_view text);

}  // namespace fathom
