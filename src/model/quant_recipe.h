#pragma once

#include <cstdint>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "numerics/dtype.h"
#include "tensor/tensor.h"

namespace fathom {

/// What a tensor of a GGUF file is to a model, for choosing its type.
enum class TensorRole : std::uint8_t {
  plain,               ///< norms, biases and the router: small, or what choices hang on; never quantised
  embedding,           ///< token_embd
  head,                ///< output
  attention,           ///< attn_*, and the projection of an MTP module
  shared_expert,       ///< ffn_gate_shexp, ffn_up_shexp; gate and up of dense layers
  shared_expert_down,  ///< ffn_down_shexp; down of dense layers
  routed_expert,       ///< ffn_gate_exps, ffn_up_exps
  routed_expert_down,  ///< ffn_down_exps
};
inline constexpr std::size_t kTensorRoles = 8;

/// By its GGUF name; tensors of one dimension are plain.
TensorRole tensor_role(std::string_view name, const Shape& shape);
/// "routed experts, down", for tables.
std::string_view tensor_role_name(TensorRole role);

/// Which type each tensor gets. Routed experts are nearly all of a model's bytes, but each is read for few
/// tokens; attention, shared experts and the head serve all tokens, and a better type for them costs little.
struct QuantRecipe {
  std::string_view name;     // as users of llama.cpp know it: "Q4_K_M"
  std::uint32_t file_type;   // general.file_type of GGUF
  DType base;                // for routed experts' gate and up
  DType routed_expert_down;  // for them errors add up unsquashed, so down is often better
  DType attention;
  DType shared_expert;
  DType shared_expert_down;
  DType embedding;
  DType head;
  std::string_view remark;
};

/// All there are, smallest first.
std::span<const QuantRecipe> quant_recipes();

/// By name, whatever its case. Throws `Error` that lists what there is.
const QuantRecipe& find_quant_recipe(std::string_view name);

/// The type for tensors whose whole name the expression matches.
struct TypeOverride {
  std::regex pattern;
  DType dtype;
};

/// "ffn_down_exps=Q6_K": an expression that is to be found in the name, and a type of blocks or F32, F16,
/// BF16. Throws `Error` saying what is wrong.
TypeOverride parse_type_override(std::string_view text);

/// The type of a tensor under a recipe: the last override that matches, else by role. Where rows are no whole
/// blocks of 256, a type of 32 takes its place, with more bits rather than fewer, as llama.cpp has it: Q4_0
/// for Q2_K and Q3_K, Q5_0 for Q4_K, Q5_1 for Q5_K, Q8_0 for Q6_K, IQ4_NL for IQ4_XS; where they are no whole
/// blocks of 32, BF16.
/// @param stored  its type as it is, which plain tensors keep
DType recipe_type(const QuantRecipe& recipe, std::span<const TypeOverride> overrides, std::string_view name,
                  const Shape& shape, DType stored);

}  // namespace fathom
