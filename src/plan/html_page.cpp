#include "plan/html_page.h"

#include <fmt/core.h>

#include "base/markup.h"

namespace fathom {
namespace {

constexpr std::string_view kPageStyle = R"(<style>
:root { color-scheme: light dark; --page: #f5f6f8; --card: #ffffff; --line: #e2e5ea; --text: #1b2330; --soft: #667085 }
@media (prefers-color-scheme: dark) {
  :root { --page: #0e131b; --card: #161d28; --line: #263041; --text: #e6eaf0; --soft: #93a0b4 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
main { max-width: 1360px; margin: 0 auto; padding: 28px 24px 40px }
h1 { font-size: 22px; font-weight: 650; margin: 0 0 16px; overflow-wrap: anywhere }
h2 { font-size: 16px; font-weight: 620; margin: 28px 0 10px }
p { color: var(--soft); max-width: 90ch; margin: 10px 0; white-space: pre-line; overflow-wrap: anywhere }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow-x: auto; margin: 12px 0 }
.card svg { display: block; margin: 8px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 7px 14px; text-align: left; white-space: nowrap; border-top: 1px solid var(--line) }
tr:first-child > * { border-top: 0 } th { color: var(--soft); font-weight: 500; font-size: 12px }
.right { text-align: right }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 0 16px }
.facts h2 { margin-top: 16px } .facts td { white-space: normal } .facts td:first-child { color: var(--soft) }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 12px 0 }
.tiles .card { padding: 12px 16px; margin: 0 }
.tiles small { color: var(--soft); font-size: 12px }
.tiles b { display: block; font-size: 20px; font-weight: 620; font-variant-numeric: tabular-nums }
</style>
)";

std::string row_markup(const TableRow& row, std::string_view cell, std::size_t first_right) {
  std::string markup = "<tr>";
  for (std::size_t i = 0; i < row.size(); ++i)
    markup += fmt::format("<{0}{1}>{2}</{0}>", cell, i >= first_right ? " class=\"right\"" : "",
                          escape_markup(row[i]));
  return markup + "</tr>\n";
}

}  // namespace

HtmlPage::HtmlPage(std::string_view title) : title_(escape_markup(title)) {}

void HtmlPage::add_heading(std::string_view text) {
  body_ += fmt::format("<h2>{}</h2>\n", escape_markup(text));
}

void HtmlPage::add_paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", escape_markup(text));
}

void HtmlPage::add_table(const std::vector<TableRow>& rows, std::size_t first_right) {
  body_ += "<div class=\"card\"><table>\n";
  for (const TableRow& row : rows) body_ += row_markup(row, &row == &rows.front() ? "th" : "td", first_right);
  body_ += "</table></div>\n";
}

void HtmlPage::add_facts(std::span<const TitledRows> tables) {
  body_ += "<div class=\"facts\">\n";
  for (const TitledRows& table : tables) {
    body_ += fmt::format("<section><h2>{}</h2><div class=\"card\"><table>\n", escape_markup(table.title));
    for (const TableRow& row : table.rows) body_ += row_markup(row, "td", 1);
    body_ += "</table></div></section>\n";
  }
  body_ += "</div>\n";
}

void HtmlPage::add_tiles(const std::vector<std::pair<std::string, std::string>>& tiles) {
  body_ += "<div class=\"tiles\">\n";
  for (const auto& [name, value] : tiles)
    body_ += fmt::format("<div class=\"card\"><small>{}</small><b>{}</b></div>\n", escape_markup(name),
                         escape_markup(value));
  body_ += "</div>\n";
}

void HtmlPage::add_picture(std::string_view svg) {
  body_ += fmt::format("<div class=\"card\">{}</div>\n", svg);
}

std::string HtmlPage::text() const {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0} · "
      "Fathom</title>\n"
      "{1}</head>\n<body>\n<main>\n<h1>{0}</h1>\n{2}</main>\n</body>\n</html>\n",
      title_, kPageStyle, body_);
}

}  // namespace fathom
