#include "text/json_schema_scalars.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "text/json_formats.h"
#include "text/json_text.h"
#include "text/pattern_grammar.h"

namespace fathom {
namespace {

constexpr std::size_t kMaxCount = 1'000'000;
/// Whole numbers from here on are not all doubles.
constexpr double kLargestExact = 9007199254740992.0;

struct NumberBounds {
  std::optional<JsonBound> least;
  std::optional<JsonBound> most;
};

/// The bound that `keyword` sets, in whole numbers.
std::optional<JsonBound> read_bound(const OrderedJson& schema, const char* keyword, bool is_integer,
                                    bool is_lower, const std::string& path,
                                    const UnenforceableKeyword& unenforceable) {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return std::nullopt;
  require(found->is_number(), "{}/{}: must be a number", path, keyword);
  const bool is_exclusive = std::string_view(keyword).starts_with("exclusive");
  if (found->is_number_integer()) {
    const bool fits = !found->is_number_unsigned() ||
                      found->get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()};
    if (fits) return JsonBound{found->get<std::int64_t>(), is_exclusive};
    unenforceable(keyword, "it does not fit 64 bits");
    return std::nullopt;
  }
  const double value = found->get<double>();
  if (!(std::abs(value) < kLargestExact)) {
    unenforceable(keyword, "it does not fit 64 bits");
    return std::nullopt;
  }
  if (value == std::floor(value)) return JsonBound{static_cast<std::int64_t>(value), is_exclusive};
  if (is_integer)
    return JsonBound{static_cast<std::int64_t>(is_lower ? std::ceil(value) : std::floor(value)), false};
  unenforceable(keyword, "of numbers only whole bounds can be");
  return std::nullopt;
}

/// The narrower one of two bounds of one side.
std::optional<JsonBound> narrower(const std::optional<JsonBound>& a, const std::optional<JsonBound>& b,
                                  bool is_lower) {
  if (!a || !b) return a ? a : b;
  if (a->value == b->value) return a->is_exclusive ? a : b;
  return (a->value > b->value) == is_lower ? a : b;
}

NumberBounds read_bounds(const OrderedJson& schema, bool is_integer, const std::string& path,
                         const UnenforceableKeyword& unenforceable) {
  const auto read = [&](const char* keyword, bool is_lower) {
    return read_bound(schema, keyword, is_integer, is_lower, path, unenforceable);
  };
  return {narrower(read("minimum", true), read("exclusiveMinimum", true), true),
          narrower(read("maximum", false), read("exclusiveMaximum", false), false)};
}

GrammarExpr integers(const NumberBounds& bounds) {
  std::optional<std::int64_t> least;
  std::optional<std::int64_t> most;
  if (bounds.least) {
    least = bounds.least->value;
    if (bounds.least->is_exclusive) {
      if (*least == std::numeric_limits<std::int64_t>::max()) return expr::never();
      ++*least;
    }
  }
  if (bounds.most) {
    most = bounds.most->value;
    if (bounds.most->is_exclusive) {
      if (*most == std::numeric_limits<std::int64_t>::min()) return expr::never();
      --*most;
    }
  }
  return json_integer(least ? &*least : nullptr, most ? &*most : nullptr);
}

/// How many characters the texts of a pattern have.
struct Lengths {
  std::int64_t least = 0;
  std::int64_t most = 0;  // `GrammarExpr::kEndless`: any number
};

/// Numbers so large that they are as good as any.
constexpr std::int64_t kVeryLong = std::int64_t{1} << 30U;

Lengths lengths_of(const GrammarExpr& part) {
  constexpr std::int64_t kEndless = GrammarExpr::kEndless;
  const auto bounded = [](std::int64_t length) { return std::min(length, kVeryLong); };
  Lengths all;
  switch (part.kind) {
    case GrammarExpr::Kind::kSequence:
      for (const GrammarExpr& one : part.parts) {
        const Lengths length = lengths_of(one);
        all.least = bounded(all.least + length.least);
        all.most =
            all.most == kEndless || length.most == kEndless ? kEndless : bounded(all.most + length.most);
      }
      return all;
    case GrammarExpr::Kind::kChoice:
      all.least = kVeryLong;
      for (const GrammarExpr& one : part.parts) {
        const Lengths length = lengths_of(one);
        all.least = std::min(all.least, length.least);
        all.most =
            all.most == kEndless || length.most == kEndless ? kEndless : std::max(all.most, length.most);
      }
      return all;
    case GrammarExpr::Kind::kRepeat: {
      const Lengths length = lengths_of(part.parts.front());
      all.least = bounded(length.least * part.least);
      const bool is_endless = length.most == kEndless || (part.most == kEndless && length.most > 0);
      all.most = is_endless ? kEndless : bounded(length.most * std::max<std::int64_t>(part.most, 0));
      return all;
    }
    default:
      return {1, 1};  // a character
  }
}

GrammarExpr string_of_pattern(std::string_view pattern, const OrderedJson& schema, const std::string& path,
                              const UnenforceableKeyword& unenforceable) {
  const Lengths lengths = lengths_of(pattern_grammar(pattern, path, expr::char_class));
  const auto least = schema_count(schema, "minLength", path);
  const auto most = schema_count(schema, "maxLength", path);
  constexpr const char* kWhy = "beside a pattern or format whose strings may have another length";
  if (least && static_cast<std::int64_t>(*least) > lengths.least) unenforceable("minLength", kWhy);
  if (most && (lengths.most == GrammarExpr::kEndless || static_cast<std::int64_t>(*most) < lengths.most))
    unenforceable("maxLength", kWhy);
  return expr::sequence(
      {expr::literal("\""), pattern_grammar(pattern, path, json_chars), expr::literal("\"")});
}

}  // namespace

std::optional<std::size_t> schema_count(const OrderedJson& schema, const char* keyword,
                                        const std::string& path) {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return std::nullopt;
  const double value = found->is_number() ? found->get<double>() : -1;
  require(value >= 0 && value == std::floor(value) && value <= static_cast<double>(kMaxCount),
          "{}/{}: must be a whole number from 0 to {}", path, keyword, kMaxCount);
  return static_cast<std::size_t>(value);
}

GrammarExpr schema_number(const OrderedJson& schema, bool is_integer, const std::string& path,
                          JsonRules& rules, const UnenforceableKeyword& unenforceable) {
  if (const auto divisor = schema.find("multipleOf"); divisor != schema.end()) {
    if (*divisor == 1) {
      is_integer = true;
    } else {
      unenforceable("multipleOf", "only 1 can be");
    }
  }
  const NumberBounds bounds = read_bounds(schema, is_integer, path, unenforceable);
  if (is_integer) return integers(bounds);
  if (!bounds.least && !bounds.most) return rules.any_number();
  return json_number(bounds.least ? &*bounds.least : nullptr, bounds.most ? &*bounds.most : nullptr);
}

GrammarExpr schema_string(const OrderedJson& schema, const std::string& path, JsonRules& rules,
                          const UnenforceableKeyword& unenforceable) {
  std::string pattern;
  if (const auto found = schema.find("pattern"); found != schema.end()) {
    require(found->is_string(), "{}/pattern: must be a string", path);
    pattern = found->get<std::string>();
  }
  if (const auto format = schema.find("format"); format != schema.end()) {
    require(format->is_string(), "{}/format: must be a string", path);
    const std::string_view of_format = pattern_of_format(format->get_ref<const std::string&>());
    if (!pattern.empty()) {
      unenforceable("format", "there is a pattern too");
    } else if (of_format.empty()) {
      unenforceable("format",
                    fmt::format("{} is not known", printable(format->get_ref<const std::string&>())));
    }
    if (pattern.empty()) pattern = of_format;
  }
  if (!pattern.empty()) return string_of_pattern(pattern, schema, path, unenforceable);
  const auto least = schema_count(schema, "minLength", path);
  const auto most = schema_count(schema, "maxLength", path);
  if (!most && least.value_or(0) == 0) return rules.any_string();
  if (most && *most < least.value_or(0)) return expr::never();
  return json_string(static_cast<std::int64_t>(least.value_or(0)),
                     most ? static_cast<std::int64_t>(*most) : GrammarExpr::kEndless);
}

}  // namespace fathom
