#include "posttrain/answer_form.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "text/code_points.h"
#include "text/utf8.h"

namespace fathom {
namespace {

enum Script : std::uint8_t {
  kLatin,
  kGreek,
  kCyrillic,
  kHebrew,
  kArabic,
  kDevanagari,
  kThai,
  kHangul,
  kEastAsian,  // Han and kana, which Japanese mixes
  kScripts,
  kNoLetter = kScripts
};

struct ScriptRange {
  std::uint32_t first;
  std::uint32_t last;
  Script script;
};

// Blocks of letters (Unicode 15); what lies between is no letter of these scripts.
constexpr std::array<ScriptRange, 20> kScriptRanges = {
    {{0x41, 0x5A, kLatin},         {0x61, 0x7A, kLatin},          {0xC0, 0xD6, kLatin},
     {0xD8, 0xF6, kLatin},         {0xF8, 0x24F, kLatin},         {0x370, 0x3FF, kGreek},
     {0x400, 0x52F, kCyrillic},    {0x5D0, 0x5EA, kHebrew},       {0x620, 0x6FF, kArabic},
     {0x900, 0x97F, kDevanagari},  {0xE01, 0xE3A, kThai},         {0xE40, 0xE4E, kThai},
     {0x1100, 0x11FF, kHangul},    {0x1E00, 0x1EFF, kLatin},      {0x3041, 0x30FF, kEastAsian},
     {0x3400, 0x4DBF, kEastAsian}, {0x4E00, 0x9FFF, kEastAsian},  {0xAC00, 0xD7A3, kHangul},
     {0xF900, 0xFAFF, kEastAsian}, {0x20000, 0x323AF, kEastAsian}}};

Script script_of(std::uint32_t code_point) {
  for (const ScriptRange& range : kScriptRanges)
    if (code_point >= range.first && code_point <= range.last) return range.script;
  return kNoLetter;
}

std::array<std::int64_t, kScripts> count_words(std::string_view text) {
  std::array<std::int64_t, kScripts> words{};
  Script before = kNoLetter;
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8_unit(text);
    const Script script =
        unit.kind == Utf8Unit::Kind::kCharacter ? script_of(first_code_point(text)) : kNoLetter;
    if (script != kNoLetter && (script != before || script == kEastAsian)) ++words.at(script);
    before = script;
    text.remove_prefix(unit.length);
  }
  return words;
}

std::size_t occurrences_of(std::string_view part, std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++count;
  return count;
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

bool has_think_form(std::string_view answer, ThinkBlock block) {
  static constexpr std::string_view kOpen = "<think>";
  static constexpr std::string_view kClose = "</think>";
  const std::size_t opens = occurrences_of(kOpen, answer);
  const std::size_t closes = occurrences_of(kClose, answer);
  if (opens == 0 && closes == 0) return block == ThinkBlock::optional && !is_blank(answer);
  if (opens != 1 || closes != 1) return false;
  const std::size_t open = answer.find(kOpen);
  const std::size_t close = answer.find(kClose);
  return open < close && is_blank(answer.substr(0, open)) &&
         !is_blank(answer.substr(open + kOpen.size(), close - open - kOpen.size())) &&
         !is_blank(answer.substr(close + kClose.size()));
}

double language_consistency(std::string_view prompt, std::string_view answer) {
  const auto wanted = count_words(prompt);
  const auto given = count_words(answer);
  std::int64_t all = 0;
  for (const std::int64_t count : given) all += count;
  const auto* most = std::ranges::max_element(wanted);
  if (*most == 0 || all == 0) return 1.0;
  return static_cast<double>(given.at(static_cast<std::size_t>(most - wanted.begin()))) /
         static_cast<double>(all);
}

double overlong_punishment(std::int64_t tokens, std::int64_t limit, std::int64_t margin) {
  if (limit <= 0 || tokens <= limit - margin) return 0;
  if (tokens >= limit) return -1;
  return static_cast<double>(limit - margin - tokens) / static_cast<double>(margin);
}

}  // namespace fathom
