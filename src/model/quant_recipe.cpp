#include "model/quant_recipe.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "base/error.h"

namespace fathom {
namespace {

using enum DType;

// base, routed down, attention, shared, shared down, embedding, head.
constexpr std::array<QuantRecipe, 15> kRecipes = {{
    {"Q2_K", 10, q2_k, q3_k, q4_k, q4_k, q5_k, q4_k, q6_k, "small; routed experts at 2.6 and 3.4 bits"},
    {"Q3_K_S", 11, q3_k, q3_k, q4_k, q4_k, q5_k, q4_k, q6_k, ""},
    {"Q3_K_M", 12, q3_k, q4_k, q5_k, q5_k, q5_k, q4_k, q6_k, "routed experts at 3.4 and 4.5 bits"},
    {"IQ4_XS", 30, iq4_xs, iq4_xs, q5_k, q5_k, q6_k, q5_k, q6_k, "routed experts at 4.25 bits"},
    {"IQ4_NL", 25, iq4_nl, iq4_nl, q5_k, q5_k, q6_k, q5_k, q6_k, "routed experts at 4.5 bits"},
    {"Q4_0", 2, q4_0, q4_0, q4_0, q4_0, q4_0, q4_0, q6_k, "the simplest 4-bit type throughout"},
    {"Q4_1", 3, q4_1, q4_1, q4_1, q4_1, q4_1, q4_1, q6_k, ""},
    {"Q4_K_S", 14, q4_k, q4_k, q5_k, q5_k, q5_k, q4_k, q6_k, "routed experts at 4.5 bits"},
    {"Q4_K_M", 15, q4_k, q5_k, q5_k, q5_k, q6_k, q5_k, q6_k,
     "routed experts at 4.5 and 5.5 bits; a good default"},
    {"Q5_0", 8, q5_0, q5_0, q5_0, q5_0, q5_0, q5_0, q6_k, ""},
    {"Q5_1", 9, q5_1, q5_1, q5_1, q5_1, q5_1, q5_1, q6_k, ""},
    {"Q5_K_S", 16, q5_k, q5_k, q6_k, q6_k, q6_k, q5_k, q6_k, ""},
    {"Q5_K_M", 17, q5_k, q6_k, q6_k, q6_k, q6_k, q6_k, q6_k, "routed experts at 5.5 and 6.6 bits"},
    {"Q6_K", 18, q6_k, q6_k, q6_k, q6_k, q6_k, q6_k, q6_k, "hard to tell from BF16"},
    {"Q8_0", 7, q8_0, q8_0, q8_0, q8_0, q8_0, q8_0, q8_0, "next to no loss"},
}};

/// What takes the place of a type of 256 where rows are no whole blocks of it.
DType smaller_block(DType dtype) {
  switch (dtype) {
    case q2_k:
    case q3_k:
      return q4_0;
    case q4_k:
      return q5_0;
    case q5_k:
      return q5_1;
    case q6_k:
      return q8_0;
    case iq4_xs:
      return iq4_nl;
    default:
      return dtype;
  }
}

std::string upper_case(std::string_view text) {
  std::string upper(text);
  std::ranges::transform(upper, upper.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return upper;
}

DType type_of_role(const QuantRecipe& recipe, TensorRole role) {
  switch (role) {
    case TensorRole::embedding:
      return recipe.embedding;
    case TensorRole::head:
      return recipe.head;
    case TensorRole::attention:
      return recipe.attention;
    case TensorRole::shared_expert:
      return recipe.shared_expert;
    case TensorRole::shared_expert_down:
      return recipe.shared_expert_down;
    case TensorRole::routed_expert:
      return recipe.base;
    case TensorRole::routed_expert_down:
      return recipe.routed_expert_down;
    case TensorRole::plain:
      break;
  }
  fail("plain tensors have no type in a recipe");
}

}  // namespace

TensorRole tensor_role(std::string_view name, const Shape& shape) {
  const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  if (shape.size() < 2 || !name.ends_with(".weight") || has("ffn_gate_inp") || has("norm"))
    return TensorRole::plain;
  if (name == "token_embd.weight") return TensorRole::embedding;
  if (name == "output.weight" || has("shared_head_head")) return TensorRole::head;
  if (has("embed_tokens")) return TensorRole::embedding;  // an MTP module's own copy
  if (has("ffn_down_exps")) return TensorRole::routed_expert_down;
  if (has("ffn_gate_exps") || has("ffn_up_exps")) return TensorRole::routed_expert;
  if (has("ffn_down")) return TensorRole::shared_expert_down;
  if (has("ffn_")) return TensorRole::shared_expert;
  if (has("attn_") || has("eh_proj")) return TensorRole::attention;
  return TensorRole::plain;
}

std::string_view tensor_role_name(TensorRole role) {
  constexpr std::array<std::string_view, kTensorRoles> kNames = {
      "norms, router, biases",    "embedding",      "head",           "attention",
      "dense and shared experts", "the same, down", "routed experts", "the same, down",
  };
  return kNames.at(static_cast<std::size_t>(role));
}

std::span<const QuantRecipe> quant_recipes() {
  return kRecipes;
}

const QuantRecipe& find_quant_recipe(std::string_view name) {
  const std::string wanted = upper_case(name);
  std::string all;
  for (const QuantRecipe& recipe : kRecipes) {
    if (recipe.name == wanted) return recipe;
    all += fmt::format("{}{}", all.empty() ? "" : ", ", recipe.name);
  }
  fail("there is no recipe \"{}\"; choose one of {}", name, all);
}

TypeOverride parse_type_override(std::string_view text) {
  const std::size_t sign = text.rfind('=');
  require(sign != std::string_view::npos && sign > 0,
          "\"{}\" is no override: write EXPRESSION=TYPE, as ffn_down=Q6_K", text);
  const std::string type = upper_case(text.substr(sign + 1));
  const std::optional<DType> dtype = dtype_from_text(type);
  require(dtype && (has_encoder(*dtype) || *dtype == f32 || *dtype == f16 || *dtype == bf16),
          "\"{}\": {} is no type that GGUF tensors are quantised to; choose Q4_K, Q8_0, BF16 or the like",
          text, type);
  require(sign <= 200, "\"{}\": an expression of more than 200 characters", text);
  try {
    return {std::regex(std::string(text.substr(0, sign)), std::regex::ECMAScript | std::regex::optimize),
            *dtype};
  } catch (const std::regex_error& error) {
    fail("\"{}\": the expression is not valid: {}", text, error.what());
  }
}

DType recipe_type(const QuantRecipe& recipe, std::span<const TypeOverride> overrides, std::string_view name,
                  const Shape& shape, DType stored) {
  const TensorRole role = tensor_role(name, shape);
  if (role == TensorRole::plain) return stored;
  DType dtype = type_of_role(recipe, role);
  for (const TypeOverride& override : overrides)
    if (std::regex_search(name.begin(), name.end(), override.pattern)) dtype = override.dtype;
  const std::int64_t columns = shape.empty() ? 1 : shape.back();
  if (columns % block_values(dtype) != 0) dtype = smaller_block(dtype);
  return columns % block_values(dtype) == 0 ? dtype : bf16;
}

}  // namespace fathom
