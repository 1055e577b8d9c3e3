#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "text/grammar.h"

namespace fathom {

/// A grammar in the making, with the rules that all JSON grammars share; each is added when it is first used.
class JsonRules {
 public:
  /// @return  the rule's index
  std::size_t add(std::string name, std::string where, GrammarExpr body = expr::never());
  void set_body(std::size_t rule, GrammarExpr body) { grammar_.rules[rule].body = std::move(body); }
  [[nodiscard]] std::size_t size() const { return grammar_.rules.size(); }
  Grammar take() { return std::move(grammar_); }

  GrammarExpr any_string() { return shared(Shared::kString); }
  GrammarExpr any_number() { return shared(Shared::kNumber); }
  GrammarExpr any_object() { return shared(Shared::kObject); }
  GrammarExpr any_array() { return shared(Shared::kArray); }
  GrammarExpr any_value() { return shared(Shared::kValue); }

 private:
  enum class Shared : std::uint8_t { kString, kNumber, kObject, kArray, kValue };

  GrammarExpr shared(Shared which);
  GrammarExpr body_of(Shared which);

  Grammar grammar_;
  std::array<std::optional<std::size_t>, 5> shared_;
};

/// A value's key, colon and value, with what space may stand between.
GrammarExpr json_member(GrammarExpr key, GrammarExpr value);

/// `open`, any number of `item` with commas between, `close`, with what space may stand between.
GrammarExpr json_list(char open, GrammarExpr item, char close);

}  // namespace fathom
