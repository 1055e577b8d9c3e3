#pragma once

#include <string_view>

namespace fathom {

enum class SchemaKeyword : unsigned char {
  kEnforced,     // a grammar can say it, at least for some values
  kCombination,  // $ref, allOf, anyOf, oneOf
  kAnnotation,   // says nothing of what is valid
  kOther,        // cannot be enforced, or is not known
};

SchemaKeyword kind_of_keyword(std::string_view keyword);

}  // namespace fathom
