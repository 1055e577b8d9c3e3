#include "model/losses.h"

#include <numeric>

namespace fathom {

double Losses::total(const LossFactors& factors) const {
  const double mtp_mean =
      mtp.empty() ? 0.0 : std::accumulate(mtp.begin(), mtp.end(), 0.0) / static_cast<double>(mtp.size());
  return main + factors.mtp * mtp_mean + factors.balance * balance;
}

}  // namespace fathom
