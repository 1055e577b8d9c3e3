#pragma once

#include <cstdint>
#include <vector>

#include "model/head_evaluation.h"

namespace fathom {

/// Factors of the losses beside the main one.
struct LossFactors {
  double mtp = 0.3;         // lambda, technical report equation 25
  double balance = 0.0001;  // alpha, equation 17; of the classical loss where `seq_aux` is false
};

/// What a forward pass over a batch measured. Cross-entropies are means over targets, in nats.
struct Losses {
  double main = 0;
  std::vector<double> mtp;  // one per MTP module
  double balance = 0;       // sum over MoE layers, before its factor; 0 in evaluation
  std::int64_t targets = 0;
  std::vector<DraftAcceptance> drafts;  // one per MTP module; in evaluation only
  /// [MoE layer][n_routed_experts]: tokens that went to each expert; the MTP modules' blocks come last.
  std::vector<std::vector<std::int64_t>> expert_load;

  /// What is minimised: main + mtp factor · mean(mtp) + balance factor · balance.
  [[nodiscard]] double total(const LossFactors& factors) const;
};

}  // namespace fathom
