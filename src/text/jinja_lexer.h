#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_budget.h"

namespace fathom::jinja {

/// A fault in a template's text. The line counts from 1.
class SyntaxFault : public Fault {
 public:
  SyntaxFault(const std::string& message, int line) : Fault(message), line_(line) {}
  [[nodiscard]] int line() const { return line_; }

 private:
  int line_;
};

enum class TokenKind : std::uint8_t {
  kData,  // text of the template itself
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,  // escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;
  std::int64_t integer = 0;
  double real = 0;

  [[nodiscard]] bool is(TokenKind what) const { return kind == what; }
  [[nodiscard]] bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
  [[nodiscard]] bool is_operator(std::string_view name) const {
    return kind == TokenKind::kOperator && text == name;
  }
};

/// Cuts a template into tokens as Jinja2 does with `trim_blocks` and `lstrip_blocks`. The last one is `kEnd`.
/// @param source  valid UTF-8
/// Throws `SyntaxFault`.
std::vector<Token> lex(std::string_view source);

}  // namespace fathom::jinja
