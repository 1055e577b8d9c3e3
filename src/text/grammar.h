#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

struct CodePointRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;  // included

  bool operator==(const CodePointRange&) const = default;
};

inline constexpr std::uint32_t kMaxCodePoint = 0x10FFFF;

/// What a part of a grammar's rule stands for: a set of texts.
struct GrammarExpr {
  enum class Kind : std::uint8_t {
    kLiteral,   // `literal`
    kClass,     // one character of `ranges`
    kRule,      // what the rule `rule` stands for
    kSequence,  // all of `parts`, one after the other; of none: the empty text
    kChoice,    // any one of `parts`; of none: no text at all
    kRepeat,    // `parts[0]`, `least` to `most` times
    kGraph,     // the labels of any way from node 0 to the last node
  };
  /// Of a graph: a way from one node to another, along which `parts[label]` stands.
  struct Arc {
    std::size_t from = 0;
    std::size_t to = 0;
    std::size_t label = 0;
  };
  static constexpr std::int64_t kEndless = -1;

  Kind kind = Kind::kSequence;
  std::string literal;                 // UTF-8
  std::vector<CodePointRange> ranges;  // in ascending order, apart from each other, without surrogates
  std::size_t rule = 0;                // index into `Grammar::rules`
  std::vector<GrammarExpr> parts;
  std::int64_t least = 0;
  std::int64_t most = kEndless;
  std::vector<Arc> arcs;
  std::size_t nodes = 0;  // of a graph, 2 or more

  /// Whether it is written as a choice of nothing, which no text satisfies.
  [[nodiscard]] bool is_never() const { return kind == Kind::kChoice && parts.empty(); }
};

struct GrammarRule {
  std::string name;
  GrammarExpr body;
  std::string where;  // for messages: "FILE:LINE:COLUMN"
};

/// A context-free grammar over characters. The texts it stands for are those of its first rule.
struct Grammar {
  std::vector<GrammarRule> rules;
};

/// Expressions, put together. They are kept simple: what no text satisfies spreads to sequences that need it,
/// and leaves choices.
namespace expr {

GrammarExpr literal(std::string_view utf8);
/// @param ranges  in any order; surrogates, which UTF-8 does not have, are left out
GrammarExpr char_class(std::vector<CodePointRange> ranges);
/// Every character but those.
GrammarExpr char_class_except(std::vector<CodePointRange> ranges);
GrammarExpr any_char();
GrammarExpr rule_ref(std::size_t rule);
GrammarExpr sequence(std::vector<GrammarExpr> parts);
GrammarExpr choice(std::vector<GrammarExpr> parts);
/// @param most  `kEndless`: any number
GrammarExpr repeat(GrammarExpr part, std::int64_t least, std::int64_t most = GrammarExpr::kEndless);
GrammarExpr optional(GrammarExpr part);
GrammarExpr empty_text();
/// A graph; arcs whose label is `never` are left out.
GrammarExpr graph(std::size_t nodes, std::vector<GrammarExpr> labels, std::vector<GrammarExpr::Arc> arcs);
GrammarExpr never();

}  // namespace expr

}  // namespace fathom
