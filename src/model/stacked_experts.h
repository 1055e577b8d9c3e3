#pragma once

#include <string>
#include <vector>

#include "model/config.h"
#include "tensor/tensor.h"

namespace fathom {

/// Two matrices of an adapter for the maps of all experts of a layer, as PEFT makes them for parameters of
/// three dimensions (`target_parameters`): gate and up together, [experts, 2 · moe_intermediate_size,
/// hidden], or down, [experts, hidden, moe_intermediate_size].
struct StackedAdapter {
  Tensor a;  // [experts · rank, in], expert by expert
  Tensor b;  // [out, rank · experts], an expert's columns `experts` apart
};

/// "gate_up_proj" or "down_proj", which of them the shape says; empty: neither.
std::string stacked_parameter(const ModelConfig& config, const StackedAdapter& stacked);

/// One expert's map with its own two matrices.
struct ExpertAdapter {
  std::string map;  // "7.up_proj"
  Tensor a;
  Tensor b;
};
/// @param stacked  of one of the two
std::vector<ExpertAdapter> take_apart(const ModelConfig& config, const StackedAdapter& stacked);

}  // namespace fathom
