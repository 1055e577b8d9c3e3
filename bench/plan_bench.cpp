// How fast `fathom plan search` looks through layouts of DeepSeek-V3's pre-training, on 2,048 devices and
// numbers near it, until there are 10,000 of them. The time is that of the whole search: memory and times of
// every layout, and the simulation of those that may be among the best ten. The limit beside it is the second
// that an answer may take.
#include <fmt/core.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/progress.h"
#include "plan/layout_search.h"
#include "plan/named_file.h"

namespace fathom {
namespace {

constexpr std::int64_t kLayouts = 10'000;

void run() {
  const NamedText file = read_named_text("models", "deepseek-v3");
  TrainingTask task;
  task.model = model_config_from_json(parse_json(file.text, file.where), file.where);
  const double begin = monotonic_seconds();
  const std::clock_t clock_begin = std::clock();
  const TrainingEstimator estimator(task, load_hardware("h800"));
  LayoutSearch sum;
  int searches = 0;
  for (const std::int64_t devices : {2048, 1920, 3840, 4096, 2560, 3072, 1536, 1280, 1024, 960, 7680}) {
    if (sum.layouts >= kLayouts) break;
    const LayoutSearch search = search_layouts(estimator, devices, 10);
    sum.layouts += search.layouts;
    sum.fitting += search.fitting;
    sum.simulated += search.simulated;
    ++searches;
  }
  const double seconds = monotonic_seconds() - begin;
  fmt::print("{} layouts in {} searches: {} fit, {} were simulated\n", sum.layouts, searches, sum.fitting,
             sum.simulated);
  const double processor = static_cast<double>(std::clock() - clock_begin) / CLOCKS_PER_SEC;
  fmt::print("{:.3f} s of one processor\n", processor);
  fmt::print("{:.3f} s, {:.3f} s for {} layouts: {:.0f} % of a second\n", seconds,
             seconds * kLayouts / static_cast<double>(sum.layouts), kLayouts,
             100 * seconds * kLayouts / static_cast<double>(sum.layouts));
}

}  // namespace
}  // namespace fathom

int main() {
  fathom::run();
  return 0;
}
