#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plan/text_table.h"

namespace fathom {

/// Names and values under a title.
struct TitledRows {
  std::string title;
  std::vector<TableRow> rows;
};

/// One page of headings, paragraphs, tables and pictures, for light and dark screens, that asks nothing of
/// the network. Texts are escaped; pictures are SVG and stand as they are.
class HtmlPage {
 public:
  explicit HtmlPage(std::string_view title);

  void add_heading(std::string_view text);
  void add_paragraph(std::string_view text);
  /// The first row heads the columns, of which those from `first_right` on are aligned to the right.
  void add_table(const std::vector<TableRow>& rows, std::size_t first_right);
  /// Tables of names and values, each with its title, beside one another where there is room.
  void add_facts(std::span<const TitledRows> tables);
  /// Figures that matter most, as {"MFU", "34.1 %"}.
  void add_tiles(const std::vector<std::pair<std::string, std::string>>& tiles);
  /// In a frame that scrolls where the picture is wider than the page.
  void add_picture(std::string_view svg);

  [[nodiscard]] std::string text() const;

 private:
  std::string title_;
  std::string body_;
};

}  // namespace fathom
