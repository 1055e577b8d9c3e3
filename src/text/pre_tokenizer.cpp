#include "text/pre_tokenizer.h"

#include <fmt/core.h>

#include <cstddef>
#include <optional>
#include <utility>

namespace fathom {
namespace {

// A stretch of text that matched, or one between matches.
struct Segment {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool match = false;
};

// Joins or drops segments as a behavior says; one segment is held back until its successor is known.
template <typename Emit>
class SegmentJoiner {
 public:
  SegmentJoiner(SplitBehavior behavior, Emit emit) : behavior_(behavior), emit_(std::move(emit)) {}

  void add(const Segment& segment) {
    if (held_ && joins(segment)) {
      held_->end = segment.end;
      joined_ = true;
      last_match_ = segment.match;
      return;
    }
    flush();
    held_ = segment;
    joined_ = false;
    last_match_ = segment.match;
  }

  void flush() {
    if (!held_) return;
    const bool dropped = behavior_ == SplitBehavior::kRemoved && held_->match;
    if (!dropped && held_->begin != held_->end) emit_(held_->begin, held_->end);
    held_.reset();
  }

 private:
  [[nodiscard]] bool joins(const Segment& next) const {
    switch (behavior_) {
      case SplitBehavior::kContiguous:
        return next.match == last_match_;
      case SplitBehavior::kMergedWithPrevious:
        return next.match && !last_match_;
      case SplitBehavior::kMergedWithNext:
        return !next.match && last_match_ && !joined_;
      default:
        return false;
    }
  }

  SplitBehavior behavior_;
  Emit emit_;
  std::optional<Segment> held_;
  bool joined_ = false;
  bool last_match_ = false;
};

std::optional<Regex::Match> find_next(const std::string& literal, std::string_view text, std::size_t from,
                                      RegexScratch& /*scratch*/) {
  const std::size_t at = text.find(literal, from);
  if (at == std::string_view::npos) return std::nullopt;
  return Regex::Match{at, at + literal.size()};
}

std::optional<Regex::Match> find_next(const Regex& regex, std::string_view text, std::size_t from,
                                      RegexScratch& scratch) {
  return regex.find(text, from, scratch);
}

std::size_t next_character(std::string_view text, std::size_t at) {
  do ++at;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U);
  return at;
}

// Calls `add` with the matches of `pattern` and the gaps between them. An empty match right after the match
// before it does not count.
template <typename Pattern, typename Add>
void for_each_segment(const Pattern& pattern, std::string_view text, bool invert, RegexScratch& scratch,
                      Add&& add) {
  std::size_t done = 0;  // all before is given away
  std::optional<std::size_t> last_match_end;
  for (std::size_t from = 0; from <= text.size();) {
    const std::optional<Regex::Match> match = find_next(pattern, text, from, scratch);
    if (!match) break;
    if (match->begin == match->end && last_match_end == match->end) {
      from = next_character(text, from);
      continue;
    }
    if (done != match->begin) add(Segment{done, match->begin, invert});
    add(Segment{match->begin, match->end, !invert});
    done = match->end;
    from = match->end;
    last_match_end = match->end;
  }
  if (done != text.size()) add(Segment{done, text.size(), invert});
}

}  // namespace

PreTokenizer::PreTokenizer(const std::vector<PreTokenizerStep>& steps, const std::string& where) {
  for (const PreTokenizerStep& step : steps) {
    if (std::holds_alternative<PrefixSpaceStep>(step)) {
      steps_.emplace_back(PrefixSpaceStep{});
      continue;
    }
    const auto& split = std::get<SplitStep>(step);
    if (split.literal) {
      steps_.emplace_back(Split{split.pattern, split.behavior, split.invert});
    } else {
      steps_.emplace_back(
          Split{Regex(split.pattern, fmt::format("{}: pre_tokenizer step {}", where, steps_.size())),
                split.behavior, split.invert});
    }
  }
}

void PreTokenizer::apply(std::size_t step, std::string_view piece, RegexScratch& scratch, Sink& sink) const {
  if (piece.empty()) return;
  if (step == steps_.size()) return sink.word(piece);
  if (std::holds_alternative<Split>(steps_[step])) return apply_split(step, piece, scratch, sink);
  if (piece.front() == ' ') return apply(step + 1, piece, scratch, sink);
  std::string prefixed;
  prefixed.reserve(piece.size() + 1);
  prefixed += ' ';
  prefixed += piece;
  apply(step + 1, prefixed, scratch, sink);
}

void PreTokenizer::apply_split(std::size_t step, std::string_view piece, RegexScratch& scratch,
                               Sink& sink) const {
  const auto& split = std::get<Split>(steps_[step]);
  const auto emit = [&](std::size_t begin, std::size_t end) {
    apply(step + 1, piece.substr(begin, end - begin), scratch, sink);
  };
  SegmentJoiner joiner(split.behavior, emit);
  const auto add = [&](const Segment& segment) { joiner.add(segment); };
  std::visit([&](const auto& pattern) { for_each_segment(pattern, piece, split.invert, scratch, add); },
             split.pattern);
  joiner.flush();
}

}  // namespace fathom
