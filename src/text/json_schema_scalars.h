#pragma once

#include <cstddef>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "text/grammar.h"
#include "text/json_rules.h"

namespace fathom {

/// Called with a keyword that cannot be enforced, and why: throws, or lets it count as absent.
using UnenforceableKeyword = std::function<void(std::string_view keyword, std::string_view why)>;

/// Numbers and strings as their keywords bound them. @param path  names the schema in messages

GrammarExpr schema_number(const OrderedJson& schema, bool is_integer, const std::string& path,
                          JsonRules& rules, const UnenforceableKeyword& unenforceable);
GrammarExpr schema_string(const OrderedJson& schema, const std::string& path, JsonRules& rules,
                          const UnenforceableKeyword& unenforceable);

/// A keyword that counts something, such as "minItems", if it is there. Throws `Error` where it is not such a
/// number.
std::optional<std::size_t> schema_count(const OrderedJson& schema, const char* keyword,
                                        const std::string& path);

}  // namespace fathom
