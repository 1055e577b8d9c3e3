#include "text/grammar_nfa.h"

#include <algorithm>
#include <map>

#include "text/code_points.h"

namespace fathom {
namespace {

/// What an edge costs of the budget: mostly its memory.
constexpr std::size_t kEdgeSteps = 30;

}  // namespace

GrammarNfa::GrammarNfa(const GrammarRule& rule, GrammarBudget& budget) : rule_(rule), budget_(budget) {
  build(rule.body, start(), end());
  std::ranges::stable_sort(edges_, {}, &Edge::from);
  begin_.resize(size_ + 1);
  for (const Edge& edge : edges_) ++begin_[edge.from + 1];
  for (std::uint32_t state = 0; state < size_; ++state) begin_[state + 1] += begin_[state];
}

std::uint32_t GrammarNfa::new_state() {
  return size_++;
}

void GrammarNfa::add(const Edge& edge) {
  budget_.spend(kEdgeSteps, rule_);
  edges_.push_back(edge);
}

void GrammarNfa::build(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to) {
  switch (expr.kind) {
    case GrammarExpr::Kind::kLiteral:
      return build_literal(expr, from, to);
    case GrammarExpr::Kind::kClass:
      return build_class(expr, from, to);
    case GrammarExpr::Kind::kRule:
      return add(
          {.from = from, .to = to, .rule = static_cast<std::uint32_t>(expr.rule), .kind = Kind::kCall});
    case GrammarExpr::Kind::kSequence:
      return build_sequence(expr, from, to);
    case GrammarExpr::Kind::kChoice:
      for (const GrammarExpr& part : expr.parts) build(part, from, to);
      return;
    case GrammarExpr::Kind::kRepeat:
      return build_repeat(expr, from, to);
    case GrammarExpr::Kind::kGraph:
      return build_graph(expr, from, to);
  }
}

void GrammarNfa::build_literal(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to) {
  if (expr.literal.empty()) return add({.from = from, .to = to});
  for (std::size_t i = 0; i < expr.literal.size(); ++i) {
    const std::uint32_t next = i + 1 == expr.literal.size() ? to : new_state();
    const auto byte = static_cast<std::uint8_t>(expr.literal[i]);
    add({.from = from, .to = next, .low = byte, .high = byte, .kind = Kind::kBytes});
    from = next;
  }
}

/// Sequences of bytes that end alike share their end.
void GrammarNfa::build_class(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to) {
  std::map<std::vector<ByteRange>, std::uint32_t> before;  // by what is left to read: the state
  before[{}] = to;
  for (const CodePointRange& range : expr.ranges) {
    for (const std::vector<ByteRange>& bytes : utf8_ranges(range.first, range.last)) {
      std::uint32_t next = to;
      for (std::size_t i = bytes.size(); i-- > 1;) {
        const std::vector<ByteRange> left(bytes.begin() + static_cast<std::ptrdiff_t>(i), bytes.end());
        const auto [found, is_new] = before.try_emplace(left, 0);
        if (is_new) {
          found->second = new_state();
          add({.from = found->second,
               .to = next,
               .low = bytes[i].low,
               .high = bytes[i].high,
               .kind = Kind::kBytes});
        }
        next = found->second;
      }
      add({.from = from, .to = next, .low = bytes[0].low, .high = bytes[0].high, .kind = Kind::kBytes});
    }
  }
}

void GrammarNfa::build_sequence(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to) {
  if (expr.parts.empty()) return add({.from = from, .to = to});
  for (std::size_t i = 0; i < expr.parts.size(); ++i) {
    const std::uint32_t next = i + 1 == expr.parts.size() ? to : new_state();
    build(expr.parts[i], from, next);
    from = next;
  }
}

void GrammarNfa::build_repeat(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to) {
  const GrammarExpr& part = expr.parts.front();
  // States between the repetitions are this one's own: others may lead to `from` and on from `to`.
  const auto next_state = [&](Edge edge) {
    edge.to = new_state();
    add(edge);
    return edge.to;
  };
  from = next_state({.from = from});
  for (std::int64_t i = 0; i < expr.least; ++i) {
    const std::uint32_t next = new_state();
    build(part, from, next);
    from = next;
  }
  if (expr.most == GrammarExpr::kEndless) {
    const std::uint32_t loop = next_state({.from = from});
    build(part, loop, loop);
    return add({.from = loop, .to = to});
  }
  for (std::int64_t i = expr.least; i < expr.most; ++i) {
    add({.from = from, .to = to});
    const std::uint32_t next = new_state();
    build(part, from, next);
    from = next;
  }
  add({.from = from, .to = to});
}

void GrammarNfa::build_graph(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to) {
  std::vector<std::uint32_t> states(expr.nodes);
  for (std::uint32_t& state : states) state = new_state();
  // As for repetitions: arcs may lead back to the first node and on from the last one.
  add({.from = from, .to = states.front()});
  add({.from = states.back(), .to = to});
  for (const GrammarExpr::Arc& arc : expr.arcs)
    build(expr.parts[arc.label], states[arc.from], states[arc.to]);
}

}  // namespace fathom
