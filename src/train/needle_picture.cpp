#include "train/needle_picture.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/markup.h"

namespace fathom {
namespace {

constexpr double kCellWidth = 64;
constexpr double kCellHeight = 26;
constexpr double kLeft = 64;
constexpr double kTop = 58;

struct Colour {
  double red;
  double green;
  double blue;
};

/// From red over yellow to green.
std::string colour_of(double accuracy) {
  constexpr std::array<Colour, 3> kStops = {{{200, 62, 45}, {243, 208, 98}, {23, 138, 92}}};
  const double at = std::clamp(accuracy, 0.0, 1.0) * 2;
  const auto first = std::min<std::size_t>(1, static_cast<std::size_t>(at));
  const double part = at - static_cast<double>(first);
  const Colour& a = kStops[first];
  const Colour& b = kStops[first + 1];
  const auto mix = [&](double from, double to) { return std::lround(from + part * (to - from)); };
  return fmt::format("rgb({},{},{})", mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue));
}

std::string percent(double part) {
  return fmt::format("{:.0f}", 100 * part);
}

/// "512", "4K", "128K".
std::string short_length(std::int64_t length) {
  return length >= 1024 && length % 1024 == 0 ? fmt::format("{}K", length / 1024) : fmt::format("{}", length);
}

std::string text_at(double x, double y, std::string_view attributes, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes, escape_markup(text));
}

std::string cell_at(double x, double y, const NeedleMap& map, std::size_t length, std::size_t depth) {
  const double accuracy = map.accuracy(length, depth);
  // Dark on yellow, light on red and green.
  const char* ink = accuracy > 0.3 && accuracy < 0.8 ? "#1b2330" : "#ffffff";
  return fmt::format(
      "<g><title>{} tokens, depth {} %: {} of {} correct, log-probability {:.2f}</title>"
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"3\" fill=\"{}\"/>"
      "<text class=\"value\" x=\"{:.1f}\" y=\"{:.1f}\" style=\"fill:{}\">{}</text></g>\n",
      map.options.lengths[length], percent(map.options.depths[depth]), map.cells[length][depth].correct,
      map.options.trials, map.cells[length][depth].log_probability, x + 1, y + 1, kCellWidth - 2,
      kCellHeight - 2, colour_of(accuracy), x + kCellWidth / 2, y + kCellHeight / 2 + 4, ink,
      percent(accuracy));
}

/// Where a line parts the lengths that the model is made for from longer ones, if it does.
std::string boundary(const NeedleMap& map, std::int64_t trained, double bottom) {
  const std::vector<std::int64_t>& lengths = map.options.lengths;
  for (std::size_t l = 1; l < map.cells.size(); ++l) {
    if (lengths[l - 1] > trained || lengths[l] <= trained) continue;
    const double x = kLeft + kCellWidth * static_cast<double>(l);
    return fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" class=\"bound\"/>\n", x, kTop - 4,
        bottom + 4);
  }
  return {};
}

}  // namespace

std::string needle_svg(const NeedleMap& map, std::string_view title, std::int64_t trained) {
  const double bottom = kTop + kCellHeight * static_cast<double>(map.options.depths.size());
  const double width = std::max(420.0, kLeft + kCellWidth * static_cast<double>(map.cells.size()) + 16);
  const double height = bottom + 46;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"needle\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" role=\"img\" aria-label=\"needle in a haystack\">\n"
      "<style>.needle{{--paper:#fff;--ink:#1b2330;--soft:#667085;"
      "font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}}"
      "@media (prefers-color-scheme:dark){{.needle{{--paper:#161d28;--ink:#e6eaf0;--soft:#93a0b4}}}}"
      ".needle .paper{{fill:var(--paper)}}.needle text{{fill:var(--soft);font-size:11px}}"
      ".needle .title{{fill:var(--ink);font-size:14px;font-weight:600}}"
      ".needle .value{{text-anchor:middle}}.needle "
      ".bound{{stroke:var(--ink);stroke-width:2;stroke-dasharray:4 3}}"
      "</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"8\"/>\n",
      width, height);
  svg += text_at(16, 24, "class=\"title\"", title);
  svg += text_at(16, 42, "",
                 fmt::format("answers found, in percent: {:.1f} of all, {} trial{} a cell",
                             100 * map.accuracy(), map.options.trials, map.options.trials == 1 ? "" : "s"));
  for (std::size_t d = 0; d < map.options.depths.size(); ++d) {
    const double y = kTop + kCellHeight * static_cast<double>(d);
    svg += text_at(kLeft - 8, y + kCellHeight / 2 + 4, "text-anchor=\"end\"",
                   percent(map.options.depths[d]) + " %");
    for (std::size_t l = 0; l < map.cells.size(); ++l)
      svg += cell_at(kLeft + kCellWidth * static_cast<double>(l), y, map, l, d);
  }
  svg += boundary(map, trained, bottom);
  for (std::size_t l = 0; l < map.cells.size(); ++l)
    svg += text_at(kLeft + kCellWidth * (static_cast<double>(l) + 0.5), bottom + 16, "text-anchor=\"middle\"",
                   short_length(map.options.lengths[l]));
  svg += text_at(16, bottom + 36, "", "down: depth of the needle; to the right: length in tokens");
  return svg + "</svg>\n";
}

OrderedJson needle_json(const NeedleMap& map) {
  OrderedJson json;
  json["accuracy"] = map.accuracy();
  json["trials"] = map.options.trials;
  json["distractors"] = map.options.distractors;
  json["seed"] = map.options.seed;
  json["cells"] = OrderedJson::array();
  for (std::size_t l = 0; l < map.cells.size(); ++l)
    for (std::size_t d = 0; d < map.options.depths.size(); ++d)
      json["cells"].push_back({{"length", map.options.lengths[l]},
                               {"depth", map.options.depths[d]},
                               {"accuracy", map.accuracy(l, d)},
                               {"log_probability", map.cells[l][d].log_probability}});
  return json;
}

std::string needle_table(const NeedleMap& map) {
  std::string table = "depth";
  for (std::size_t l = 0; l < map.cells.size(); ++l) table += fmt::format("{:>8}", map.options.lengths[l]);
  table += '\n';
  for (std::size_t d = 0; d < map.options.depths.size(); ++d) {
    table += fmt::format("{:>3} %", percent(map.options.depths[d]));
    for (std::size_t l = 0; l < map.cells.size(); ++l)
      table += fmt::format("{:>6} %", percent(map.accuracy(l, d)));
    table += '\n';
  }
  return table;
}

}  // namespace fathom
