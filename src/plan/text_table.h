#pragma once

#include <string>
#include <vector>

namespace fathom {

using TableRow = std::vector<std::string>;

/// Rows in columns two spaces apart, indented; columns from `first_right` on are aligned to the right. Widths
/// are in characters, of which a terminal shows wide ones twice as wide: such columns are skewed.
std::string text_table(const std::vector<TableRow>& rows, std::size_t first_right);

}  // namespace fathom
