#include "infer/page_warmer.h"

#include <utility>
#include <vector>

#include "base/file.h"

namespace fathom {

PageWarmer::PageWarmer(const ModelConfig& config, TransformerWeights& weights, bool with_experts) {
  std::vector<Tensor> tensors;  // which keep their memory
  visit_parameters(config, weights, [&](const ParameterSpec& spec, Tensor& tensor, Tensor*) {
    if (tensor.defined() && (with_experts || spec.expert < 0)) tensors.push_back(tensor);
  });
  thread_ = std::jthread([tensors = std::move(tensors)](const std::stop_token& stop) {
    for (const Tensor& tensor : tensors) {
      if (stop.stop_requested()) return;
      map_cached_pages(tensor.bytes());
    }
  });
}

}  // namespace fathom
