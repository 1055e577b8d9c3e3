#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/context.h"
#include "model/sequences.h"
#include "tensor/tensor.h"

namespace fathom {

// Keeping the experts' loads even: the bias of auxiliary-loss-free balancing, its figure of merit, the small
// sequence-wise loss beside it, and the classical auxiliary loss that it replaced.

/// One step of auxiliary-loss-free balancing (arXiv 2408.15664, algorithm 1): b_i += gamma · sign(mean load -
/// load_i), so that experts with too few tokens are chosen more often in the next step.
/// @param bias   [n_routed_experts], e_score_correction_bias of one layer
/// @param load   [n_routed_experts], tokens that chose each expert over the whole batch
/// @param gamma  bias update speed; 0 leaves the bias as it is
void update_router_bias(Tensor& bias, std::span<const std::int64_t> load, double gamma);

/// MaxVio of one layer: max_i load_i / mean load - 1 (arXiv 2408.15664, section 4.1). 0 is perfect balance
/// and n_routed_experts / top_k - 1 the worst. 0 where there is no load at all.
double max_violation(std::span<const std::int64_t> load);

/// MaxVio averaged over the MoE layers: the figure reported for a whole model.
/// @param loads  [MoE layer][n_routed_experts]
double mean_max_violation(std::span<const std::vector<std::int64_t>> loads);

/// The sequence-wise balance loss (technical report, equations 17 to 20) before its factor alpha, averaged
/// over the sequences that hold a token:
///
///     sum_i f_i · P_i,   f_i = N_r / (K_r · T) · |{t : s_{i,t} among the K_r highest of token t}|,
///                        P_i = 1/T · sum_t s_{i,t} / sum_j s_{j,t}.
///
/// Equation 18 takes the highest of all N_r experts by the bare affinity: neither the bias nor the group
/// limit takes part, so the loss speaks of what the router prefers rather than of what balancing made of it.
/// Of sequences that are shared out: with f_i of the whole sequences, the part of the rows here.
/// @param affinity   [tokens, n_routed_experts], s
/// @param frequency  [sequences, n_routed_experts], filled with f_i: the gradient takes it as a constant
double sequence_balance_loss(const Context& context, const Tensor& affinity, const Sequences& sequences,
                             std::int64_t top_k, Tensor& frequency);

/// daffinity += scale · the gradient of `sequence_balance_loss` at the affinities.
void add_sequence_balance_gradient(const Context& context, const Tensor& affinity, const Sequences& sequences,
                                   const Tensor& frequency, double scale, Tensor& daffinity);

/// The classical auxiliary loss (Switch Transformer, equation 4; GShard; arXiv 2408.15664, equation 2) before
/// its factor, over all tokens of one forward pass, whatever sequences they are of:
///
///     sum_i f_i · P_i,   f_i = N_r / (K_r · T) · load_i,   P_i = 1/T · sum_t s_{i,t}.
///
/// Unlike the sequence-wise loss it counts what routing chose, group limit included. Affinities are taken as
/// they are, or where gates are normalised as s_{i,t} / sum_j s_{j,t}: a softmax's are the same, but a
/// sigmoid's could else all go to zero, which lowers the loss, evens nothing, and leaves normalised gates as
/// they were.
/// @param affinity   [tokens, n_routed_experts], s
/// @param affinity   [tokens, n_routed_experts]; with sequences shared out a part of T
/// @param load       [n_routed_experts], tokens that chose each expert, of all T
/// @param frequency  [1, n_routed_experts], filled with f_i: the gradient takes it as a constant
double batch_balance_loss(const Tensor& affinity, std::span<const std::int64_t> load, std::int64_t top_k,
                          bool normalised, Tensor& frequency);

/// daffinity += scale · the gradient of `batch_balance_loss` at the affinities, if these are all of its
/// tokens.
void add_batch_balance_gradient(const Context& context, const Tensor& affinity, const Tensor& frequency,
                                bool normalised, double scale, Tensor& daffinity);

}  // namespace fathom
