#include "plan/schedule_chart.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "base/markup.h"
#include "base/ticks.h"

namespace fathom {
namespace {

constexpr double kLeft = 68;
constexpr double kRight = 20;
constexpr double kRow = 30;    // from one rank to the next
constexpr double kBlock = 28;  // height of a block
constexpr double kHatch = 8;   // of the hatched strip below its label
constexpr double kTitleHeight = 40;
constexpr double kAxisHeight = 30;
constexpr double kLegendHeight = 36;

// Lightness tells kinds apart where colours do not: F light, W and Bi between, Bi hatched, B dark. Odd slots
// (DualPipe's second direction, the way back of DualPipeV) are a shade darker.
constexpr std::string_view kChartStyle = R"svg(<style>
.gantt { font: 11px system-ui, "DejaVu Sans", sans-serif }
.gantt .page { fill: #ffffff } .gantt .idle { fill: #eef0f3 } .gantt .grid { stroke: #d5dae1 }
.gantt text { fill: #667085 } .gantt .title { font-size: 14px; font-weight: 600; fill: #1b2330 }
.gantt .block { stroke: #ffffff; stroke-width: 1 }
.gantt .label { text-anchor: middle; fill: #10233f } .gantt .label.onb { fill: #ffffff } .gantt .small { font-size: 10px }
.gantt .f { fill: #cfe3ff } .gantt .f.odd { fill: #b3d2fd }
.gantt .b { fill: #1d7a50 } .gantt .b.odd { fill: #0f5436 }
.gantt .i { fill: #7fcfa6 } .gantt .i.odd { fill: #58b587 }
.gantt .w { fill: #f0a24d } .gantt .w.odd { fill: #d9822b }
@media (prefers-color-scheme: dark) {
  .gantt .page { fill: #161d28 } .gantt .idle { fill: #222c3a } .gantt .grid { stroke: #3a4659 }
  .gantt text { fill: #93a0b4 } .gantt .title { fill: #e6eaf0 } .gantt .block { stroke: #161d28 }
  .gantt .label { fill: #10233f }
}
</style>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="2" height="6" fill="#ffffff" fill-opacity="0.55"/></pattern>
)svg";

/// One coloured part of a block: its class in the style, and the micro-batch that labels it.
struct BlockPart {
  std::string_view style;
  StageBatch chunk;
};

BlockPart block_part_of(const Action& action) {
  switch (action.kind) {
    case ActionKind::backward:
      return {"b", action.chunk};
    case ActionKind::backward_input:
      return {"i", action.chunk};
    case ActionKind::backward_weight:
      return {"w", action.chunk};
    default:
      return {"f", action.chunk};
  }
}

/// Draws blocks of one chart.
class Blocks {
 public:
  Blocks(const PipelineShape& shape, double scale) : shape_(shape), scale_(scale) {}

  /// @param top  of the rank's row
  [[nodiscard]] std::string block(const TimedAction& timed, double top) const {
    const double x = kLeft + scale_ * timed.begin;
    const double width = scale_ * (timed.end - timed.begin);
    if (width <= 0) return {};
    std::string svg = fmt::format("<g><title>{}: {:.6g} to {:.6g}</title>", action_text(timed.action),
                                  timed.begin, timed.end);
    if (timed.action.kind == ActionKind::forward_backward) {
      svg += drawn({"f", timed.action.chunk}, x, top, width, kBlock / 2);
      svg += drawn({"b", timed.action.backward_chunk}, x, top + kBlock / 2, width, kBlock / 2);
    } else {
      svg += drawn(block_part_of(timed.action), x, top, width, kBlock);
    }
    return svg + "</g>\n";
  }

 private:
  [[nodiscard]] std::string drawn(const BlockPart& part, double x, double y, double width,
                                  double height) const {
    const char* odd = shape_.slot_of(part.chunk) % 2 == 1 ? " odd" : "";
    const auto rect = [&](std::string_view attributes, double top, double tall) {
      return fmt::format("<rect {} x=\"{:.1f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"{:.0f}\"/>",
                         attributes, x, top, width, tall);
    };
    std::string svg = rect(fmt::format("class=\"block {}{}\"", part.style, odd), y, height);
    if (part.style == "i") svg += rect("fill=\"url(#hatch)\"", y + height - kHatch, kHatch);
    const std::string number = fmt::format("{}", part.chunk.micro_batch);
    const bool small = height < kBlock || number.size() > 2;
    const double room = (small ? 6.0 : 6.6) * static_cast<double>(number.size()) + 2;
    if (width < room) return svg;
    return svg + fmt::format("<text class=\"label{}{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                             part.style == "b" ? " onb" : "", small ? " small" : "", x + width / 2,
                             y + height / 2 + (small ? 3.6 : 4), number);
  }

  const PipelineShape& shape_;
  double scale_;
};

std::string title_of(const SimulatedStep& step) {
  return fmt::format(
      "{}: {} stages on {} ranks, {} micro-batches. Makespan {:.6g}, bubble {:.6g}, {:.1f} % idle",
      pipeline_kind_title(step.shape.kind), step.shape.stages, step.shape.ranks(), step.shape.micro_batches,
      step.makespan, step.bubble(), 100 * step.idle_fraction());
}

double chart_height(const SimulatedStep& step) {
  return kTitleHeight + kRow * static_cast<double>(step.computed.size()) + kAxisHeight;
}

std::string time_axis(double makespan, double scale, double top, double bottom) {
  constexpr double kPixelsPerTick = 70;
  const double step = tick_step(makespan, std::max(1, static_cast<int>(scale * makespan / kPixelsPerTick)));
  std::string svg;
  for (const double at : ticks_between(0, makespan, step))
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.0f}\" y2=\"{2:.0f}\"/>"
        "<text x=\"{0:.1f}\" y=\"{3:.0f}\" text-anchor=\"middle\">{4}</text>\n",
        kLeft + scale * at, top, bottom + 5, bottom + 18, tick_text(at, step));
  return svg;
}

/// @param top  the upper edge of the chart, its title included
std::string chart(const SimulatedStep& step, double scale, double top) {
  const double rows = top + kTitleHeight;
  const double bottom = rows + kRow * static_cast<double>(step.computed.size());
  std::string svg = fmt::format("<text class=\"title\" x=\"{}\" y=\"{:.0f}\">{}</text>\n", 16, rows - 14,
                                escape_markup(title_of(step)));
  svg += time_axis(step.makespan, scale, rows, bottom);
  const Blocks blocks(step.shape, scale);
  for (std::size_t rank = 0; rank < step.computed.size(); ++rank) {
    const double y = rows + kRow * static_cast<double>(rank);
    svg += fmt::format(
        "<text x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">rank {}</text>"
        "<rect class=\"idle\" x=\"{}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"{}\"/>\n",
        kLeft - 10, y + kBlock / 2 + 4, rank, kLeft, y, scale * step.makespan, kBlock);
    for (const TimedAction& timed : step.computed[rank]) svg += blocks.block(timed, y);
  }
  return svg;
}

struct LegendEntry {
  std::string_view style;
  std::string_view text;
};

std::string legend(bool has_slots) {
  constexpr LegendEntry kEntries[] = {{"f", "F forward"},
                                      {"b", "B backward"},
                                      {"i", "Bi backward of inputs"},
                                      {"w", "W backward of weights"}};
  constexpr double kLetter = 6.3;  // the font's mean width: texts are placed without measuring them
  constexpr double kTop = 14;
  std::string svg;
  double x = 16;
  const auto entry = [&](std::string_view swatch, std::string_view text) {
    svg += fmt::format("<g transform=\"translate({:.0f} {})\">{}</g><text x=\"{:.0f}\" y=\"{}\">{}</text>\n",
                       x, kTop, swatch, x + 28, kTop + 13, escape_markup(text));
    x += 50 + kLetter * static_cast<double>(text.size());
  };
  const auto rect = [](std::string_view attributes, double y, double height) {
    return fmt::format("<rect {} y=\"{}\" width=\"22\" height=\"{}\"/>", attributes, y, height);
  };
  for (const LegendEntry& one : kEntries) {
    std::string swatch = rect(fmt::format("class=\"block {}\"", one.style), 0, 18);
    if (one.style == "i") swatch += rect("fill=\"url(#hatch)\"", 18 - kHatch, kHatch);
    entry(swatch, one.text);
  }
  entry(rect("class=\"block f\"", 0, 9) + rect("class=\"block b\"", 9, 9), "F&B overlapped");
  entry(rect("class=\"idle\"", 0, 18), "idle");
  if (has_slots)
    svg +=
        fmt::format("<text x=\"{:.0f}\" y=\"{}\">darker: every other stage of a rank</text>\n", x, kTop + 13);
  return svg;
}

/// Pixels for one unit of time: most blocks have room for their label, and the picture stays a picture.
double scale_of(std::span<const SimulatedStep* const> steps, double makespan) {
  constexpr double kBlockWidth = 17;
  constexpr double kLeastWidth = 1100;
  constexpr double kMostWidth = 6000;
  double shortest = std::numeric_limits<double>::infinity();
  for (const SimulatedStep* step : steps) shortest = std::min(shortest, step->times.forward);
  return std::clamp(kBlockWidth / shortest * makespan, kLeastWidth, kMostWidth) / makespan;
}

}  // namespace

std::string schedules_svg(std::span<const ComparedSchedule> schedules) {
  constexpr std::size_t kMostBlocks = 100'000;
  std::vector<const SimulatedStep*> steps;
  for (const ComparedSchedule& one : schedules)
    if (one.step) steps.push_back(&*one.step);
  std::size_t blocks = 0;
  double makespan = 0;
  double height = kLegendHeight;
  bool has_slots = false;
  for (const SimulatedStep* step : steps) {
    for (const auto& rank : step->computed) blocks += rank.size();
    makespan = std::max(makespan, step->makespan);
    height += chart_height(*step);
    has_slots = has_slots || step->shape.slots() > 1;
  }
  require(blocks > 0, "there is no schedule to draw");
  require(blocks <= kMostBlocks,
          "{} blocks are too many for a picture (at most {}): draw fewer micro-batches", blocks, kMostBlocks);
  const double scale = scale_of(steps, makespan);
  const double width = kLeft + scale * makespan + kRight;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"gantt\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "width=\"{0:.0f}\" height=\"{1:.0f}\" role=\"img\" aria-label=\"pipeline schedule\">\n{2}"
      "<rect class=\"page\" width=\"{0:.0f}\" height=\"{1:.0f}\" rx=\"8\"/>\n",
      width, height, kChartStyle);
  svg += legend(has_slots);
  double top = kLegendHeight;
  for (const SimulatedStep* step : steps) {
    svg += chart(*step, scale, top);
    top += chart_height(*step);
  }
  return svg + "</svg>\n";
}

}  // namespace fathom
