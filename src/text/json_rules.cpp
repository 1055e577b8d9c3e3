#include "text/json_rules.h"

#include <utility>

#include "text/json_text.h"

namespace fathom {
namespace {

constexpr std::array kSharedNames = {"string", "number", "object", "array", "value"};

}  // namespace

std::size_t JsonRules::add(std::string name, std::string where, GrammarExpr body) {
  grammar_.rules.push_back({std::move(name), std::move(body), std::move(where)});
  return grammar_.rules.size() - 1;
}

GrammarExpr JsonRules::shared(Shared which) {
  const auto index = static_cast<std::size_t>(which);
  if (!shared_[index]) {
    shared_[index] = add(kSharedNames[index], "JSON");
    set_body(*shared_[index], body_of(which));  // which may use itself
  }
  return expr::rule_ref(*shared_[index]);
}

GrammarExpr JsonRules::body_of(Shared which) {
  switch (which) {
    case Shared::kString:
      return json_string(0, GrammarExpr::kEndless);
    case Shared::kNumber:
      return json_number(nullptr, nullptr);
    case Shared::kObject:
      return json_list('{', json_member(any_string(), any_value()), '}');
    case Shared::kArray:
      return json_list('[', any_value(), ']');
    case Shared::kValue:
      break;
  }
  return expr::choice({any_object(), any_array(), any_string(), any_number(), expr::literal("true"),
                       expr::literal("false"), expr::literal("null")});
}

GrammarExpr json_member(GrammarExpr key, GrammarExpr value) {
  return expr::sequence({std::move(key), json_space(), expr::literal(":"), json_space(), std::move(value)});
}

GrammarExpr json_list(char open, GrammarExpr item, char close) {
  const GrammarExpr more =
      expr::repeat(expr::sequence({expr::literal(","), json_space(), item, json_space()}), 0);
  return expr::sequence({expr::literal(std::string(1, open)), json_space(),
                         expr::optional(expr::sequence({std::move(item), json_space(), more})),
                         expr::literal(std::string(1, close))});
}

}  // namespace fathom
