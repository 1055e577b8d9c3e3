#include "infer/roofline_picture.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "base/markup.h"

namespace fathom {
namespace {

constexpr double kWidth = 760;
constexpr double kLeft = 72;
constexpr double kRight = 24;
constexpr double kTop = 44;
constexpr double kPlotWidth = kWidth - kLeft - kRight;
constexpr double kPlotHeight = 380;
constexpr double kLegendTop = kTop + kPlotHeight + 64;
constexpr double kLegendRow = 20;

constexpr std::string_view kStyle =
    R"(<style>
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #667085 }
.title { font-weight: 600; fill: #1b2330 } .mark { fill: #ffffff; font-size: 10px; font-weight: 600 }
.grid { stroke: #eceef2 } .page { fill: #ffffff }
.roof { fill: none; stroke: #1b2330; stroke-width: 1.8 } .gap { stroke: #98a2b3; stroke-dasharray: 2 3 }
.prefill { fill: #0f8a5f } .decode { fill: #2563eb }
@media (prefers-color-scheme: dark) {
  .page { fill: #0e131b } .title { fill: #e6eaf0 } text { fill: #93a0b4 } .mark { fill: #0e131b }
  .grid { stroke: #202938 } .roof { stroke: #e6eaf0 } .gap { stroke: #475467 }
  .prefill { fill: #4cc38a } .decode { fill: #6ea8fe }
}
</style>
)";

double operations_of(const SpeedResult& result) {
  return result.cost.weight_operations + result.cost.attention_operations;
}
double bytes_of(const SpeedResult& result) {
  return result.cost.weight_bytes + result.cost.cache_bytes;
}

/// A machine as fast as it was at its best in all measurements: one roof for all.
MachineSpeed roof_of(std::span<const SpeedResult> results) {
  MachineSpeed best;
  for (const SpeedResult& result : results) {
    best.bytes_per_second = std::max(best.bytes_per_second, result.machine.bytes_per_second);
    best.integer_operations = std::max(best.integer_operations, result.machine.integer_operations);
    best.float_operations = std::max(best.float_operations, result.machine.float_operations);
  }
  return best;
}

/// Powers of two between which something lies.
struct Octaves {
  int least;
  int most;

  static Octaves around(double least, double most) {
    return {static_cast<int>(std::floor(std::log2(least))), static_cast<int>(std::ceil(std::log2(most)))};
  }
  [[nodiscard]] double part(double value) const {
    return std::clamp((std::log2(value) - least) / (most - least), 0.0, 1.0);
  }
};

/// 0.5, 16, 2k.
std::string power_text(int exponent) {
  if (exponent < 0) return fmt::format("1/{}", 1LL << -exponent);
  return exponent < 10 ? fmt::format("{}", 1LL << exponent) : fmt::format("{}k", 1LL << (exponent - 10));
}

class Picture {
 public:
  Picture(std::span<const SpeedResult> results, bool integers)
      : results_(results),
        roof_(roof_of(results)),
        peak_(integers ? roof_.integer_operations : roof_.float_operations) {
    double least_work = ridge();
    double most_work = ridge();
    double least_speed = peak_;
    for (const SpeedResult& result : results) {
      least_work = std::min(least_work, work(result));
      most_work = std::max(most_work, work(result));
      least_speed = std::min(least_speed, speed(result));
    }
    constexpr double kMargin = 1.5;
    x_ = Octaves::around(least_work / kMargin, most_work * kMargin);
    y_ = Octaves::around(least_speed / kMargin * kGiga, peak_ * kMargin * kGiga);
  }

  [[nodiscard]] std::string text() const {
    const double height = kLegendTop + kLegendRow * static_cast<double>(results_.size()) + 8;
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n",
        kWidth, height);
    svg += kStyle;
    svg += fmt::format("<rect class=\"page\" width=\"{}\" height=\"{}\"/>\n", kWidth, height);
    svg += fmt::format(
        "<text class=\"title\" x=\"{}\" y=\"24\">{:.1f} GB/s and {:.0f} GOP/s: the roof of this "
        "machine</text>\n",
        kLeft, roof_.bytes_per_second * kGiga, peak_ * kGiga);
    svg += grid() + roof();
    for (std::size_t i = 0; i < results_.size(); ++i) svg += point(i);
    for (std::size_t i = 0; i < results_.size(); ++i) svg += legend_row(i);
    return svg + "</svg>\n";
  }

 private:
  static constexpr double kGiga = 1e-9;

  static double work(const SpeedResult& result) { return operations_of(result) / bytes_of(result); }
  static double speed(const SpeedResult& result) { return operations_of(result) / result.seconds; }
  /// Operations a byte from which on arithmetic is the limit.
  [[nodiscard]] double ridge() const { return peak_ / roof_.bytes_per_second; }
  [[nodiscard]] double roof_at(double operations_a_byte) const {
    return std::min(peak_, operations_a_byte * roof_.bytes_per_second);
  }
  [[nodiscard]] double place_x(double operations_a_byte) const {
    return kLeft + kPlotWidth * x_.part(operations_a_byte);
  }
  [[nodiscard]] double place_y(double operations_a_second) const {
    return kTop + kPlotHeight * (1 - y_.part(operations_a_second * kGiga));
  }

  [[nodiscard]] std::string grid() const {
    std::string svg;
    for (int e = x_.least; e <= x_.most; ++e)
      svg += fmt::format(
          "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>"
          "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n",
          place_x(std::exp2(e)), kTop, kTop + kPlotHeight, kTop + kPlotHeight + 18, power_text(e));
    for (int e = y_.least; e <= y_.most; ++e)
      svg += fmt::format(
          "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
          "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
          kLeft, kLeft + kPlotWidth, place_y(std::exp2(e) / kGiga), kLeft - 8,
          place_y(std::exp2(e) / kGiga) + 4, power_text(e));
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">operations a byte read</text>\n",
                       kLeft + kPlotWidth, kTop + kPlotHeight + 38);
    return svg + fmt::format("<text x=\"{}\" y=\"{}\">GOP/s</text>\n", 12, kTop - 6);
  }

  [[nodiscard]] std::string roof() const {
    const double begin = std::exp2(x_.least);
    const double end = std::exp2(x_.most);
    // Where the roof begins below the picture, it is drawn from where it comes in.
    const double from = std::max(begin, std::exp2(y_.least) / kGiga / roof_.bytes_per_second);
    const double corner = std::clamp(ridge(), from, end);
    return fmt::format("<path class=\"roof\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n",
                       place_x(from), place_y(roof_at(from)), place_x(corner), place_y(roof_at(corner)),
                       place_x(end), place_y(roof_at(end)));
  }

  [[nodiscard]] std::string mark(std::size_t index, double x, double y) const {
    return fmt::format(
        "<circle class=\"{0}\" cx=\"{1:.1f}\" cy=\"{2:.1f}\" r=\"8\"/>"
        "<text class=\"mark\" x=\"{1:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">{4}</text>\n",
        results_[index].what.tokens > 1 ? "prefill" : "decode", x, y, y + 3.5, index + 1);
  }
  [[nodiscard]] std::string point(std::size_t index) const {
    const SpeedResult& result = results_[index];
    const double x = place_x(work(result));
    return fmt::format("<line class=\"gap\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>\n",
                       x, place_y(speed(result)), place_y(roof_at(work(result)))) +
           mark(index, x, place_y(speed(result)));
  }
  [[nodiscard]] std::string legend_row(std::size_t index) const {
    const SpeedResult& result = results_[index];
    const double y = kLegendTop + kLegendRow * static_cast<double>(index);
    return mark(index, kLeft + 8, y - 4) +
           fmt::format("<text x=\"{}\" y=\"{}\">{}: {:.1f} tokens/s, {:.0f} % of the roof</text>\n",
                       kLeft + 24, y, escape_markup(case_name(result.what)), result.tokens_per_second(),
                       100 * speed(result) / roof_at(work(result)));
  }

  std::span<const SpeedResult> results_;
  MachineSpeed roof_;
  double peak_;
  Octaves x_{};
  Octaves y_{};
};

}  // namespace

std::string case_name(const SpeedCase& what) {
  const std::string use = what.tokens > 1 ? fmt::format("prefill {}", what.tokens)
                                          : fmt::format("decode, batch {}", what.sequences);
  return what.depth > 0 ? fmt::format("{} behind {}", use, what.depth) : use;
}

std::string roofline_svg(std::span<const SpeedResult> results, bool integers) {
  return Picture(results, integers).text();
}

}  // namespace fathom
