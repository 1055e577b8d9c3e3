#include "text/jinja_scopes.h"

#include <map>
#include <set>

#include "text/in_quotes.h"
#include "text/jinja_filters.h"
#include "text/jinja_lexer.h"
#include "text/jinja_tests.h"

namespace fathom::jinja {
namespace {

/// The places of a function's variables. Scopes of one level that follow one another share them.
struct FunctionScope {
  const FunctionScope* parent = nullptr;
  int depth = 0;
  std::map<std::pair<int, std::string>, int> places;  // by level and name

  int place(int level, const std::string& name) {
    return places.try_emplace({level, name}, static_cast<int>(places.size())).first->second;
  }
};

struct Place {
  const FunctionScope* function = nullptr;
  int index = -1;
};

/// What a variable holds when its scope is entered.
struct Load {
  enum class Kind : std::uint8_t { kParameter, kContext, kOuter, kNothing };
  Kind kind = Kind::kNothing;
  std::string name;  // kContext
  Place outer;       // kOuter
};

/// The names of a scope. Follows `Symbols` of Jinja2's idtracking.py.
class Symbols {
 public:
  Symbols(FunctionScope& function, const Symbols* parent, int level)
      : function_(&function), parent_(parent), level_(level) {}

  [[nodiscard]] int level() const { return level_; }
  [[nodiscard]] FunctionScope& function() const { return *function_; }
  [[nodiscard]] const std::map<int, Load>& loads() const { return loads_; }
  [[nodiscard]] std::size_t size() const { return names_.size() + stores_.size() + loads_.size(); }

  [[nodiscard]] std::optional<Place> find(const std::string& name) const {
    if (const auto found = names_.find(name); found != names_.end()) return Place{function_, found->second};
    return parent_ != nullptr ? parent_->find(name) : std::nullopt;
  }

  void store(const std::string& name) {
    stores_.insert(name);
    if (names_.contains(name)) return;
    const auto outer = parent_ != nullptr ? parent_->find(name) : std::nullopt;
    define(name, outer ? Load{Load::Kind::kOuter, "", *outer} : Load{});
  }
  int declare_parameter(const std::string& name) {
    stores_.insert(name);
    return define(name, {Load::Kind::kParameter, "", {}});
  }
  void load(const std::string& name) {
    if (!find(name)) define(name, {Load::Kind::kContext, name, {}});
  }

  /// Takes over what the branches of an `if` did: what only some of them assign is outside's before.
  void join(const std::vector<Symbols>& branches) {
    std::set<std::string> stored;
    for (const Symbols& branch : branches)
      for (const std::string& name : branch.stores_)
        if (!stores_.contains(name)) stored.insert(name);
    for (const Symbols& branch : branches) {
      for (const auto& [name, index] : branch.names_) names_[name] = index;
      for (const auto& [index, load] : branch.loads_) loads_[index] = load;
      stores_.insert(branch.stores_.begin(), branch.stores_.end());
    }
    for (const std::string& name : stored) {
      const Place place = *find(name);
      const auto outer = parent_ != nullptr ? parent_->find(name) : std::nullopt;
      loads_[place.index] =
          outer ? Load{Load::Kind::kOuter, "", *outer} : Load{Load::Kind::kContext, name, {}};
    }
  }

 private:
  int define(const std::string& name, Load load) {
    const int index = function_->place(level_, name);
    names_[name] = index;
    loads_[index] = std::move(load);
    return index;
  }

  FunctionScope* function_;
  const Symbols* parent_;
  int level_;
  std::map<std::string, int> names_;
  std::map<int, Load> loads_;
  std::set<std::string> stores_;
};

/// Calls `use` with an expression and all below it that are not null.
template <typename Use>
void for_each_expr(const Expr* expr, const Use& use) {
  if (expr == nullptr) return;
  use(*expr);
  for (const ExprPtr& part : expr->parts) for_each_expr(part.get(), use);
  if (expr->arguments == nullptr) return;
  for (const ExprPtr& part : expr->arguments->positional) for_each_expr(part.get(), use);
  for (const auto& [name, part] : expr->arguments->named) for_each_expr(part.get(), use);
  for_each_expr(expr->arguments->star.get(), use);
  for_each_expr(expr->arguments->star_star.get(), use);
}

/// Enters the names of a scope's statements. Inner scopes are left out, save what they take from this one.
class SymbolFinder {
 public:
  SymbolFinder(Symbols& symbols, Budget& budget) : symbols_(&symbols), budget_(budget) {}

  void expr(const Expr* expr) {
    for_each_expr(expr, [&](const Expr& part) {
      budget_.spend();
      if (part.kind == ExprKind::kName) symbols_->load(part.name);
    });
  }
  void target(const Expr& expr, bool is_parameter) {
    if (expr.kind == ExprKind::kName) {
      if (is_parameter)
        symbols_->declare_parameter(expr.name);
      else
        symbols_->store(expr.name);
    } else if (expr.kind == ExprKind::kNamespaced) {
      symbols_->load(expr.parts[0]->name);
    } else {
      for (const ExprPtr& part : expr.parts) target(*part, is_parameter);
    }
  }
  void block(const Block& statements) {
    for (const auto& stmt : statements) statement(*stmt);
  }

 private:
  void statement(const Stmt& stmt) {
    budget_.spend();
    switch (stmt.kind) {
      case StmtKind::kOutput:
      case StmtKind::kWith:
      case StmtKind::kCallBlock:
      case StmtKind::kFilterBlock:
        for (const ExprPtr& part : stmt.exprs) expr(part.get());
        return;
      case StmtKind::kFor:
        return expr(stmt.exprs[0].get());
      case StmtKind::kIf:
        return branches(stmt);
      case StmtKind::kSet:
        expr(stmt.exprs[0].get());
        return target(*stmt.target, false);
      case StmtKind::kSetBlock:
        return target(*stmt.target, false);
      case StmtKind::kMacro:
        return symbols_->store(stmt.name);
      case StmtKind::kGeneration:
      case StmtKind::kBreak:
      case StmtKind::kContinue:
        return;
    }
  }

  /// What `visit` finds, in a copy of what is known.
  template <typename Visit>
  Symbols in_branch(const Visit& visit) {
    Symbols* const outside = symbols_;
    Symbols branch = *outside;
    budget_.spend(branch.size() + 1);
    symbols_ = &branch;
    visit();
    symbols_ = outside;
    return branch;
  }

  void branches(const Stmt& stmt) {
    expr(stmt.exprs[0].get());
    std::vector<Symbols> found;
    found.push_back(in_branch([&] { block(stmt.branches[0]); }));
    found.push_back(in_branch([&] {
      for (std::size_t i = 1; i < stmt.branches.size(); ++i) {
        if (stmt.exprs[i] == nullptr) continue;
        expr(stmt.exprs[i].get());
        std::vector<Symbols> inner;
        inner.push_back(in_branch([&] { block(stmt.branches[i]); }));
        symbols_->join(inner);
      }
    }));
    if (stmt.exprs.back() == nullptr) found.push_back(in_branch([&] { block(stmt.branches.back()); }));
    symbols_->join(found);
  }

  Symbols* symbols_;
  Budget& budget_;
};

/// Whether a body speaks of a name before it assigns it, inner scopes included.
class NameSeeker {
 public:
  NameSeeker(std::string_view name, Budget& budget) : name_(name), budget_(budget) {}

  bool seek(const Block& body) {
    block(body);
    return is_used_;
  }

 private:
  void expr(const Expr* expr) {
    for_each_expr(expr, [&](const Expr& part) {
      budget_.spend();
      if (part.kind == ExprKind::kName && part.name == name_ && !is_assigned_) is_used_ = true;
    });
  }
  void target(const Expr* expr) {
    if (expr == nullptr) return;
    if (expr->kind == ExprKind::kName && expr->name == name_) is_assigned_ = true;
    if (expr->kind == ExprKind::kNamespaced) return;
    for (const ExprPtr& part : expr->parts) target(part.get());
  }
  void block(const Block& statements) {
    for (const auto& stmt : statements) {
      if (is_used_ || is_assigned_) return;
      target(stmt->target.get());
      for (const ExprPtr& part : stmt->targets) target(part.get());
      for (const Parameter& parameter : stmt->parameters) {
        if (parameter.name == name_) is_assigned_ = true;
        expr(parameter.otherwise.get());
      }
      for (const ExprPtr& part : stmt->exprs) expr(part.get());
      block(stmt->body);
      block(stmt->else_body);
      for (const Block& branch : stmt->branches) block(branch);
    }
  }

  std::string_view name_;
  Budget& budget_;
  bool is_used_ = false;
  bool is_assigned_ = false;
};

/// Writes places into the tree. Follows `CodeGenerator` of Jinja2's compiler.py.
class Resolver {
 public:
  explicit Resolver(Budget& budget) : budget_(budget) {}

  Program run(Block body) {
    Program program;
    FunctionScope function;
    Symbols symbols(function, nullptr, 0);
    SymbolFinder(symbols, budget_).block(body);
    block(body, symbols, false);
    program.scope = scope_of(symbols);
    program.function.slots = static_cast<int>(function.places.size());
    program.body = std::move(body);
    return program;
  }

 private:
  static Slot slot_of(const Place& place, const Symbols& symbols) {
    return {symbols.function().depth - place.function->depth, place.index};
  }
  static Slot slot_of(const std::string& name, const Symbols& symbols) {
    const auto place = symbols.find(name);
    if (!place) fault("the name {} has no place", name);  // every name was entered before
    return slot_of(*place, symbols);
  }

  static Scope scope_of(const Symbols& symbols) {
    Scope scope;
    for (const auto& [index, load] : symbols.loads()) {
      if (load.kind == Load::Kind::kParameter) continue;
      ScopeVariable variable;
      variable.index = index;
      variable.name = load.name;
      if (load.kind == Load::Kind::kContext) variable.from = ScopeVariable::From::kContext;
      if (load.kind == Load::Kind::kOuter) {
        variable.from = ScopeVariable::From::kOuter;
        variable.outer = slot_of(load.outer, symbols);
      }
      scope.push_back(std::move(variable));
    }
    return scope;
  }

  Symbols inner(const Symbols& outer) const { return {outer.function(), &outer, outer.level() + 1}; }
  static FunctionScope function_inside(const Symbols& outer) {
    FunctionScope function;
    function.parent = &outer.function();
    function.depth = outer.function().depth + 1;
    return function;
  }

  // @param is_soft  an `if` decides whether it is evaluated
  void expr(Expr* expr, const Symbols& symbols, bool is_soft) {
    if (expr == nullptr) return;
    budget_.spend();
    if (expr->kind == ExprKind::kName) expr->slot = slot_of(expr->name, symbols);
    if (expr->kind == ExprKind::kFilter || expr->kind == ExprKind::kTest) {
      const bool is_filter = expr->kind == ExprKind::kFilter;
      expr->body = is_filter ? find_filter(expr->name) : find_test(expr->name);
      if (expr->body == nullptr && !is_soft)
        throw SyntaxFault(
            fmt::format("no {} is called {}", is_filter ? "filter" : "test", in_quotes(expr->name)),
            expr->line);
    }
    const bool is_soft_below = is_soft || expr->kind == ExprKind::kCondition;
    for (const ExprPtr& part : expr->parts) this->expr(part.get(), symbols, is_soft_below);
    if (expr->arguments == nullptr) return;
    for (const ExprPtr& part : expr->arguments->positional) this->expr(part.get(), symbols, is_soft_below);
    for (const auto& [name, part] : expr->arguments->named) this->expr(part.get(), symbols, is_soft_below);
    this->expr(expr->arguments->star.get(), symbols, is_soft_below);
    this->expr(expr->arguments->star_star.get(), symbols, is_soft_below);
  }

  void block(const Block& statements, const Symbols& symbols, bool is_soft) {
    for (const auto& stmt : statements) statement(*stmt, symbols, is_soft);
  }

  void statement(Stmt& stmt, const Symbols& symbols, bool is_soft) {
    budget_.spend();
    switch (stmt.kind) {
      case StmtKind::kOutput:
        return expr(stmt.exprs, symbols, is_soft);
      case StmtKind::kFor:
        return stmt.is_recursive ? recursive_loop(stmt, symbols, is_soft)
                                 : loop(stmt, symbols, symbols, is_soft);
      case StmtKind::kIf:
        expr(stmt.exprs, symbols, true);
        for (const Block& branch : stmt.branches) block(branch, symbols, true);
        return;
      case StmtKind::kSet:
        expr(stmt.exprs, symbols, is_soft);
        return expr(stmt.target.get(), symbols, is_soft);
      case StmtKind::kSetBlock:
        text_block(stmt, symbols);
        return expr(stmt.target.get(), symbols, is_soft);
      case StmtKind::kFilterBlock:
        return text_block(stmt, symbols);
      case StmtKind::kMacro:
        function(stmt, symbols);
        stmt.slot = slot_of(stmt.name, symbols);
        return;
      case StmtKind::kCallBlock:
        function(stmt, symbols);
        return expr(stmt.exprs, symbols, is_soft);
      case StmtKind::kGeneration:
        return function(stmt, symbols);
      case StmtKind::kWith:
        return with(stmt, symbols, is_soft);
      case StmtKind::kBreak:
      case StmtKind::kContinue:
        return;
    }
  }

  void expr(const std::vector<ExprPtr>& exprs, const Symbols& symbols, bool is_soft) {
    for (const ExprPtr& part : exprs) expr(part.get(), symbols, is_soft);
  }

  /// @param outside  where what is looped over is evaluated
  /// @param around   the scope that the loop's scopes lie in
  void loop(Stmt& stmt, const Symbols& outside, const Symbols& around, bool is_soft) {
    expr(stmt.exprs[0].get(), outside, is_soft);
    Symbols body = inner(around);
    stmt.has_loop = stmt.is_recursive || NameSeeker("loop", budget_).seek(stmt.body);
    if (stmt.has_loop) stmt.loop_slot = {0, body.declare_parameter("loop")};
    SymbolFinder finder(body, budget_);
    finder.target(*stmt.target, true);
    finder.block(stmt.body);
    expr(stmt.target.get(), body, false);
    block(stmt.body, body, false);
    stmt.scope = scope_of(body);
    if (stmt.exprs[1] != nullptr) {
      // A level of its own: the condition looks at items ahead of the body's.
      Symbols test(around.function(), &around, around.level() + kTestLevel);
      SymbolFinder test_finder(test, budget_);
      test_finder.target(*stmt.test_target, true);
      test_finder.expr(stmt.exprs[1].get());
      expr(stmt.test_target.get(), test, false);
      expr(stmt.exprs[1].get(), test, false);
      stmt.test_scope = scope_of(test);
    }
    if (!stmt.else_body.empty()) {
      Symbols otherwise = inner(around);
      SymbolFinder(otherwise, budget_).block(stmt.else_body);
      block(stmt.else_body, otherwise, false);
      stmt.else_scope = scope_of(otherwise);
    }
  }

  void recursive_loop(Stmt& stmt, const Symbols& symbols, bool is_soft) {
    FunctionScope function = function_inside(symbols);
    const Symbols around(function, &symbols, symbols.level());
    loop(stmt, symbols, around, is_soft);
    stmt.function.slots = static_cast<int>(function.places.size());
  }

  void text_block(Stmt& stmt, const Symbols& symbols) {
    Symbols body = inner(symbols);
    SymbolFinder finder(body, budget_);
    finder.block(stmt.body);
    for (const ExprPtr& part : stmt.exprs) finder.expr(part.get());
    block(stmt.body, body, false);
    expr(stmt.exprs, body, false);
    stmt.scope = scope_of(body);
  }

  void with(Stmt& stmt, const Symbols& symbols, bool is_soft) {
    expr(stmt.exprs, symbols, is_soft);
    Symbols body = inner(symbols);
    SymbolFinder finder(body, budget_);
    for (const ExprPtr& target : stmt.targets) finder.target(*target, true);
    finder.block(stmt.body);
    expr(stmt.targets, body, false);
    block(stmt.body, body, false);
    stmt.scope = scope_of(body);
  }

  /// Of a macro, or of the body of a `call` or `generation` block.
  void function(Stmt& stmt, const Symbols& symbols) {
    FunctionScope function = function_inside(symbols);
    Symbols body(function, &symbols, symbols.level() + 1);
    SymbolFinder finder(body, budget_);
    const auto enter_names = [&] {
      for (const Parameter& parameter : stmt.parameters) body.declare_parameter(parameter.name);
      for (const Parameter& parameter : stmt.parameters) finder.expr(parameter.otherwise.get());
      finder.block(stmt.body);
    };
    enter_names();
    const auto special = [&](const std::string& name) -> Slot {
      for (const Parameter& parameter : stmt.parameters)
        if (parameter.name == name) {
          if (name == "caller" && parameter.otherwise == nullptr && NameSeeker(name, budget_).seek(stmt.body))
            throw SyntaxFault("the parameter caller needs a default", stmt.line);
          return {};
        }
      if (!NameSeeker(name, budget_).seek(stmt.body)) return {};
      return {0, body.declare_parameter(name)};
    };
    stmt.caller_slot = special("caller");
    stmt.named_slot = special("kwargs");
    stmt.positional_slot = special("varargs");
    for (Parameter& parameter : stmt.parameters) {
      parameter.slot = slot_of(parameter.name, body);
      expr(parameter.otherwise.get(), body, false);
    }
    block(stmt.body, body, false);
    stmt.scope = scope_of(body);
    stmt.function.slots = static_cast<int>(function.places.size());
  }

  static constexpr int kTestLevel = 1'000'000;
  Budget& budget_;
};

}  // namespace

Program resolve_scopes(Block body, Budget& budget) {
  return Resolver(budget).run(std::move(body));
}

}  // namespace fathom::jinja
