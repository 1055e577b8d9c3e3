#include "model/config.h"

#include <cmath>

namespace fathom {
namespace {

/// How much YaRN sharpens attention at `scale` times the original length (arXiv 2309.00071, section 3.4).
double yarn_mscale(double scale, double mscale) {
  return scale <= 1.0 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

}  // namespace

double YarnScaling::cos_sin_factor() const {
  return attention_factor ? *attention_factor
                          : yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all_dim);
}

double ModelConfig::softmax_scale() const {
  double scale = 1.0 / std::sqrt(static_cast<double>(qk_head_dim()));
  if (rope_scaling && rope_scaling->mscale_all_dim != 0.0) {
    const double mscale = yarn_mscale(rope_scaling->factor, rope_scaling->mscale_all_dim);
    scale *= mscale * mscale;
  }
  return scale;
}

}  // namespace fathom
