#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/grammar.h"
#include "text/grammar_budget.h"

namespace fathom {

/// A rule of a grammar as a nondeterministic automaton over bytes and calls of rules (Thompson's
/// construction).
class GrammarNfa {
 public:
  enum class Kind : std::uint8_t { kEmpty, kBytes, kCall };
  struct Edge {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    std::uint32_t rule = 0;  // kCall
    std::uint8_t low = 0;    // kBytes: one byte from `low` to `high`
    std::uint8_t high = 0;
    Kind kind = Kind::kEmpty;
  };

  /// Throws `Error` where the budget is used up.
  GrammarNfa(const GrammarRule& rule, GrammarBudget& budget);

  [[nodiscard]] std::uint32_t start() const { return 0; }
  [[nodiscard]] std::uint32_t end() const { return 1; }
  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::span<const Edge> edges(std::uint32_t state) const {
    return std::span(edges_).subspan(begin_[state], begin_[state + 1] - begin_[state]);
  }

 private:
  std::uint32_t new_state();
  void add(const Edge& edge);
  /// Edges and states by which `expr` leads from one state to another.
  void build(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to);
  void build_literal(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to);
  void build_class(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to);
  void build_sequence(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to);
  void build_repeat(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to);
  void build_graph(const GrammarExpr& expr, std::uint32_t from, std::uint32_t to);

  const GrammarRule& rule_;
  GrammarBudget& budget_;
  std::uint32_t size_ = 2;
  std::vector<Edge> edges_;           // by `from`
  std::vector<std::uint32_t> begin_;  // [size + 1] into edges_
};

}  // namespace fathom
