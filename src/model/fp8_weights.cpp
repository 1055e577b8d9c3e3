#include "model/fp8_weights.h"

#include <vector>

#include "kernels/stored_rows.h"

namespace fathom {
namespace {

using Matrices = std::vector<LinearWeight*>;

void add(Matrices& list, MlpWeights& mlp) {
  for (LinearWeight* w : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj}) list.push_back(w);
}

void add(Matrices& list, BlockWeights& block) {
  MlaWeights& mla = block.self_attn;
  for (LinearWeight* w :
       {&mla.q_proj, &mla.q_a_proj, &mla.q_b_proj, &mla.kv_a_proj_with_mqa, &mla.kv_b_proj, &mla.o_proj})
    list.push_back(w);
  add(list, block.mlp);
  for (MlpWeights& expert : block.moe.experts) add(list, expert);
  add(list, block.moe.shared_experts);
}

}  // namespace

void quantize_weights(const Context& context, TransformerWeights& weights) {
  Matrices matrices;
  for (BlockWeights& block : weights.layers) add(matrices, block);
  for (MtpWeights& module : weights.mtp) add(matrices, module.block);
  std::vector<kernels::BlockQuantization> jobs;
  for (LinearWeight* w : matrices) {
    if (!w->weight.defined()) continue;
    if (!w->fp8.weight.defined())
      w->fp8 = {Tensor::empty(w->weight.shape(), DType::f8_e4m3),
                Tensor::empty(block_scale_shape(w->weight.shape()))};
    jobs.push_back({w->weight.f32(), w->weight.dim(0), w->weight.dim(1),
                    static_cast<F8E4M3*>(w->fp8.weight.data()), w->fp8.weight_scale_inv.f32()});
  }
  kernels::quantize_blocks(context.pool, jobs, ScaleFormat::f32);
}

}  // namespace fathom
