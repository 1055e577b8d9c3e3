#include "text/grammar.h"

#include <algorithm>
#include <utility>

namespace fathom::expr {
namespace {

constexpr std::uint32_t kFirstSurrogate = 0xD800;
constexpr std::uint32_t kLastSurrogate = 0xDFFF;

/// In ascending order, and joined where they touch.
std::vector<CodePointRange> normalised(std::vector<CodePointRange> ranges) {
  std::ranges::sort(ranges, {}, &CodePointRange::first);
  std::vector<CodePointRange> joined;
  for (const CodePointRange& range : ranges) {
    if (range.first > range.last) continue;
    if (!joined.empty() && range.first <= joined.back().last + 1) {
      joined.back().last = std::max(joined.back().last, range.last);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

/// What is not in them.
std::vector<CodePointRange> complement(const std::vector<CodePointRange>& ranges) {
  std::vector<CodePointRange> left;
  std::uint32_t next = 0;
  for (const CodePointRange& range : ranges) {
    if (range.first > next) left.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kMaxCodePoint) left.push_back({next, kMaxCodePoint});
  return left;
}

std::vector<CodePointRange> without_surrogates(const std::vector<CodePointRange>& ranges) {
  std::vector<CodePointRange> left;
  for (const CodePointRange& range : ranges) {
    if (range.first < kFirstSurrogate)
      left.push_back({range.first, std::min(range.last, kFirstSurrogate - 1)});
    if (range.last > kLastSurrogate) left.push_back({std::max(range.first, kLastSurrogate + 1), range.last});
  }
  return left;
}

GrammarExpr class_of(const std::vector<CodePointRange>& normal) {
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kClass;
  expr.ranges = without_surrogates(normal);
  return expr.ranges.empty() ? never() : expr;
}

}  // namespace

GrammarExpr literal(std::string_view utf8) {
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kLiteral;
  expr.literal = utf8;
  return expr;
}

GrammarExpr char_class(std::vector<CodePointRange> ranges) {
  return class_of(normalised(std::move(ranges)));
}

GrammarExpr char_class_except(std::vector<CodePointRange> ranges) {
  return class_of(complement(normalised(std::move(ranges))));
}

GrammarExpr any_char() {
  return char_class_except({});
}

GrammarExpr rule_ref(std::size_t rule) {
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kRule;
  expr.rule = rule;
  return expr;
}

GrammarExpr sequence(std::vector<GrammarExpr> parts) {
  if (std::ranges::any_of(parts, &GrammarExpr::is_never)) return never();
  if (parts.size() == 1) return std::move(parts.front());
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kSequence;
  expr.parts = std::move(parts);
  return expr;
}

GrammarExpr choice(std::vector<GrammarExpr> parts) {
  std::erase_if(parts, [](const GrammarExpr& part) { return part.is_never(); });
  if (parts.size() == 1) return std::move(parts.front());
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kChoice;
  expr.parts = std::move(parts);
  return expr;
}

GrammarExpr repeat(GrammarExpr part, std::int64_t least, std::int64_t most) {
  if (most == 0 || (part.is_never() && least == 0)) return empty_text();
  if (part.is_never()) return never();
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kRepeat;
  expr.parts.push_back(std::move(part));
  expr.least = least;
  expr.most = most;
  return expr;
}

GrammarExpr optional(GrammarExpr part) {
  return repeat(std::move(part), 0, 1);
}

GrammarExpr empty_text() {
  return sequence({});
}

GrammarExpr graph(std::size_t nodes, std::vector<GrammarExpr> labels, std::vector<GrammarExpr::Arc> arcs) {
  std::erase_if(arcs, [&](const GrammarExpr::Arc& arc) { return labels[arc.label].is_never(); });
  GrammarExpr expr;
  expr.kind = GrammarExpr::Kind::kGraph;
  expr.parts = std::move(labels);
  expr.arcs = std::move(arcs);
  expr.nodes = nodes;
  return expr;
}

GrammarExpr never() {
  return choice({});
}

}  // namespace fathom::expr
