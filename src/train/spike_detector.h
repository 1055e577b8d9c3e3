#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace fathom {

/// Values of one figure, of which each is compared with those before it: the median, and 1.4826 times the
/// median distance from it (the deviation, were they normal). Neither is moved by a few outliers.
class RunningSpread {
 public:
  struct Level {
    double median = 0;
    double spread = 0;
  };
  void add(double value);
  /// Of the last values, once there are enough to judge by.
  [[nodiscard]] std::optional<Level> level() const;

 private:
  static constexpr std::size_t kWindow = 128;
  static constexpr std::size_t kLeast = 24;

  std::deque<double> window_;
};

/// Notices that training has gone wrong: loss or gradient norm (by its logarithm) above the median of the
/// steps before it by `threshold` times their spread, for `steps` steps in a row. One bad batch is no spike.
/// Steps above are not counted among those to compare with, so a spike cannot make itself the rule.
///
/// Its state is a function of the steps' figures: a resumed run feeds it the metrics written so far.
class SpikeDetector {
 public:
  /// @param threshold  0: never notices anything
  SpikeDetector(double threshold, std::int64_t steps) : threshold_(threshold), steps_(steps) {}

  /// @param step  steps done, this one included
  /// A figure that is not finite, or a norm of 0, is not judged: an older log may lack it, and training stops
  /// at NaN by itself.
  void add(std::int64_t step, double loss, double gradient_norm);

  /// The first step of those above in a row, up to the last step added.
  [[nodiscard]] std::optional<std::int64_t> rising_since() const;

  struct Spike {
    std::int64_t first = 0;  // step
    std::string what;        // "the loss is 5.2, the steps before were near 2.1"
  };
  /// A spike that has lasted long enough, with the last step added.
  [[nodiscard]] std::optional<Spike> spike() const;

 private:
  struct Figure {
    RunningSpread normal;
    std::optional<std::int64_t> rising_since;
    double value = 0;  // the last one
    double level = 0;  // the median that it was compared with
  };
  void add(std::int64_t step, double value, double least_spread, Figure& figure) const;

  double threshold_;
  std::int64_t steps_;
  std::int64_t last_step_ = 0;
  Figure loss_;
  Figure log_norm_;
};

}  // namespace fathom
