#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "support/shared_data.h"
#include "text/tokenizer.h"
#include "text/tokenizer_spec.h"

namespace fathom::test {
namespace {

// Makes the same change to the small tokenizer's file as goldens/make_tokenizer_goldens.py made.
Json changed(Json base, const Json& change) {
  Json& model = base.at("model");
  for (const auto& [key, value] : change.items()) {
    if (key == "model") {
      model.update(value);
    } else if (key == "added") {
      for (const Json& token : value) base.at("added_tokens").push_back(token);
    } else if (key == "renamed") {
      for (const auto& [from, to] : value.items()) {
        model.at("vocab")[to.get<std::string>()] = model.at("vocab").at(from);
        model.at("vocab").erase(from);
      }
    } else if (key == "merges_kept") {
      Json kept = Json::array();
      for (const Json& index : value) kept.push_back(model.at("merges").at(index.get<std::size_t>()));
      model["merges"] = kept;
    } else if (key == "merges_as_strings") {
      for (Json& merge : model.at("merges")) {
        merge = merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>();
      }
    } else {
      base[key] = value;
    }
  }
  return base;
}

TEST(TokenizerVariantsTest, EveryOptionGivesTheLibrarysIdsAndText) {
  const Json base = read_json_file(golden("text/goldens/small/tokenizer.json"));
  const Json goldens = read_json_file(golden("text/goldens/variants.json"));
  const Json& texts = goldens.at("texts");
  for (const Json& variant : goldens.at("variants")) {
    const std::string file = changed(base, variant.at("change")).dump();
    SCOPED_TRACE(variant.at("change").dump());
    const Tokenizer tokenizer(parse_tokenizer_spec(file, std::nullopt, "tokenizer.json"));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto text = texts[i].get<std::string>();
      const auto ids = variant.at("ids").at(i).get<std::vector<std::int32_t>>();
      EXPECT_EQ(tokenizer.encode(text), ids) << text;
      EXPECT_EQ(tokenizer.decode(ids), variant.at("decoded").at(i).get<std::string>());
    }
  }
}

}  // namespace
}  // namespace fathom::test
