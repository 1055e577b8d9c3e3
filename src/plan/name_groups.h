#pragma once

#include <string>
#include <vector>

namespace fathom {

/// Names that differ only in the numbers between their dots, written as one:
/// "model.layers.{3..60}.mlp.experts.{0..255}.up_proj.weight".
struct NameGroup {
  std::string pattern;
  std::vector<std::string> names;  // in the order of their numbers
};

/// Names in the order of their parts between the dots, a number before text and numbers by their value.
std::vector<std::string> in_name_order(std::vector<std::string> names);

/// Groups names so that each pattern stands for exactly its names: every combination of its numbers is one.
/// Groups come in the order of their first names. Names must be distinct.
std::vector<NameGroup> group_names(const std::vector<std::string>& names);

}  // namespace fathom
