#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/jinja_operators.h"
#include "text/jinja_value.h"

namespace fathom::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using Block = std::vector<std::unique_ptr<Stmt>>;

/// Where a variable lies: in the frame of the function so many functions outside.
struct Slot {
  int hops = 0;
  int index = -1;
};

enum class ExprKind : std::uint8_t {
  kConstant,    // constant
  kName,        // name
  kNamespaced,  // parts[0].name, a name; the target of an assignment alone
  kTuple,       // (parts)
  kList,        // [parts]
  kDict,        // {parts[0]: parts[1], ...}
  kAttribute,   // parts[0].name
  kItem,        // parts[0][parts[1]]
  kSlice,       // parts[0][parts[1]:parts[2]:parts[3]], each bound may be null
  kCall,        // parts[0](arguments)
  kFilter,      // parts[0] | name(arguments); null: of a block's text
  kTest,        // parts[0] is name(arguments)
  kCondition,   // parts[1] if parts[0] else parts[2], which may be null
  kAnd,
  kOr,
  kNot,
  kNegative,
  kPositive,
  kArithmetic,  // parts[0] arithmetic parts[1]
  kConcat,      // parts[0] ~ parts[1] ~ ...
  kCompare,     // parts[0] comparisons[0] parts[1] comparisons[1] parts[2] ...
};

enum class Comparison : std::uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIn,
  kNotIn
};

struct ArgumentExprs {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;       // *star
  ExprPtr star_star;  // **star_star
};

/// A filter or a test: the value, and the arguments behind it.
using FilterBody = Value (*)(Interpreter&, const Value&, const Arguments&);

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  Arithmetic arithmetic = Arithmetic::kAdd;
  int line = 0;
  int depth = 1;  // of the tree below
  Slot slot;      // of names
  std::string name;
  Value constant;
  std::vector<ExprPtr> parts;
  std::vector<Comparison> comparisons;
  std::unique_ptr<ArgumentExprs> arguments;
  FilterBody body = nullptr;  // of filters and tests; null: there is none of that name
};

/// A variable to set when a scope is entered.
struct ScopeVariable {
  enum class From : std::uint8_t { kNothing, kContext, kOuter };
  int index = 0;
  From from = From::kNothing;
  std::string name;  // in the context
  Slot outer;
};
using Scope = std::vector<ScopeVariable>;

/// What has a frame of its own: the template, macros, bodies of `call` blocks and recursive loops.
struct Function {
  int slots = 0;
};

enum class StmtKind : std::uint8_t {
  kOutput,       // exprs
  kFor,          // for target in exprs[0] if exprs[1] (may be null): body, else_body
  kIf,           // for each of exprs (null: else) one of branches
  kSet,          // target = exprs[0]
  kSetBlock,     // target = body, through the filter exprs[0] (may be null)
  kMacro,        // name(parameters): body
  kCallBlock,    // exprs[0], a call whose `caller` is body
  kGeneration,   // body, whose text is the assistant's
  kFilterBlock,  // exprs[0] of body
  kWith,         // targets = exprs: body
  kBreak,
  kContinue,
};

struct Parameter {
  std::string name;
  Slot slot;
  ExprPtr otherwise;  // null: must be given
};

struct Stmt {
  StmtKind kind = StmtKind::kOutput;
  int line = 0;
  std::vector<ExprPtr> exprs;
  ExprPtr target;
  std::vector<ExprPtr> targets;
  ExprPtr test_target;  // `target` as the loop's condition sees it
  Block body;
  Block else_body;
  std::vector<Block> branches;
  bool is_recursive = false;

  // Macros, and the callers that `call` blocks and `generation` make.
  std::string name;
  std::vector<Parameter> parameters;
  Slot slot;         // where the macro is stored
  Slot caller_slot;  // of `caller`, `kwargs` and `varargs`, where the body speaks of them
  Slot named_slot;
  Slot positional_slot;
  Function function;  // of macros, callers and recursive loops

  Scope scope;       // of body
  Scope test_scope;  // of a loop's condition
  Scope else_scope;
  bool has_loop = false;  // the body speaks of `loop`
  Slot loop_slot;
};

struct Program {
  Block body;
  Scope scope;
  Function function;
};

}  // namespace fathom::jinja
