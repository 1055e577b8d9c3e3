#include "posttrain/answer_extraction.h"

#include <array>
#include <vector>

namespace fathom {
namespace {

constexpr std::string_view kOpenThink = "<think>";
constexpr std::string_view kCloseThink = "</think>";

/// What the last \boxed{...} holds; nothing where there is none, or it is never closed.
std::optional<std::string_view> last_box(std::string_view text) {
  static constexpr std::string_view kBox = "\\boxed{";
  const std::size_t found = text.rfind(kBox);
  if (found == std::string_view::npos) return std::nullopt;
  const std::size_t begin = found + kBox.size();
  std::size_t depth = 1;
  for (std::size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return text.substr(begin, i - begin);
  }
  return std::nullopt;
}

std::string_view rest_of_line(std::string_view text, std::size_t begin) {
  return text.substr(begin, text.find('\n', begin) - begin);
}

/// The lines behind the marks of an answer, best mark first.
std::vector<std::string_view> marked_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  if (const std::size_t hashes = text.rfind("####"); hashes != std::string_view::npos)
    lines.push_back(rest_of_line(text, hashes + 4));
  static constexpr std::array<std::string_view, 4> kPhrases = {"answer is", "answer:", "answer =", "answer="};
  const std::string lower = lower_case(text);
  std::size_t last = 0;  // end of the last phrase
  for (const std::string_view phrase : kPhrases)
    if (const std::size_t found = lower.rfind(phrase); found != std::string::npos)
      last = std::max(last, found + phrase.size());
  if (last > 0) lines.push_back(rest_of_line(text, last));
  return lines;
}

bool is_space_char(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

}  // namespace

std::string_view final_part(std::string_view answer) {
  const std::size_t close = answer.rfind(kCloseThink);
  if (close != std::string_view::npos) return answer.substr(close + kCloseThink.size());
  return answer.find(kOpenThink) == std::string_view::npos ? answer : std::string_view();
}

std::optional<AnswerNumber> extract_number(std::string_view answer) {
  const std::string_view text = final_part(answer);
  if (const auto box = last_box(text)) {
    const std::size_t equals = box->rfind('=');
    const std::vector<AnswerNumber> numbers =
        find_numbers(equals == std::string_view::npos ? *box : box->substr(equals + 1));
    return numbers.size() == 1 ? std::optional(numbers.front()) : std::nullopt;
  }
  for (const std::string_view line : marked_lines(text))
    if (const std::vector<AnswerNumber> numbers = find_numbers(line); !numbers.empty())
      return numbers.front();
  const std::vector<AnswerNumber> numbers = find_numbers(text);
  return numbers.empty() ? std::nullopt : std::optional(numbers.back());
}

std::optional<std::string> extract_marked_text(std::string_view answer) {
  const std::string_view text = final_part(answer);
  if (const auto box = last_box(text)) return plain_answer(*box);
  for (const std::string_view line : marked_lines(text))
    if (std::string plain = plain_answer(line); !plain.empty()) return plain;
  return std::nullopt;
}

std::string extract_text(std::string_view answer) {
  if (std::optional<std::string> marked = extract_marked_text(answer)) return *std::move(marked);
  std::string_view text = final_part(answer);
  while (!text.empty()) {
    const std::size_t begin = text.rfind('\n');
    std::string plain = plain_answer(begin == std::string_view::npos ? text : text.substr(begin + 1));
    if (!plain.empty()) return plain;
    text = text.substr(0, begin == std::string_view::npos ? 0 : begin);
  }
  return {};
}

std::string plain_answer(std::string_view text) {
  static constexpr std::string_view kText = "\\text{";
  static constexpr std::string_view kDecoration = " \t\n\r\v\f*`\"'$:.";
  const auto strip = [](std::string_view part) {
    const std::size_t first = part.find_first_not_of(kDecoration);
    if (first == std::string_view::npos) return std::string_view();
    return part.substr(first, part.find_last_not_of(kDecoration) - first + 1);
  };
  text = strip(text);
  if (text.starts_with(kText) && text.ends_with('}'))
    text = strip(text.substr(kText.size(), text.size() - kText.size() - 1));
  std::string plain;
  for (const char c : text) {
    if (!is_space_char(c)) {
      plain += c;
    } else if (plain.back() != ' ') {
      plain += ' ';
    }
  }
  return plain;
}

std::string plain_list(std::string_view text) {
  std::string plain;
  bool is_between = false;
  for (const char c : text) {
    if (is_space_char(c) || std::string_view(",;[](){}\"'`").find(c) != std::string_view::npos) {
      is_between = !plain.empty();
    } else {
      if (is_between) plain += ' ';
      is_between = false;
      plain += c;
    }
  }
  return plain;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

}  // namespace fathom
