#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/json.h"
#include "support/shared_data.h"
#include "text/tokenizer.h"
#include "text/tokenizer_spec.h"

namespace fathom::test {

/// The small tokenizer of the goldens, as its file and ready to use.
inline Json small_tokenizer_json() {
  return read_json_file(golden("text/goldens/small/tokenizer.json"));
}
inline Tokenizer small_tokenizer() {
  return Tokenizer::load(golden("text/goldens/small"));
}

/// A tokenizer from the texts of its two files.
inline Tokenizer tokenizer_from(const std::string& file,
                                const std::optional<std::string>& config = std::nullopt) {
  return Tokenizer(parse_tokenizer_spec(file, config, "tokenizer.json"));
}

}  // namespace fathom::test
