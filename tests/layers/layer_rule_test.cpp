// DESIGN section 2: a layer includes only itself and the layers above it in the list; siblings do not include
// each other. Tests and benchmarks are outside the rule.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "support/shared_data.h"

namespace {

using Layers = std::map<std::string, int>;  // name -> row in the list

const Layers kRow = {{"base", 0}, {"numerics", 1},  {"kernels", 2}, {"tensor", 3}, {"io", 4},
                     {"text", 4}, {"model", 5},     {"dist", 6},    {"train", 7},  {"infer", 7},
                     {"plan", 7}, {"posttrain", 8}, {"serve", 8},   {"cli", 9}};

bool may_include(const std::string& from, const std::string& to) {
  return from == to || kRow.at(to) < kRow.at(from);
}

/// The folder that a line includes from: "io" for `#include "io/safetensors.h"`; empty for any other line.
std::string included_layer(const std::string& line) {
  static const std::string kStart = "#include \"";
  if (!line.starts_with(kStart)) return {};
  const std::size_t slash = line.find('/', kStart.size());
  return slash == std::string::npos ? std::string() : line.substr(kStart.size(), slash - kStart.size());
}

TEST(LayerRuleTest, EveryFolderIsALayer) {
  for (const auto& entry : std::filesystem::directory_iterator(fathom::test::source_folder() / "src"))
    EXPECT_TRUE(kRow.contains(entry.path().filename())) << entry.path() << " is not in the list of layers";
}

TEST(LayerRuleTest, IncludesPointUpTheList) {
  int checked = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(fathom::test::source_folder() / "src")) {
    if (!entry.is_regular_file()) continue;
    const auto relative = std::filesystem::relative(entry.path(), fathom::test::source_folder() / "src");
    const std::string layer = relative.begin()->string();
    std::ifstream file(entry.path());
    int number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      const std::string target = included_layer(line);
      if (target.empty()) continue;
      ASSERT_TRUE(kRow.contains(target))
          << relative << ":" << number << " includes an unknown layer: " << line;
      EXPECT_TRUE(may_include(layer, target))
          << relative << ":" << number << ": " << layer << " includes " << target;
      ++checked;
    }
  }
  EXPECT_GT(checked, 20) << "the walk found too few includes to have looked at the sources";
}

TEST(LayerRuleTest, SiblingsMayNotIncludeEachOther) {
  EXPECT_FALSE(may_include("train", "infer"));
  EXPECT_FALSE(may_include("io", "text"));
  EXPECT_FALSE(may_include("base", "tensor"));
  EXPECT_TRUE(may_include("cli", "train"));
}

}  // namespace
