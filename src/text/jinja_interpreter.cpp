#include "text/jinja_interpreter.h"

#include "text/jinja_attributes.h"
#include "text/jinja_globals.h"
#include "text/jinja_repr.h"

namespace fathom::jinja {
namespace {

constexpr std::size_t kMaxPositional = 10'000;
constexpr std::size_t kMaxNamed = 1'000;

std::string undefined_name(const std::string& name) {
  return repr_of_text(name) + " is undefined";
}

std::string object_name(const Value& value) {
  return value.is_none() ? "None" : fmt::format("{} object", type_name(value));
}

Value no_attribute(Budget& budget, const Value& value, const std::string& name) {
  return Value::undefined(budget,
                          fmt::format("'{}' has no attribute {}", object_name(value), repr_of_text(name)));
}

}  // namespace

Interpreter::Interpreter(FormatTime format_time) : format_time_(std::move(format_time)), root_out_(budget_) {
  define_globals(*this);
}

// Frames.

template <typename Use>
auto Interpreter::in_new_frame(const Function& function, Frame* outside, const Use& use) {
  auto frame = std::make_unique<Frame>();
  frame->slots.resize(static_cast<std::size_t>(function.slots));
  frame->outside = outside;
  // A macro may outlive the function that it was made in.
  struct Keep {
    Interpreter& interpreter;
    std::unique_ptr<Frame>& frame;
    ~Keep() {
      if (frame->is_captured) interpreter.captured_frames_.push_back(std::move(frame));
    }
  } const keep{*this, frame};
  return use(*frame);
}

template <typename Use>
std::string Interpreter::captured(const Use& use) {
  TextBuilder text(budget_);
  struct Restore {
    TextBuilder*& out;
    TextBuilder* before;
    ~Restore() { out = before; }
  } const restore{out_, out_};
  out_ = &text;
  use();
  return text.take();
}

Printed Interpreter::run(const Program& program) {
  in_new_frame(program.function, nullptr, [&](Frame& frame) {
    enter(program.scope, frame);
    run_block(program.body, frame);
  });
  printed_.text = root_out_.take();
  return std::move(printed_);
}

Namespace& Interpreter::make_namespace() {
  budget_.take(sizeof(Namespace) + 64);
  return namespaces_.emplace_back(budget_);
}

Value& Interpreter::at(const Slot& slot, Frame& frame) {
  Frame* owner = &frame;
  for (int i = 0; i < slot.hops; ++i) owner = owner->outside;
  return owner->slots[static_cast<std::size_t>(slot.index)];
}

void Interpreter::enter(const Scope& scope, Frame& frame) {
  for (const ScopeVariable& variable : scope) {
    Value& value = frame.slots[static_cast<std::size_t>(variable.index)];
    if (variable.from == ScopeVariable::From::kOuter) {
      value = at(variable.outer, frame);
    } else if (variable.from == ScopeVariable::From::kContext) {
      const auto found = context_.find(variable.name);
      value = found == context_.end() ? Value() : found->second;
    } else {
      value = Value();
    }
  }
}

void Interpreter::leave(const Scope& scope, Frame& frame) {
  for (const ScopeVariable& variable : scope) frame.slots[static_cast<std::size_t>(variable.index)] = Value();
}

// Statements.

Interpreter::Flow Interpreter::run_block(const Block& block, Frame& frame) {
  for (const auto& stmt : block)
    if (const Flow flow = run_statement(*stmt, frame); flow != Flow::kOn) return flow;
  return Flow::kOn;
}

Interpreter::Flow Interpreter::run_statement(const Stmt& stmt, Frame& frame) {
  const Budget::Level level(budget_);
  budget_.spend();
  line_ = stmt.line;
  switch (stmt.kind) {
    case StmtKind::kOutput:
      print(stmt, frame);
      return Flow::kOn;
    case StmtKind::kFor:
      run_for(stmt, frame);
      return Flow::kOn;
    case StmtKind::kIf:
      return run_branches(stmt, frame);
    case StmtKind::kSet:
      assign(*stmt.target, evaluate(*stmt.exprs[0], frame), frame);
      return Flow::kOn;
    case StmtKind::kSetBlock:
    case StmtKind::kFilterBlock:
      return run_set_block(stmt, frame);
    case StmtKind::kMacro:
      at(stmt.slot, frame) = Value::of(make_macro(stmt, frame));
      return Flow::kOn;
    case StmtKind::kCallBlock:
      run_call_block(stmt, frame);
      return Flow::kOn;
    case StmtKind::kGeneration:
      run_generation(stmt, frame);
      return Flow::kOn;
    case StmtKind::kWith: {
      std::vector<Value> values;
      for (const ExprPtr& expr : stmt.exprs) values.push_back(evaluate(*expr, frame));
      enter(stmt.scope, frame);
      for (std::size_t i = 0; i < values.size(); ++i) assign(*stmt.targets[i], std::move(values[i]), frame);
      const Flow flow = run_block(stmt.body, frame);
      leave(stmt.scope, frame);
      return flow;
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

Interpreter::Flow Interpreter::run_branches(const Stmt& stmt, Frame& frame) {
  for (std::size_t i = 0; i < stmt.branches.size(); ++i)
    if (stmt.exprs[i] == nullptr || is_true(evaluate(*stmt.exprs[i], frame)))
      return run_block(stmt.branches[i], frame);
  return Flow::kOn;
}

void Interpreter::print(const Stmt& stmt, Frame& frame) {
  for (const ExprPtr& expr : stmt.exprs) {
    if (expr->kind == ExprKind::kConstant && expr->constant.is_text()) {
      out_->append(expr->constant.str());
    } else {
      const Value value = evaluate(*expr, frame);
      line_ = expr->line;
      append_str(budget_, value, *out_);
    }
  }
}

void Interpreter::run_for(const Stmt& stmt, Frame& frame) {
  const Value items = evaluate(*stmt.exprs[0], frame);
  line_ = stmt.line;
  if (stmt.is_recursive) {
    const Value text = run_recursive(stmt, frame, items, 0);
    out_->append(text.str());
  } else {
    run_loop(stmt, frame, items, 0);
  }
}

Value Interpreter::run_recursive(const Stmt& stmt, Frame& outside, const Value& items, std::int64_t depth) {
  const Budget::Level level(budget_);
  return text(in_new_frame(stmt.function, &outside, [&](Frame& frame) {
    return captured([&] { run_loop(stmt, frame, items, depth); });
  }));
}

NextItem Interpreter::filtered(const Stmt& stmt, Frame& frame, NextItem items) {
  if (stmt.exprs[1] == nullptr) return items;
  enter(stmt.test_scope, frame);
  return [this, &stmt, &frame, items = std::move(items)]() -> std::optional<Value> {
    while (auto item = items()) {
      assign(*stmt.test_target, *item, frame);
      if (is_true(evaluate(*stmt.exprs[1], frame))) return item;
    }
    return std::nullopt;
  };
}

void Interpreter::run_loop(const Stmt& stmt, Frame& frame, const Value& items, std::int64_t depth) {
  const NextItem next = filtered(stmt, frame, iterate(budget_, items));
  std::shared_ptr<Loop> loop;
  if (stmt.has_loop) {
    loop = std::make_shared<Loop>(budget_, next, stmt.exprs[1] == nullptr ? length_of(items) : std::nullopt);
    loop->depth0 = depth;
    if (stmt.is_recursive)
      loop->recurse = [this, &stmt, &frame](const Value& inner, std::int64_t inner_depth) {
        return run_recursive(stmt, *frame.outside, inner, inner_depth);
      };
  }
  struct Clear {
    Loop* loop;
    ~Clear() {
      if (loop != nullptr) loop->clear();
    }
  } const clear{loop.get()};
  bool is_complete = false;  // has an iteration come to the body's end?
  while (auto item = loop != nullptr ? loop->advance() : next()) {
    budget_.spend();
    line_ = stmt.line;
    assign(*stmt.target, std::move(*item), frame);
    if (loop != nullptr) at(stmt.loop_slot, frame) = Value::loop(loop);
    enter(stmt.scope, frame);
    const Flow flow = run_block(stmt.body, frame);
    if (flow == Flow::kBreak) break;
    if (flow == Flow::kOn) is_complete = true;
  }
  leave(stmt.scope, frame);
  if (is_complete || stmt.else_body.empty()) return;
  enter(stmt.else_scope, frame);
  run_block(stmt.else_body, frame);
  leave(stmt.else_scope, frame);
}

Interpreter::Flow Interpreter::run_set_block(const Stmt& stmt, Frame& frame) {
  enter(stmt.scope, frame);
  Flow flow = Flow::kOn;
  Value value = text(captured([&] { flow = run_block(stmt.body, frame); }));
  if (flow != Flow::kOn) return flow;
  line_ = stmt.line;
  if (stmt.exprs[0] != nullptr) {
    const Value* const before = block_text_;
    block_text_ = &value;
    Value filtered = evaluate(*stmt.exprs[0], frame);
    block_text_ = before;
    value = std::move(filtered);
  }
  if (stmt.kind == StmtKind::kFilterBlock)
    append_str(budget_, value, *out_);
  else
    assign(*stmt.target, std::move(value), frame);
  leave(stmt.scope, frame);
  return Flow::kOn;
}

void Interpreter::run_call_block(const Stmt& stmt, Frame& frame) {
  const Value value = evaluate_call(*stmt.exprs[0], frame, &make_macro(stmt, frame));
  append_str(budget_, value, *out_);
}

void Interpreter::run_generation(const Stmt& stmt, Frame& frame) {
  const std::string text = in_new_frame(stmt.function, &frame, [&](Frame& own) {
    enter(stmt.scope, own);
    return captured([&] { run_block(stmt.body, own); });
  });
  const std::size_t begin = out_->size();
  out_->append(text);
  if (out_ == &root_out_)
    printed_.generations.emplace_back(begin, begin + text.size());
  else
    printed_.has_hidden_generation = true;
}

void Interpreter::assign(const Expr& target, Value value, Frame& frame) {
  if (target.kind == ExprKind::kName) {
    at(target.slot, frame) = std::move(value);
    return;
  }
  if (target.kind == ExprKind::kNamespaced) {
    const Value& owner = at(target.parts[0]->slot, frame);
    line_ = target.line;
    if (!owner.is(Kind::kNamespace)) fault("cannot assign attribute on non-namespace object");
    set_attribute(owner.name_space(), text(target.name), std::move(value));
    return;
  }
  const std::vector<Value> items = items_of(budget_, value);
  if (items.size() != target.parts.size())
    fault("{} values cannot be assigned to {} names", items.size(), target.parts.size());
  for (std::size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i], frame);
}

// Functions.

const Macro& Interpreter::make_macro(const Stmt& stmt, Frame& frame) {
  budget_.take(sizeof(Macro) + 64);
  if (!frame.is_captured) budget_.take(sizeof(Frame) + frame.slots.size() * sizeof(Value));
  frame.is_captured = true;
  return macros_.emplace_back(Macro{&stmt, &frame, stmt.name});
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  const Budget::Level level(budget_);
  const Stmt& stmt = *macro.stmt;
  const std::string name = stmt.name.empty() ? "caller" : stmt.name;
  const std::size_t count = stmt.parameters.size();
  const int line = line_;
  budget_.spend(arguments.positional.size() + (arguments.named.size() + 1) * (count + 1));
  return text(in_new_frame(stmt.function, macro.closure, [&](Frame& frame) {
    enter(stmt.scope, frame);
    std::vector<bool> is_used(arguments.named.size());
    const auto take_named = [&](std::string_view parameter) -> const Value* {
      for (std::size_t i = 0; i < arguments.named.size(); ++i)
        if (!is_used[i] && arguments.named[i].first == parameter) {
          is_used[i] = true;
          return &arguments.named[i].second;
        }
      return nullptr;
    };
    for (std::size_t i = 0; i < count; ++i) {
      Value& slot = at(stmt.parameters[i].slot, frame);
      if (i < arguments.positional.size()) {
        slot = arguments.positional[i];
      } else if (const Value* given = take_named(stmt.parameters[i].name)) {
        slot = *given;
      } else {
        slot = Value();
      }
    }
    if (stmt.caller_slot.index >= 0) {
      const Value* caller = take_named("caller");
      at(stmt.caller_slot, frame) =
          caller != nullptr ? *caller : Value::undefined(budget_, "No caller defined");
    }
    if (stmt.named_slot.index >= 0) {
      const auto rest = std::make_shared<Dict>(budget_);
      for (std::size_t i = 0; i < arguments.named.size(); ++i)
        if (!is_used[i]) rest->set(text(arguments.named[i].first), arguments.named[i].second);
      at(stmt.named_slot, frame) = Value::dict(rest);
    } else {
      for (std::size_t i = 0; i < arguments.named.size(); ++i)
        if (!is_used[i])
          fault("macro {} takes no keyword argument {}", repr_of_text(name),
                repr_of_text(arguments.named[i].first));
    }
    if (stmt.positional_slot.index >= 0) {
      std::vector<Value> rest;
      for (std::size_t i = count; i < arguments.positional.size(); ++i)
        rest.push_back(arguments.positional[i]);
      at(stmt.positional_slot, frame) = Value::tuple(budget_, std::move(rest));
    } else if (arguments.positional.size() > count) {
      fault("macro {} takes not more than {} argument(s)", repr_of_text(name), count);
    }
    for (const Parameter& parameter : stmt.parameters) {
      if (!at(parameter.slot, frame).is_missing()) continue;
      Value otherwise = parameter.otherwise != nullptr
                            ? evaluate(*parameter.otherwise, frame)
                            : Value::undefined(budget_, fmt::format("parameter {} was not provided",
                                                                    repr_of_text(parameter.name)));
      at(parameter.slot, frame) = std::move(otherwise);
    }
    std::string printed = captured([&] { run_block(stmt.body, frame); });
    line_ = line;
    return printed;
  }));
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  switch (callee.kind()) {
    case Kind::kFunction:
      return callee.function().body(*this, callee.function().self, arguments);
    case Kind::kMacro:
      return call_macro(callee.macro(), arguments);
    case Kind::kLoop: {
      const std::shared_ptr<Loop> loop = callee.shared_loop();
      if (!loop->recurse) fault("only the variable loop of a recursive loop, while it runs, can be called");
      if (arguments.positional.size() != 1 || !arguments.named.empty()) fault("loop(...) takes one argument");
      const auto recurse = loop->recurse;
      return recurse(arguments.positional[0], loop->depth0 + 1);
    }
    case Kind::kUndefined:
      refuse_undefined(callee);
    default:
      fault("a value of type {} cannot be called", type_name(callee));
  }
}

// Expressions.

Value Interpreter::evaluate(const Expr& expr, Frame& frame) {
  if (expr.kind == ExprKind::kConstant) return expr.constant;
  const Budget::Level level(budget_);
  budget_.spend();
  switch (expr.kind) {
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName:
      return evaluate_name(expr, frame);
    case ExprKind::kNamespaced:
      break;
    case ExprKind::kTuple:
    case ExprKind::kList:
      return evaluate_items(expr, frame);
    case ExprKind::kDict:
      return evaluate_dict(expr, frame);
    case ExprKind::kAttribute: {
      const Value value = evaluate(*expr.parts[0], frame);
      line_ = expr.line;
      return attribute(value, expr.constant);
    }
    case ExprKind::kItem: {
      const Value value = evaluate(*expr.parts[0], frame);
      const Value index = evaluate(*expr.parts[1], frame);
      line_ = expr.line;
      return item(value, index);
    }
    case ExprKind::kSlice:
      return evaluate_slice(expr, frame);
    case ExprKind::kCall:
      return evaluate_call(expr, frame, nullptr);
    case ExprKind::kFilter:
    case ExprKind::kTest:
      return evaluate_filter(expr, frame);
    case ExprKind::kCondition:
      return evaluate_condition(expr, frame);
    case ExprKind::kAnd: {
      Value left = evaluate(*expr.parts[0], frame);
      return is_true(left) ? evaluate(*expr.parts[1], frame) : left;
    }
    case ExprKind::kOr: {
      Value left = evaluate(*expr.parts[0], frame);
      return is_true(left) ? left : evaluate(*expr.parts[1], frame);
    }
    case ExprKind::kNot:
      return Value::boolean(!is_true(evaluate(*expr.parts[0], frame)));
    case ExprKind::kNegative: {
      const Value value = evaluate(*expr.parts[0], frame);
      line_ = expr.line;
      return negated(value);
    }
    case ExprKind::kPositive: {
      const Value value = evaluate(*expr.parts[0], frame);
      line_ = expr.line;
      return positive(value);
    }
    case ExprKind::kArithmetic: {
      const Value left = evaluate(*expr.parts[0], frame);
      const Value right = evaluate(*expr.parts[1], frame);
      line_ = expr.line;
      return compute(budget_, expr.arithmetic, left, right);
    }
    case ExprKind::kConcat:
      return evaluate_concat(expr, frame);
    case ExprKind::kCompare:
      return evaluate_comparison(expr, frame);
  }
  fault("an expression that is none");
}

Value Interpreter::evaluate_name(const Expr& expr, Frame& frame) {
  const Value& value = at(expr.slot, frame);
  return value.is_missing() ? Value::undefined(budget_, undefined_name(expr.name)) : value;
}

Value Interpreter::evaluate_items(const Expr& expr, Frame& frame) {
  std::vector<Value> items;
  items.reserve(expr.parts.size());
  for (const ExprPtr& part : expr.parts) items.push_back(evaluate(*part, frame));
  return expr.kind == ExprKind::kList ? Value::list(budget_, std::move(items))
                                      : Value::tuple(budget_, std::move(items));
}

Value Interpreter::evaluate_dict(const Expr& expr, Frame& frame) {
  const auto dict = std::make_shared<Dict>(budget_);
  for (std::size_t i = 0; i < expr.parts.size(); i += 2) {
    Value key = evaluate(*expr.parts[i], frame);
    Value value = evaluate(*expr.parts[i + 1], frame);
    line_ = expr.line;
    dict->set(std::move(key), std::move(value));
  }
  return Value::dict(dict);
}

Value Interpreter::evaluate_slice(const Expr& expr, Frame& frame) {
  const Value value = evaluate(*expr.parts[0], frame);
  const auto bound = [&](std::size_t i) {
    return expr.parts[i] != nullptr ? evaluate(*expr.parts[i], frame) : Value::none();
  };
  const Value start = bound(1);
  const Value stop = bound(2);
  const Value step = bound(3);
  line_ = expr.line;
  return slice_of(budget_, value, start, stop, step);
}

Arguments Interpreter::evaluate_arguments(const ArgumentExprs& exprs, Frame& frame) {
  Arguments arguments;
  arguments.positional.reserve(exprs.positional.size());
  for (const ExprPtr& expr : exprs.positional) arguments.positional.push_back(evaluate(*expr, frame));
  for (const auto& [name, expr] : exprs.named) arguments.named.emplace_back(name, evaluate(*expr, frame));
  if (exprs.star != nullptr)
    for (Value& value : items_of(budget_, evaluate(*exprs.star, frame)))
      arguments.positional.push_back(std::move(value));
  if (arguments.positional.size() > kMaxPositional)
    fault("a call with more than {} arguments", kMaxPositional);
  if (exprs.star_star == nullptr) return arguments;
  const Value more = evaluate(*exprs.star_star, frame);
  if (!more.is(Kind::kDict))
    fault("a value of type {} stands behind **, where a dict is expected", type_name(more));
  if (more.dict().entries().size() > kMaxNamed) fault("a call with more than {} named arguments", kMaxNamed);
  for (const auto& [key, value] : more.dict().entries()) {
    budget_.spend(arguments.named.size());
    if (!key.is_text()) fault("a name of an argument must be a text");
    for (const auto& [name, other] : arguments.named)
      if (name == key.str()) fault("the argument {} is given twice", repr_of_text(name));
    arguments.named.emplace_back(key.str(), value);
  }
  return arguments;
}

Value Interpreter::evaluate_call(const Expr& expr, Frame& frame, const Macro* caller) {
  const Expr& callee = *expr.parts[0];
  const auto arguments_of_call = [&] {
    Arguments arguments = evaluate_arguments(*expr.arguments, frame);
    if (caller != nullptr) arguments.named.emplace_back("caller", Value::of(*caller));
    line_ = expr.line;
    return arguments;
  };
  if (callee.kind == ExprKind::kAttribute) {
    // A method is called without making a value of it first.
    const Value self = evaluate(*callee.parts[0], frame);
    line_ = callee.line;
    if (const FunctionBody method = find_method(self, callee.name))
      return method(*this, self, arguments_of_call());
    const Value function = attribute(self, callee.constant);
    return call(function, arguments_of_call());
  }
  const Value function = evaluate(callee, frame);
  return call(function, arguments_of_call());
}

Value Interpreter::evaluate_filter(const Expr& expr, Frame& frame) {
  const bool is_filter = expr.kind == ExprKind::kFilter;
  const Value value = expr.parts[0] != nullptr ? evaluate(*expr.parts[0], frame) : *block_text_;
  const Arguments arguments = evaluate_arguments(*expr.arguments, frame);
  line_ = expr.line;
  if (expr.body == nullptr)
    fault("No {} named {} found.", is_filter ? "filter" : "test", repr_of_text(expr.name));
  return expr.body(*this, value, arguments);
}

Value Interpreter::evaluate_condition(const Expr& expr, Frame& frame) {
  if (is_true(evaluate(*expr.parts[0], frame))) return evaluate(*expr.parts[1], frame);
  if (expr.parts[2] != nullptr) return evaluate(*expr.parts[2], frame);
  return Value::undefined(
      budget_,
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was defined.",
                  expr.line));
}

Value Interpreter::evaluate_concat(const Expr& expr, Frame& frame) {
  TextBuilder out(budget_);
  std::vector<Value> values;
  values.reserve(expr.parts.size());
  for (const ExprPtr& part : expr.parts) values.push_back(evaluate(*part, frame));
  line_ = expr.line;
  for (const Value& value : values) append_str(budget_, value, out);
  return text(out.take());
}

bool Interpreter::holds(Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::kEqual:
      return are_equal(budget_, a, b);
    case Comparison::kNotEqual:
      return !are_equal(budget_, a, b);
    case Comparison::kLess:
      return is_less(budget_, a, b);
    case Comparison::kLessOrEqual:
      return is_less_or_equal(budget_, a, b);
    case Comparison::kGreater:
      return is_less(budget_, b, a);
    case Comparison::kGreaterOrEqual:
      return is_less_or_equal(budget_, b, a);
    case Comparison::kIn:
      return contains(budget_, b, a);
    case Comparison::kNotIn:
      return !contains(budget_, b, a);
  }
  return false;
}

Value Interpreter::evaluate_comparison(const Expr& expr, Frame& frame) {
  Value left = evaluate(*expr.parts[0], frame);
  for (std::size_t i = 0; i < expr.comparisons.size(); ++i) {
    Value right = evaluate(*expr.parts[i + 1], frame);
    line_ = expr.line;
    if (!holds(expr.comparisons[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

// Attributes and items.

Value Interpreter::attribute(const Value& value, const Value& name) {
  if (value.is_undefined()) refuse_undefined(value);
  if (auto found = find_attribute(*this, value, name.str())) return std::move(*found);
  if (auto found = item_at(budget_, value, name)) return std::move(*found);
  return no_attribute(budget_, value, name.str());
}

Value Interpreter::item(const Value& value, const Value& index) {
  if (auto found = item_at(budget_, value, index)) return std::move(*found);
  if (!index.is_text())
    return Value::undefined(budget_,
                            fmt::format("{} has no element {}", object_name(value), repr_of(budget_, index)));
  if (auto found = find_attribute(*this, value, index.str())) return std::move(*found);
  return no_attribute(budget_, value, index.str());
}

}  // namespace fathom::jinja
