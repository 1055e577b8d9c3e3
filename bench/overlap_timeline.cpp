#include "overlap_timeline.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "base/markup.h"
#include "base/ticks.h"

namespace fathom {
namespace {

constexpr double kLeft = 60;
constexpr double kTop = 66;
constexpr double kRow = 46;      // from one rank to the next
constexpr double kBlock = 22;    // height of what is computed
constexpr double kMessage = 10;  // of messages
constexpr double kWidth = 1600;

std::string_view color_of(const Action& action) {
  switch (action.kind) {
    case ActionKind::forward:
      return "#cfe3ff";
    case ActionKind::backward:
      return "#1d7a50";
    case ActionKind::backward_input:
      return "#7fcfa6";
    case ActionKind::backward_weight:
      return "#f0a24d";
    default:
      return "#7d9fd4";
  }
}

}  // namespace

std::vector<Span> joined_spans(std::vector<Span> spans) {
  std::ranges::sort(spans, {}, &Span::begin);
  std::vector<Span> joined;
  for (const Span& span : spans) {
    if (!joined.empty() && span.begin <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, span.end);
    } else {
      joined.push_back(span);
    }
  }
  return joined;
}

std::vector<Span> common_spans(const std::vector<Span>& a, const std::vector<Span>& b) {
  std::vector<Span> common;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const Span both{std::max(a[i].begin, b[j].begin), std::min(a[i].end, b[j].end)};
    if (both.end > both.begin) common.push_back(both);
    if (a[i].end < b[j].end) {
      ++i;
    } else {
      ++j;
    }
  }
  return common;
}

double time_within(const std::vector<Span>& phases, const std::vector<Span>& spans) {
  double sum = 0;
  for (const Span& phase : phases)
    for (const Span& span : spans)
      sum += std::max(0.0, std::min(phase.end, span.end) - std::max(phase.begin, span.begin));
  return sum;
}

std::vector<Span> steady_phase(const RankTimeline& rank) {
  std::vector<Span> phase;
  for (const TimedAction& timed : rank.actions) {
    if (timed.action.kind != ActionKind::forward_backward) continue;
    if (phase.empty()) phase.push_back({timed.begin, timed.end});
    phase.front().end = timed.end;
  }
  return phase;
}

std::string timeline_svg(const std::string& title, const std::vector<RankTimeline>& ranks) {
  double begin = 1e300;
  double end = 0;
  for (const RankTimeline& rank : ranks)
    for (const TimedAction& timed : rank.actions) {
      begin = std::min(begin, timed.begin);
      end = std::max(end, timed.end);
    }
  const double scale = kWidth / (end - begin);
  const double bottom = kTop + kRow * static_cast<double>(ranks.size());
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"11\">\n"
      "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"#ffffff\"/>\n"
      "<text x=\"16\" y=\"24\" font-size=\"14\" font-weight=\"600\">{2}</text>\n",
      kLeft + kWidth + 20, bottom + 34, escape_markup(title));
  const auto rect = [&](const Span& span, double y, double height, std::string_view color,
                        std::string_view text) {
    svg += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.0f}\" width=\"{:.2f}\" height=\"{:.0f}\" "
        "fill=\"{}\"><title>{}</title></rect>\n",
        kLeft + scale * (span.begin - begin), y, std::max(0.3, scale * (span.end - span.begin)), height,
        color, escape_markup(text));
  };
  double x = 16;
  for (const auto& [color, text] : {std::pair{"#cfe3ff", "F"},
                                    {"#1d7a50", "B"},
                                    {"#7fcfa6", "Bi"},
                                    {"#f0a24d", "W"},
                                    {"#7d9fd4", "F&B overlapped"},
                                    {"#8a63c9", "experts' messages under way"},
                                    {"#d92d20", "stands still for one"}}) {
    svg += fmt::format(
        "<rect x=\"{:.0f}\" y=\"36\" width=\"16\" height=\"12\" fill=\"{}\"/><text x=\"{:.0f}\" "
        "y=\"46\">{}</text>\n",
        x, color, x + 21, escape_markup(text));
    x += 44 + 6.2 * static_cast<double>(std::string_view(text).size());
  }
  const double step = tick_step(end - begin, 16);
  for (const double at : ticks_between(0, end - begin, step))
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.0f}\" y2=\"{2:.0f}\" stroke=\"#d5dae1\"/>"
        "<text x=\"{0:.1f}\" y=\"{3:.0f}\" text-anchor=\"middle\">{4} s</text>\n",
        kLeft + scale * at, kTop - 4, bottom + 4, bottom + 18, tick_text(at, step));
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const double y = kTop + kRow * static_cast<double>(r);
    svg += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"end\">rank {}</text>\n", kLeft - 8,
                       y + 15, r);
    for (const TimedAction& timed : ranks[r].actions)
      rect({timed.begin, timed.end}, y, kBlock, color_of(timed.action), action_text(timed.action));
    for (const Span& stall : ranks[r].stalls) rect(stall, y, kBlock, "#d92d20", "stands still");
    for (const Span& message : ranks[r].messages)
      rect(message, y + kBlock + 3, kMessage, "#8a63c9", "message");
  }
  return svg + "</svg>\n";
}

}  // namespace fathom
