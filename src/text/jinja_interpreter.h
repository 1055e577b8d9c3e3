#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_loop.h"
#include "text/jinja_macro.h"

namespace fathom::jinja {

/// What a program prints, and where in it the text of `generation` blocks lies.
struct Printed {
  std::string text;
  std::vector<std::pair<std::size_t, std::size_t>> generations;  // begin and end, bytes
  bool has_hidden_generation = false;  // one that a macro or a block captured: its place is not known
};

/// Gives the time as `strftime` of Python would, for a format.
using FormatTime = std::function<std::string(const std::string& format)>;

/// Runs a program once.
class Interpreter {
 public:
  explicit Interpreter(FormatTime format_time);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  [[nodiscard]] Budget& budget() { return budget_; }

  /// Gives the program a variable.
  void define(std::string name, Value value) { context_[std::move(name)] = std::move(value); }

  /// Throws `Fault`; `line` then says where.
  Printed run(const Program& program);
  [[nodiscard]] int line() const { return line_; }

  // For filters, tests and functions.

  Value text(std::string text) { return Value::text(budget_, std::move(text)); }
  /// `value.name`: an attribute first, an item otherwise; undefined where there is neither.
  Value attribute(const Value& value, const Value& name);
  /// `value[index]`: an item first, an attribute otherwise.
  Value item(const Value& value, const Value& index);
  Value call(const Value& callee, const Arguments& arguments);
  Namespace& make_namespace();
  [[nodiscard]] const FormatTime& format_time() const { return format_time_; }

 private:
  enum class Flow : std::uint8_t { kOn, kBreak, kContinue };

  // Statements.
  Flow run_block(const Block& block, Frame& frame);
  Flow run_statement(const Stmt& stmt, Frame& frame);
  Flow run_branches(const Stmt& stmt, Frame& frame);
  void print(const Stmt& stmt, Frame& frame);
  void run_for(const Stmt& stmt, Frame& frame);
  void run_loop(const Stmt& stmt, Frame& frame, const Value& items, std::int64_t depth);
  Value run_recursive(const Stmt& stmt, Frame& outside, const Value& items, std::int64_t depth);
  NextItem filtered(const Stmt& stmt, Frame& frame, NextItem items);
  Flow run_set_block(const Stmt& stmt, Frame& frame);
  void run_call_block(const Stmt& stmt, Frame& frame);
  void run_generation(const Stmt& stmt, Frame& frame);
  void enter(const Scope& scope, Frame& frame);
  static void leave(const Scope& scope, Frame& frame);
  void assign(const Expr& target, Value value, Frame& frame);

  // Functions.
  const Macro& make_macro(const Stmt& stmt, Frame& frame);
  Value call_macro(const Macro& macro, const Arguments& arguments);
  template <typename Use>
  auto in_new_frame(const Function& function, Frame* outside, const Use& use);
  template <typename Use>
  std::string captured(const Use& use);

  // Expressions.
  Value evaluate(const Expr& expr, Frame& frame);
  Value evaluate_name(const Expr& expr, Frame& frame);
  Value evaluate_items(const Expr& expr, Frame& frame);
  Value evaluate_dict(const Expr& expr, Frame& frame);
  Value evaluate_slice(const Expr& expr, Frame& frame);
  Value evaluate_call(const Expr& expr, Frame& frame, const Macro* caller);
  Value evaluate_filter(const Expr& expr, Frame& frame);
  Value evaluate_condition(const Expr& expr, Frame& frame);
  Value evaluate_concat(const Expr& expr, Frame& frame);
  Value evaluate_comparison(const Expr& expr, Frame& frame);
  bool holds(Comparison comparison, const Value& a, const Value& b);
  Arguments evaluate_arguments(const ArgumentExprs& exprs, Frame& frame);
  static Value& at(const Slot& slot, Frame& frame);

  Budget budget_;  // first: values give back what they took
  FormatTime format_time_;
  std::map<std::string, Value, std::less<>> context_;
  std::deque<Namespace> namespaces_;
  std::deque<Macro> macros_;
  std::vector<std::unique_ptr<Frame>> captured_frames_;
  TextBuilder root_out_;
  TextBuilder* out_ = &root_out_;
  const Value* block_text_ = nullptr;  // that a block's filter is applied to
  Printed printed_;
  int line_ = 1;
};

}  // namespace fathom::jinja
