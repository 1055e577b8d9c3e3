#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "train/needle.h"

namespace fathom {

/// The map as an SVG picture that needs nothing else: lengths from left to right, depths downwards, each cell
/// coloured by and labelled with its accuracy; its tooltip has the answer's log-probability.
/// @param trained  positions that the model is made for: a line parts them from longer texts, where there are
///                 any
std::string needle_svg(const NeedleMap& map, std::string_view title, std::int64_t trained);

/// Options, overall accuracy, and a list of cells.
OrderedJson needle_json(const NeedleMap& map);

/// The same as lines of text: a row for each depth, a column for each length, in percent.
std::string needle_table(const NeedleMap& map);

}  // namespace fathom
