#include "text/jinja_parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "text/in_quotes.h"
#include "text/jinja_lexer.h"

namespace fathom::jinja {
namespace {

constexpr int kMaxNesting = 400;    // of blocks, brackets and operands in the text
constexpr int kMaxTreeDepth = 600;  // of chains, as of "a + b + c", whose parts nest in one another

class Parser {
 public:
  Parser(std::vector<Token> tokens, Budget& budget) : tokens_(std::move(tokens)), budget_(budget) {}

  Block run() {
    Block body = block({});
    return body;
  }

 private:
  /// One level deeper in the text.
  class Nested {
   public:
    explicit Nested(Parser& parser) : parser_(parser) {
      if (++parser_.nesting_ > kMaxNesting) {
        --parser_.nesting_;
        parser_.refuse(fmt::format("nested deeper than {} levels", kMaxNesting));
      }
    }
    ~Nested() { --parser_.nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Parser& parser_;
  };

  [[noreturn]] void refuse(const std::string& what, int line) const { throw SyntaxFault(what, line); }
  [[noreturn]] void refuse(const std::string& what) const { refuse(what, current().line); }

  [[nodiscard]] const Token& current() const { return tokens_[at_]; }
  [[nodiscard]] const Token& following() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() {
    const Token& token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool skip_name(std::string_view name) {
    if (!current().is_name(name)) return false;
    next();
    return true;
  }
  bool skip_operator(std::string_view name) {
    if (!current().is_operator(name)) return false;
    next();
    return true;
  }

  static std::string shown(const Token& token) {
    switch (token.kind) {
      case TokenKind::kData:
        return "text";
      case TokenKind::kVariableBegin:
        return "'{{'";
      case TokenKind::kVariableEnd:
        return "'}}'";
      case TokenKind::kBlockBegin:
        return "'{%'";
      case TokenKind::kBlockEnd:
        return "'%}'";
      case TokenKind::kString:
        return "a string";
      case TokenKind::kInteger:
      case TokenKind::kFloat:
        return "a number";
      case TokenKind::kEnd:
        return "the template's end";
      default:
        return in_quotes(token.text);
    }
  }
  [[noreturn]] void expected(const std::string& what) const {
    refuse(fmt::format("{} is here, where {} is expected", shown(current()), what));
  }
  const Token& expect(TokenKind kind, const std::string& what) {
    if (!current().is(kind)) expected(what);
    return next();
  }
  void expect_operator(std::string_view name) {
    if (!skip_operator(name)) expected(fmt::format("'{}'", name));
  }
  void expect_name(std::string_view name) {
    if (!skip_name(name)) expected(fmt::format("'{}'", name));
  }

  // Trees.

  ExprPtr make(ExprKind kind, int line) const {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = line;
    return expr;
  }
  void deepen(Expr& expr, const Expr* part) const {
    if (part == nullptr) return;
    expr.depth = std::max(expr.depth, part->depth + 1);
    if (expr.depth > kMaxTreeDepth)
      refuse(fmt::format("an expression of more than {} parts in one another", kMaxTreeDepth), expr.line);
  }
  void add(Expr& expr, ExprPtr part) const {
    deepen(expr, part.get());
    expr.parts.push_back(std::move(part));
  }
  ExprPtr make(ExprKind kind, int line, ExprPtr first) const {
    ExprPtr expr = make(kind, line);
    add(*expr, std::move(first));
    return expr;
  }
  ExprPtr make(ExprKind kind, int line, ExprPtr first, ExprPtr second) const {
    ExprPtr expr = make(kind, line, std::move(first));
    add(*expr, std::move(second));
    return expr;
  }
  ExprPtr constant(Value value, int line) const {
    ExprPtr expr = make(ExprKind::kConstant, line);
    expr->constant = std::move(value);
    return expr;
  }

  // Statements.

  /// Up to a tag of one of these names, which is not read; with none, up to the template's end.
  Block block(std::initializer_list<std::string_view> ends) {
    const Nested nested(*this);
    Block body;
    std::unique_ptr<Stmt> output;
    const auto print = [&](ExprPtr expr) {
      if (output == nullptr) {
        output = std::make_unique<Stmt>();
        output->line = expr->line;
      }
      output->exprs.push_back(std::move(expr));
    };
    const auto flush = [&] {
      if (output != nullptr) body.push_back(std::move(output));
    };
    while (!current().is(TokenKind::kEnd)) {
      if (current().is(TokenKind::kData)) {
        const int line = current().line;
        print(constant(Value::text(budget_, next().text), line));
      } else if (current().is(TokenKind::kVariableBegin)) {
        next();
        print(tuple_or_expression());
        expect(TokenKind::kVariableEnd, "'}}'");
      } else {
        flush();
        expect(TokenKind::kBlockBegin, "'{%'");
        if (current().is(TokenKind::kName) && std::ranges::find(ends, current().text) != ends.end())
          return body;
        body.push_back(statement());
        expect(TokenKind::kBlockEnd, "'%}'");
      }
    }
    if (ends.size() > 0)
      refuse(fmt::format("the template ends where {{% {} %}} is expected", *(ends.end() - 1)));
    flush();
    return body;
  }

  /// The rest of a tag, and what follows up to a tag of one of these names.
  Block body_until(std::initializer_list<std::string_view> ends) {
    skip_operator(":");
    expect(TokenKind::kBlockEnd, "'%}'");
    return block(ends);
  }

  std::unique_ptr<Stmt> statement() {
    const Nested nested(*this);
    if (!current().is(TokenKind::kName)) expected("the name of a tag");
    auto stmt = std::make_unique<Stmt>();
    stmt->line = current().line;
    const std::string name = next().text;
    if (name == "if") {
      if_statement(*stmt);
    } else if (name == "for") {
      for_statement(*stmt);
    } else if (name == "set") {
      set_statement(*stmt);
    } else if (name == "macro") {
      macro_statement(*stmt);
    } else if (name == "call") {
      call_statement(*stmt);
    } else if (name == "generation") {
      stmt->kind = StmtKind::kGeneration;
      stmt->body = function_body("endgeneration");
    } else if (name == "filter") {
      stmt->kind = StmtKind::kFilterBlock;
      stmt->exprs.push_back(filters(nullptr, true));
      stmt->body = body_until({"endfilter"});
      next();
    } else if (name == "with") {
      with_statement(*stmt);
    } else if (name == "print") {
      while (!current().is(TokenKind::kBlockEnd)) {
        if (!stmt->exprs.empty()) expect_operator(",");
        stmt->exprs.push_back(expression());
      }
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) refuse(fmt::format("{{% {} %}} stands in no loop", name), stmt->line);
      stmt->kind = name == "break" ? StmtKind::kBreak : StmtKind::kContinue;
    } else {
      refuse(unknown_tag(name), stmt->line);
    }
    return stmt;
  }

  static std::string unknown_tag(const std::string& name) {
    static constexpr std::array<std::string_view, 6> kOthers = {"include", "import", "from",
                                                                "extends", "block",  "autoescape"};
    if (std::ranges::find(kOthers, name) != kOthers.end())
      return fmt::format(
          "the tag {} is not supported: a chat template stands alone, and prints text as it is", name);
    return fmt::format("the tag {} is not known, or closes nothing here", in_quotes(name));
  }

  void if_statement(Stmt& stmt) {
    stmt.kind = StmtKind::kIf;
    while (true) {
      stmt.exprs.push_back(tuple_or_expression(false));
      stmt.branches.push_back(body_until({"elif", "else", "endif"}));
      const std::string& end = next().text;
      if (end == "elif") continue;
      if (end == "else") {
        stmt.exprs.push_back(nullptr);
        stmt.branches.push_back(body_until({"endif"}));
        next();
      }
      return;
    }
  }

  void for_statement(Stmt& stmt) {
    stmt.kind = StmtKind::kFor;
    stmt.target = assignment_target(false, "in");
    refuse_loop_as_target(*stmt.target);
    expect_name("in");
    stmt.exprs.push_back(tuple_or_expression(false, "recursive"));
    stmt.exprs.push_back(nullptr);
    if (skip_name("if")) {
      stmt.exprs[1] = expression();
      stmt.test_target = copy_of_target(*stmt.target);
    }
    stmt.is_recursive = skip_name("recursive");
    ++loops_;
    stmt.body = body_until({"else", "endfor"});
    --loops_;
    if (next().text == "endfor") return;
    stmt.else_body = body_until({"endfor"});
    next();
  }

  void refuse_loop_as_target(const Expr& target) const {
    if (target.kind == ExprKind::kName && target.name == "loop")
      refuse("the variable loop cannot be a loop's target", target.line);
    for (const ExprPtr& part : target.parts) refuse_loop_as_target(*part);
  }

  ExprPtr copy_of_target(const Expr& target) const {
    ExprPtr copy = make(target.kind, target.line);
    copy->name = target.name;
    for (const ExprPtr& part : target.parts) add(*copy, copy_of_target(*part));
    return copy;
  }

  void set_statement(Stmt& stmt) {
    stmt.target = assignment_target(true, "");
    if (skip_operator("=")) {
      stmt.kind = StmtKind::kSet;
      stmt.exprs.push_back(tuple_or_expression());
      return;
    }
    stmt.kind = StmtKind::kSetBlock;
    stmt.exprs.push_back(filters(nullptr, false));
    stmt.body = body_until({"endset"});
    next();
  }

  void with_statement(Stmt& stmt) {
    stmt.kind = StmtKind::kWith;
    while (!current().is(TokenKind::kBlockEnd)) {
      if (!stmt.targets.empty()) expect_operator(",");
      stmt.targets.push_back(assignment_target(false, ""));
      expect_operator("=");
      stmt.exprs.push_back(expression());
    }
    stmt.body = body_until({"endwith"});
    next();
  }

  /// A body that is a function of its own: loops around it are not its loops.
  Block function_body(std::string_view end) {
    const int loops = loops_;
    loops_ = 0;
    Block body = body_until({end});
    next();
    loops_ = loops;
    return body;
  }

  void parameters(Stmt& stmt) {
    expect_operator("(");
    while (!current().is_operator(")")) {
      if (!stmt.parameters.empty()) expect_operator(",");
      Parameter parameter;
      const int line = current().line;
      parameter.name = name_to_assign();
      for (const Parameter& other : stmt.parameters)
        if (other.name == parameter.name)
          refuse(fmt::format("the parameter {} is given twice", other.name), line);
      if (skip_operator("=")) {
        parameter.otherwise = expression();
      } else if (!stmt.parameters.empty() && stmt.parameters.back().otherwise != nullptr) {
        refuse("a parameter without a default stands behind one with a default", line);
      }
      stmt.parameters.push_back(std::move(parameter));
    }
    expect_operator(")");
  }

  std::string name_to_assign() {
    if (!current().is(TokenKind::kName)) expected("a name");
    if (is_constant_name(current().text)) refuse(fmt::format("{} cannot be assigned to", current().text));
    return next().text;
  }

  void macro_statement(Stmt& stmt) {
    stmt.kind = StmtKind::kMacro;
    stmt.name = name_to_assign();
    parameters(stmt);
    stmt.body = function_body("endmacro");
  }

  void call_statement(Stmt& stmt) {
    stmt.kind = StmtKind::kCallBlock;
    if (current().is_operator("(")) parameters(stmt);
    stmt.exprs.push_back(expression());
    if (stmt.exprs[0]->kind != ExprKind::kCall) refuse("a call is expected behind {% call", stmt.line);
    stmt.body = function_body("endcall");
  }

  // Targets of assignments.

  static bool is_constant_name(std::string_view name) {
    return name == "true" || name == "false" || name == "none" || name == "True" || name == "False" ||
           name == "None";
  }

  ExprPtr assignment_target(bool with_namespace, std::string_view end) {
    const int line = current().line;
    ExprPtr tuple = make(ExprKind::kTuple, line);
    bool is_tuple = false;
    while (true) {
      if (!tuple->parts.empty()) expect_operator(",");
      if (at_tuple_end() || (!end.empty() && current().is_name(end))) break;
      add(*tuple, target_part(with_namespace));
      if (!current().is_operator(",")) break;
      is_tuple = true;
    }
    if (is_tuple) return tuple;
    if (tuple->parts.empty()) expected("a name to assign to");
    return std::move(tuple->parts[0]);
  }

  ExprPtr target_part(bool with_namespace) {
    const Nested nested(*this);
    const int line = current().line;
    if (skip_operator("(")) {
      ExprPtr tuple = make(ExprKind::kTuple, line);
      bool is_tuple = false;
      while (!current().is_operator(")")) {
        add(*tuple, target_part(false));
        if (!skip_operator(",")) break;
        is_tuple = true;
      }
      expect_operator(")");
      return is_tuple || tuple->parts.empty() ? std::move(tuple) : std::move(tuple->parts[0]);
    }
    ExprPtr target = make(ExprKind::kName, line);
    target->name = name_to_assign();
    if (with_namespace && skip_operator(".")) {
      ExprPtr attribute = make(ExprKind::kNamespaced, line);
      attribute->name = expect(TokenKind::kName, "a name").text;
      add(*attribute, std::move(target));
      return attribute;
    }
    return target;
  }

  // Expressions, the loosest operators first.

  [[nodiscard]] bool at_tuple_end() const {
    return current().is(TokenKind::kVariableEnd) || current().is(TokenKind::kBlockEnd) ||
           current().is_operator(")");
  }

  /// "a" or "a, b" @param end  a name that ends a tuple too
  ExprPtr tuple_or_expression(bool with_condition = true, std::string_view end = "",
                              bool in_parentheses = false) {
    const int line = current().line;
    ExprPtr tuple = make(ExprKind::kTuple, line);
    bool is_tuple = false;
    while (true) {
      if (!tuple->parts.empty()) expect_operator(",");
      if (at_tuple_end() || (!end.empty() && current().is_name(end))) break;
      add(*tuple, with_condition ? expression() : or_expression());
      if (!current().is_operator(",")) break;
      is_tuple = true;
    }
    if (is_tuple) return tuple;
    if (!tuple->parts.empty()) return std::move(tuple->parts[0]);
    if (!in_parentheses) expected("an expression");
    return tuple;
  }

  ExprPtr expression() {
    const Nested nested(*this);
    int line = current().line;
    ExprPtr value = or_expression();
    while (skip_name("if")) {
      ExprPtr condition = make(ExprKind::kCondition, line, or_expression(), std::move(value));
      add(*condition, skip_name("else") ? expression() : nullptr);
      value = std::move(condition);
      line = current().line;
    }
    return value;
  }

  ExprPtr or_expression() {
    const int line = current().line;
    ExprPtr left = and_expression();
    while (skip_name("or")) left = make(ExprKind::kOr, line, std::move(left), and_expression());
    return left;
  }

  ExprPtr and_expression() {
    const int line = current().line;
    ExprPtr left = not_expression();
    while (skip_name("and")) left = make(ExprKind::kAnd, line, std::move(left), not_expression());
    return left;
  }

  ExprPtr not_expression() {
    const Nested nested(*this);
    const int line = current().line;
    if (skip_name("not")) return make(ExprKind::kNot, line, not_expression());
    return comparison();
  }

  std::optional<Comparison> comparison_operator() {
    static constexpr std::array<std::pair<std::string_view, Comparison>, 6> kOperators = {
        {{"==", Comparison::kEqual},
         {"!=", Comparison::kNotEqual},
         {"<", Comparison::kLess},
         {"<=", Comparison::kLessOrEqual},
         {">", Comparison::kGreater},
         {">=", Comparison::kGreaterOrEqual}}};
    for (const auto& [name, meaning] : kOperators)
      if (skip_operator(name)) return meaning;
    if (skip_name("in")) return Comparison::kIn;
    if (current().is_name("not") && following().is_name("in")) {
      next();
      next();
      return Comparison::kNotIn;
    }
    return std::nullopt;
  }

  ExprPtr comparison() {
    const int line = current().line;
    ExprPtr first = sum();
    auto meaning = comparison_operator();
    if (!meaning) return first;
    ExprPtr chain = make(ExprKind::kCompare, line, std::move(first));
    for (; meaning; meaning = comparison_operator()) {
      chain->comparisons.push_back(*meaning);
      add(*chain, sum());
    }
    return chain;
  }

  ExprPtr arithmetic(Arithmetic operation, int line, ExprPtr left, ExprPtr right) const {
    ExprPtr expr = make(ExprKind::kArithmetic, line, std::move(left), std::move(right));
    expr->arithmetic = operation;
    return expr;
  }

  ExprPtr sum() {
    const int line = current().line;
    ExprPtr left = concatenation();
    while (true) {
      if (skip_operator("+"))
        left = arithmetic(Arithmetic::kAdd, line, std::move(left), concatenation());
      else if (skip_operator("-"))
        left = arithmetic(Arithmetic::kSubtract, line, std::move(left), concatenation());
      else
        return left;
    }
  }

  ExprPtr concatenation() {
    const int line = current().line;
    ExprPtr first = product();
    if (!current().is_operator("~")) return first;
    ExprPtr chain = make(ExprKind::kConcat, line, std::move(first));
    while (skip_operator("~")) add(*chain, product());
    return chain;
  }

  ExprPtr product() {
    const int line = current().line;
    ExprPtr left = power();
    while (true) {
      if (skip_operator("*"))
        left = arithmetic(Arithmetic::kMultiply, line, std::move(left), power());
      else if (skip_operator("/"))
        left = arithmetic(Arithmetic::kDivide, line, std::move(left), power());
      else if (skip_operator("//"))
        left = arithmetic(Arithmetic::kFloorDivide, line, std::move(left), power());
      else if (skip_operator("%"))
        left = arithmetic(Arithmetic::kModulo, line, std::move(left), power());
      else
        return left;
    }
  }

  // From the left, unlike Python's.
  ExprPtr power() {
    const int line = current().line;
    ExprPtr base = unary(true);
    while (skip_operator("**")) base = arithmetic(Arithmetic::kPower, line, std::move(base), unary(true));
    return base;
  }

  ExprPtr unary(bool with_filters) {
    const Nested nested(*this);
    const int line = current().line;
    ExprPtr value;
    if (skip_operator("-"))
      value = make(ExprKind::kNegative, line, unary(false));
    else if (skip_operator("+"))
      value = make(ExprKind::kPositive, line, unary(false));
    else
      value = primary();
    value = postfix(std::move(value));
    return with_filters ? filters_and_tests(std::move(value)) : std::move(value);
  }

  ExprPtr primary() {
    const Token& token = current();
    const int line = token.line;
    switch (token.kind) {
      case TokenKind::kName: {
        next();
        if (token.text == "true" || token.text == "True") return constant(Value::boolean(true), line);
        if (token.text == "false" || token.text == "False") return constant(Value::boolean(false), line);
        if (token.text == "none" || token.text == "None") return constant(Value::none(), line);
        ExprPtr name = make(ExprKind::kName, line);
        name->name = token.text;
        return name;
      }
      case TokenKind::kString: {
        std::string text;
        while (current().is(TokenKind::kString)) text += next().text;
        return constant(Value::text(budget_, std::move(text)), line);
      }
      case TokenKind::kInteger:
        return constant(Value::integer(next().integer), line);
      case TokenKind::kFloat:
        return constant(Value::real(next().real), line);
      default:
        break;
    }
    if (skip_operator("(")) {
      ExprPtr inside = tuple_or_expression(true, "", true);
      expect_operator(")");
      return inside;
    }
    if (skip_operator("[")) return list(line);
    if (skip_operator("{")) return dict(line);
    expected("an expression");
  }

  ExprPtr list(int line) {
    ExprPtr items = make(ExprKind::kList, line);
    while (!current().is_operator("]")) {
      if (!items->parts.empty()) expect_operator(",");
      if (current().is_operator("]")) break;
      add(*items, expression());
    }
    expect_operator("]");
    return items;
  }

  ExprPtr dict(int line) {
    ExprPtr entries = make(ExprKind::kDict, line);
    while (!current().is_operator("}")) {
      if (!entries->parts.empty()) expect_operator(",");
      if (current().is_operator("}")) break;
      add(*entries, expression());
      expect_operator(":");
      add(*entries, expression());
    }
    expect_operator("}");
    return entries;
  }

  ExprPtr postfix(ExprPtr value) {
    while (true) {
      if (current().is_operator("."))
        value = attribute(std::move(value));
      else if (current().is_operator("["))
        value = subscript(std::move(value));
      else if (current().is_operator("("))
        value = call(std::move(value));
      else
        return value;
    }
  }

  ExprPtr attribute(ExprPtr value) {
    const int line = next().line;
    if (current().is(TokenKind::kInteger)) {
      ExprPtr index = constant(Value::integer(next().integer), line);
      return make(ExprKind::kItem, line, std::move(value), std::move(index));
    }
    ExprPtr expr = make(ExprKind::kAttribute, line, std::move(value));
    expr->name = expect(TokenKind::kName, "a name or number").text;
    expr->constant = Value::text(budget_, expr->name);
    return expr;
  }

  ExprPtr subscript(ExprPtr value) {
    const int line = next().line;
    std::vector<ExprPtr> bounds;
    const auto bound = [&] {
      const bool is_given =
          !current().is_operator(":") && !current().is_operator("]") && !current().is_operator(",");
      bounds.push_back(is_given ? expression() : nullptr);
    };
    if (current().is_operator("]")) expected("an index");
    bound();
    if (current().is_operator(":")) {
      next();
      bound();
      if (skip_operator(":"))
        bound();
      else
        bounds.push_back(nullptr);
      if (current().is_operator(",")) refuse("a slice among several indices is not supported");
      expect_operator("]");
      ExprPtr slice = make(ExprKind::kSlice, line, std::move(value));
      for (ExprPtr& part : bounds) add(*slice, std::move(part));
      return slice;
    }
    if (current().is_operator(",")) {
      ExprPtr tuple = make(ExprKind::kTuple, line, std::move(bounds[0]));
      while (skip_operator(",")) {
        if (current().is_operator("]")) expected("an index");
        add(*tuple, expression());
      }
      bounds[0] = std::move(tuple);
    }
    expect_operator("]");
    return make(ExprKind::kItem, line, std::move(value), std::move(bounds[0]));
  }

  std::unique_ptr<ArgumentExprs> arguments(Expr& owner) {
    const Nested nested(*this);
    const int line = current().line;
    auto result = std::make_unique<ArgumentExprs>();
    const auto ensure = [&](bool holds) {
      if (!holds) refuse("arguments in an order that a call cannot have", line);
    };
    const auto taken = [&](ExprPtr expr) {
      deepen(owner, expr.get());
      return expr;
    };
    expect_operator("(");
    bool is_first = true;
    while (!current().is_operator(")")) {
      if (!is_first) {
        expect_operator(",");
        if (current().is_operator(")")) break;
      }
      is_first = false;
      if (skip_operator("*")) {
        ensure(result->star == nullptr && result->star_star == nullptr);
        result->star = taken(expression());
      } else if (skip_operator("**")) {
        ensure(result->star_star == nullptr);
        result->star_star = taken(expression());
      } else if (current().is(TokenKind::kName) && following().is_operator("=")) {
        ensure(result->star_star == nullptr);
        std::string name = next().text;
        next();
        for (const auto& [other, value] : result->named)
          if (other == name) refuse(fmt::format("the argument {} is given twice", name), line);
        result->named.emplace_back(std::move(name), taken(expression()));
      } else {
        ensure(result->star == nullptr && result->star_star == nullptr && result->named.empty());
        result->positional.push_back(taken(expression()));
      }
    }
    expect_operator(")");
    return result;
  }

  ExprPtr call(ExprPtr callee) {
    ExprPtr expr = make(ExprKind::kCall, current().line, std::move(callee));
    expr->arguments = arguments(*expr);
    return expr;
  }

  ExprPtr filters_and_tests(ExprPtr value) {
    while (true) {
      if (current().is_operator("|"))
        value = filters(std::move(value), false);
      else if (current().is_name("is"))
        value = test(std::move(value));
      else if (current().is_operator("("))
        value = call(std::move(value));
      else
        return value;
    }
  }

  std::string dotted_name() {
    std::string name = expect(TokenKind::kName, "a name").text;
    while (skip_operator(".")) name += "." + expect(TokenKind::kName, "a name").text;
    return name;
  }

  /// "| name | name(...)"; the first without its bar where a tag begins with it.
  ExprPtr filters(ExprPtr value, bool without_bar) {
    while (without_bar || skip_operator("|")) {
      const int line = current().line;
      ExprPtr filter = make(ExprKind::kFilter, line, std::move(value));
      filter->name = dotted_name();
      filter->arguments = current().is_operator("(") ? arguments(*filter) : std::make_unique<ArgumentExprs>();
      value = std::move(filter);
      without_bar = false;
    }
    return value;
  }

  ExprPtr test(ExprPtr value) {
    const int line = next().line;
    const bool is_negated = skip_name("not");
    ExprPtr expr = make(ExprKind::kTest, line, std::move(value));
    expr->name = dotted_name();
    if (current().is_operator("(")) {
      expr->arguments = arguments(*expr);
    } else {
      expr->arguments = std::make_unique<ArgumentExprs>();
      if (at_test_argument()) {
        if (current().is_name("is")) refuse("tests cannot follow one another: write \"and\" between them");
        ExprPtr argument = postfix(primary());
        deepen(*expr, argument.get());
        expr->arguments->positional.push_back(std::move(argument));
      }
    }
    return is_negated ? make(ExprKind::kNot, line, std::move(expr)) : std::move(expr);
  }

  [[nodiscard]] bool at_test_argument() const {
    const Token& token = current();
    if (token.is_name("else") || token.is_name("or") || token.is_name("and")) return false;
    return token.is(TokenKind::kName) || token.is(TokenKind::kString) || token.is(TokenKind::kInteger) ||
           token.is(TokenKind::kFloat) || token.is_operator("[") || token.is_operator("{");
  }

  std::vector<Token> tokens_;
  Budget& budget_;
  std::size_t at_ = 0;
  int nesting_ = 0;
  int loops_ = 0;  // around what is read now, in its function
};

}  // namespace

Block parse(std::string_view source, Budget& budget) {
  return Parser(lex(source), budget).run();
}

}  // namespace fathom::jinja
