#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/quant_mlp.h"
#include "kernels/quant_rows.h"
#include "model/config.h"
#include "model/context.h"
#include "model/expert_groups.h"
#include "model/kept.h"
#include "model/streamed_experts.h"
#include "model/weights.h"
#include "tensor/tensor.h"

namespace fathom {

/// What goes to the experts and comes back is quantised before it travels; powers of two add no error of
/// their own when it is quantised again for the weights' gradients (technical report, section 3.3.3).
inline constexpr ScaleFormat kDispatchFormat = ScaleFormat::power_of_two;

/// The routed experts of a MoE layer, or those of them that are here: rows in, rows out, grouped by expert,
/// each group one batch of GEMMs. Experts without rows are not looked at.
///
/// Kept from forward to backward: gate and up of each grouped row; the caller gives what the experts read
/// again. With p = silu(gate)·up a gate's gradient is (W_downᵀ·dy)·p, which needs no expert's output.
class RoutedExperts {
 public:
  struct Saved {
    Kept gate;  // [rows, moe_intermediate], grouped order
    Kept up;    // [rows, moe_intermediate]
  };
  struct Deltas {
    Tensor gate;     // [rows, moe_intermediate], grouped order
    Tensor up;       // [rows, moe_intermediate]
    Tensor product;  // [rows, moe_intermediate], silu(gate) * up times the routing gate
  };

  /// Keeps references: config and weights must outlive it.
  RoutedExperts(const ModelConfig& config, const MoeWeights& weights);

  /// Throws `Error` where matrices of experts that are here are not of the config's shapes.
  /// @param layer  that they are of, for the peers
  void check(const Context& context, std::int64_t layer) const;

  /// Outputs before the routing gates, [rows, hidden] in grouped order.
  /// @param input  [tokens, hidden], as it is multiplied
  /// @param saved  null: nothing is kept
  Tensor forward(const Context& context, const Kept& input, const ExpertGroups& groups, Saved* saved) const;
  /// The same in f32 for weights of any type, and where rows may be few.
  /// @param reading  of `read`: experts are taken as they come, which changes no bit
  Tensor infer(const Context& context, const Tensor& x, const ExpertGroups& groups,
               StreamedExperts::Reading* reading = nullptr) const;
  /// Begins to read the experts that have rows; nothing where they are not streamed.
  [[nodiscard]] std::optional<StreamedExperts::Reading> read(const ExpertGroups& groups) const;

  struct InputGradients {
    Tensor rows;   // [rows, hidden], at the input, in grouped order
    Tensor gates;  // [slots], of the routing gates
  };
  /// @param dy     [tokens, hidden], as it is multiplied
  /// @param gates  [slots]
  InputGradients backward_input(const Context& context, const Kept& dy, const ExpertGroups& groups,
                                std::span<const float> gates, const Saved& saved, Deltas& deltas) const;
  /// grads += the gradients of the experts; one without rows is left alone.
  /// @param input, dy  those of the calls before
  void backward_weight(const Context& context, const Kept& input, const Kept& dy, const ExpertGroups& groups,
                       const Deltas& deltas, MoeWeights& grads) const;

  /// The same for experts in memory, with a layer's shared experts' part beside it in the same parallel
  /// regions; nothing where not all of them have weights in block types alone.
  /// @param y  [tokens, hidden]: what `shared` gives
  std::optional<Tensor> infer_with_shared(const Context& context, const Tensor& x, const ExpertGroups& groups,
                                          const MlpWeights& shared, Tensor& y) const;

 private:
  /// What some experts are given, and where their rows go.
  struct Inference {
    const Context& context;
    const Tensor& x;
    const ExpertGroups& groups;
    std::vector<const MlpWeights*> experts;           // [n_routed_experts], null for those that are not meant
    std::optional<kernels::QuantizedRows> quantized;  // x, made when first wanted
    Tensor out;                                       // [rows, hidden]
  };
  void infer_some(Inference& inference) const;
  /// Whether one that has rows has an adapter.
  static bool has_adapters(const Inference& inference);
  /// All of them one after another where one that has rows has an adapter; false: none has.
  static bool infer_adapted(Inference& inference);
  /// The same where all of them have weights in block types; false: they have not.
  /// @param beside  more to multiply in the same parallel regions
  static bool infer_quantized(Inference& inference, std::span<const kernels::QuantMlp> beside = {});
  /// Experts that are all in memory.
  [[nodiscard]] std::vector<const MlpWeights*> experts_in_memory() const;
  Tensor up(const Inference& inference) const;

  const ModelConfig& config_;
  const MoeWeights& weights_;
};

/// y[t] += sum over a token's slots, in their order, of weights[slot] · rows[row of slot]; weights empty: all
/// 1.
void add_rows_back(const Context& context, const ExpertGroups& groups, const Tensor& rows,
                   std::span<const float> weights, Tensor& y);

}  // namespace fathom
