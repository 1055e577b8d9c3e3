#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/linear.h"
#include "model/config.h"
#include "tensor/block_scaled.h"
#include "tensor/tensor.h"

namespace fathom {

class StreamedExperts;

/// What an adapter adds to a linear map (LoRA, arXiv 2106.09685): y += (x · downᵀ) · upᵀ.
struct LowRank {
  Tensor down;  // [rank, in], f32
  Tensor up;    // [out, rank], f32, with the adapter's scale

  [[nodiscard]] bool defined() const { return down.defined(); }
  [[nodiscard]] std::int64_t rank() const { return down.dim(0); }
};

/// kv_b_proj, [heads · (qk_nope_head_dim + v_head_dim), kv_lora_rank], taken apart as newer GGUF files store
/// it and as the absorbed form of MLA uses it.
struct KvHalves {
  Tensor k_b;  // [heads, kv_lora_rank, qk_nope_head_dim]: W^UK, each head's transposed
  Tensor v_b;  // [heads, v_head_dim, kv_lora_rank]: W^UV
};

/// The matrix of one linear map, [out, in] in whatever type it is stored; FP8 ones come with their block
/// scales.
struct LinearWeight {
  Tensor weight;            // [out, in]
  Tensor weight_scale_inv;  // [ceil(out / 128), ceil(in / 128)], f32, only for f8_e4m3
  Tensor bias;              // [out], f32, only with attention_bias
  BlockScaled fp8;          // the codes of an f32 `weight` that trains in FP8 (model/fp8_weights.h)
  /// kv_b_proj's alone, the same again in the types of a file that stores it so; null elsewhere.
  std::shared_ptr<const KvHalves> halves;
  LowRank adapter;  // beside `weight` (model/adapters.h): for inference alone

  [[nodiscard]] kernels::WeightMatrix matrix() const;
};

/// W^DQ, W^UQ (or W^Q), [W^DKV; W^KR], [W^UK; W^UV], W^O of the technical report, section 2.1.1.
struct MlaWeights {
  LinearWeight q_proj;              // [heads * qk_head_dim, hidden], without q_lora_rank
  LinearWeight q_a_proj;            // [q_lora_rank, hidden]
  Tensor q_a_layernorm;             // [q_lora_rank]
  LinearWeight q_b_proj;            // [heads * qk_head_dim, q_lora_rank]
  LinearWeight kv_a_proj_with_mqa;  // [kv_lora_rank + qk_rope_head_dim, hidden]
  Tensor kv_a_layernorm;            // [kv_lora_rank]
  LinearWeight kv_b_proj;           // [heads * (qk_nope_head_dim + v_head_dim), kv_lora_rank]
  LinearWeight o_proj;              // [hidden, heads * v_head_dim]
};

/// One SwiGLU feed-forward network: a dense layer's, an expert's, or the shared experts' taken as one.
struct MlpWeights {
  LinearWeight gate_proj;  // [intermediate, hidden]
  LinearWeight up_proj;    // [intermediate, hidden]
  LinearWeight down_proj;  // [hidden, intermediate]

  [[nodiscard]] bool has_adapter() const {
    return gate_proj.adapter.defined() || up_proj.adapter.defined() || down_proj.adapter.defined();
  }
};

struct MoeWeights {
  Tensor router;                   // [n_routed_experts, hidden], the centroids e_i
  Tensor e_score_correction_bias;  // [n_routed_experts], b_i, f32; only with noaux_tc
  std::vector<MlpWeights> experts;
  /// What inference reads the experts through instead of where `experts` says; null: through nothing.
  std::shared_ptr<const StreamedExperts> streamed;
  MlpWeights shared_experts;  // n_shared_experts * moe_intermediate_size wide; undefined when there are none
};

struct BlockWeights {
  Tensor input_layernorm;  // [hidden]
  MlaWeights self_attn;
  Tensor post_attention_layernorm;  // [hidden]
  MlpWeights mlp;                   // a dense layer's
  MoeWeights moe;                   // a MoE layer's
};

/// One multi-token-prediction module (technical report, section 2.2).
struct MtpWeights {
  Tensor enorm;          // [hidden], of the embedding
  Tensor hnorm;          // [hidden], of the previous depth's hidden state
  LinearWeight eh_proj;  // [hidden, 2 * hidden]; input is [enorm(embedding); hnorm(hidden)]
  BlockWeights block;
  Tensor shared_head_norm;  // [hidden]
};

struct TransformerWeights {
  Tensor embed_tokens;  // [vocab, hidden]
  std::vector<BlockWeights> layers;
  Tensor norm;           // [hidden]
  LinearWeight lm_head;  // [vocab, hidden]; the same tensor as embed_tokens when tied
  std::vector<MtpWeights> mtp;
};

/// What a parameter is, for initialisation, weight decay, precision and counting.
enum class ParameterKind : std::uint8_t { embedding, head, norm, linear, expert, router, router_bias, bias };

struct ParameterSpec {
  std::string name;  // as in the released checkpoints: "model.layers.3.mlp.experts.7.up_proj.weight"
  Shape shape;
  ParameterKind kind;
  std::int64_t layer = -1;   // num_hidden_layers + k for MTP module k; -1 for embedding, final norm and head
  std::size_t index = 0;     // its place among all parameters
  std::int64_t expert = -1;  // of a routed expert's: which
  std::string sizes = {};    // what the shape is made of, for messages: "n_routed_experts × hidden_size"
};

/// Visits every parameter of a model in checkpoint order with its place in `weights`, whose vectors are first
/// sized for `config`. The one list of parameters: loading, saving, initialising, counting and optimising all
/// walk it. `scale` is the place of the block scales, null for parameters that are never stored in FP8. With
/// tied embeddings `lm_head` is not visited. The MTP modules' copies of embedding and head are not visited.
void visit_parameters(const ModelConfig& config, TransformerWeights& weights,
                      const std::function<void(const ParameterSpec&, Tensor& value, Tensor* scale)>& visit);

/// Visits the linear maps of attention and feed-forward networks, MTP modules' too: those that adapters may
/// be of. @param spec  of the map's matrix
void visit_linear_maps(const ModelConfig& config, TransformerWeights& weights,
                       const std::function<void(const ParameterSpec& spec, LinearWeight& map)>& visit);

std::vector<ParameterSpec> parameter_specs(const ModelConfig& config);

/// Counts as published (DESIGN section 6): the main model without MTP modules.
struct ParameterCounts {
  std::int64_t total = 0;
  std::int64_t activated = 0;  // per token, both embedding matrices
  std::int64_t activated_without_input_embedding = 0;
  std::int64_t mtp_module = 0;  // one MTP module; 0 without
};
ParameterCounts count_parameters(const ModelConfig& config);

/// Where the embeddings are tied, makes `lm_head` the embedding's tensor: to be called when that is in place.
void tie_head(const ModelConfig& config, TransformerWeights& weights);

/// How many rows of a parameter to have (of one with one dimension: elements); 0: it stays undefined.
using RowsKept = std::function<std::int64_t(const ParameterSpec&)>;
/// All rows of what is defined in `weights`, and none of the rest.
RowsKept rows_defined_in(const ModelConfig& config, const TransformerWeights& weights);

/// f32 weights in one block of memory: matrices normal with `initializer_range`, norms one, biases zero. Each
/// parameter has its own random stream, named by its place in the list, and each element its place in that.
/// @param pool  to share the work, if wanted; the values are the same
/// @param kept  whether to have a parameter, all rows or none; default: all
TransformerWeights random_weights(const ModelConfig& config, std::uint64_t seed, ThreadPool* pool = nullptr,
                                  const RowsKept& kept = {});

/// Zeros shaped as the parameters of `config`, in one block of memory: gradients, optimizer moments. Each
/// begins at a multiple of 64 bytes; the gaps hold zeros.
/// @param arena  where to put the whole block as one flat tensor, if wanted
/// @param dtype  f32 or bf16
/// @param rows   what to have of each parameter; default: all
TransformerWeights zero_weights(const ModelConfig& config, Tensor* arena = nullptr, DType dtype = DType::f32,
                                const RowsKept& rows = {});

/// Where each parameter begins in a block of f32 weights, and the block's length, in elements: [parameters +
/// 1].
std::vector<std::int64_t> block_offsets(const ModelConfig& config, const RowsKept& rows = {});

/// The block that f32 weights lie in, all parameters or some, as `zero_weights`, `random_weights` and
/// `load_model_f32` make them, as one flat tensor. Throws `Error` when they do not.
Tensor block_of(const ModelConfig& config, const TransformerWeights& weights);

}  // namespace fathom
