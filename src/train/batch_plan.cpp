#include "train/batch_plan.h"

#include <algorithm>
#include <utility>

namespace fathom {
namespace {

/// sum over i in [0, n) of floor((a·i + b) / m), in logarithmic time: whole parts are taken out, then the
/// points under the line are counted along the other axis. 0 <= a, b; a·n + b must not overflow.
std::int64_t floor_sum(std::int64_t n, std::int64_t m, std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  while (n > 0) {
    if (a >= m) sum += a / m * (n * (n - 1) / 2);  // else n may be too large to be squared
    sum += b / m * n;
    a %= m;
    b %= m;
    const std::int64_t highest = a * n + b;
    n = highest / m;
    b = highest % m;
    std::swap(a, m);
  }
  return sum;
}

/// The least value in [low, high] for which `holds`; it holds at `high` and from the first place on.
template <typename Condition>
std::int64_t first_where(std::int64_t low, std::int64_t high, const Condition& holds) {
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (holds(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/// Whether `done` is that much of `total`. A percentage such as 0.7 is not exact; a billionth too few will
/// do.
bool reaches(std::int64_t done, double percent, std::int64_t total) {
  return static_cast<double>(done) >= (percent / 100 - 1e-9) * static_cast<double>(total);
}

}  // namespace

BatchPlan::BatchPlan(std::int64_t steps, std::int64_t batch_size, std::int64_t unit,
                     const std::optional<Ramp>& ramp)
    : steps_(steps), batch_size_(batch_size), unit_(unit), first_batch_size_(batch_size) {
  if (!ramp) return;
  first_batch_size_ = ramp->from;
  ramp_steps_ = std::min(ramp->until.steps, steps);
  if (!ramp->until.token_percent) return;
  // A longer ramp has more sequences of its own and leaves fewer in all.
  ramp_steps_ = first_where(0, steps, [&](std::int64_t length) {
    ramp_steps_ = length;
    return reaches(sequences_before(length), *ramp->until.token_percent, sequences());
  });
}

std::int64_t BatchPlan::batch_size(std::int64_t step) const {
  if (step >= ramp_steps_) return batch_size_;
  const std::int64_t levels = (batch_size_ - first_batch_size_) / unit_;
  return first_batch_size_ + step * levels / ramp_steps_ * unit_;
}

std::int64_t BatchPlan::sequences_before(std::int64_t step) const {
  const std::int64_t ramped = std::min(step, ramp_steps_);
  const std::int64_t levels = (batch_size_ - first_batch_size_) / unit_;
  const std::int64_t added = ramped > 0 ? floor_sum(ramped, ramp_steps_, levels, 0) : 0;
  return ramped * first_batch_size_ + added * unit_ + (step - ramped) * batch_size_;
}

std::int64_t BatchPlan::step_at(const RunPosition& position) const {
  if (!position.token_percent) return position.steps;
  const std::int64_t total = sequences();
  return first_where(0, steps_, [&](std::int64_t step) {
    return reaches(sequences_before(step), *position.token_percent, total);
  });
}

}  // namespace fathom
