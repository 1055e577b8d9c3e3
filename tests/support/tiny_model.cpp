#include "support/tiny_model.h"

#include <utility>

namespace fathom::test {

ModelConfig tiny_v3() {
  ModelConfig config;
  config.family = ModelFamily::deepseek_v3;
  config.vocab_size = 61;
  config.hidden_size = 32;
  config.intermediate_size = 44;
  config.moe_intermediate_size = 20;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 2;
  config.max_position_embeddings = 256;
  config.initializer_range = 0.1;
  config.q_lora_rank = 24;
  config.kv_lora_rank = 16;
  config.qk_nope_head_dim = 12;
  config.qk_rope_head_dim = 8;
  config.v_head_dim = 10;
  config.first_k_dense_replace = 1;
  config.n_routed_experts = 8;
  config.n_shared_experts = 1;
  config.num_experts_per_tok = 3;
  config.n_group = 4;
  config.topk_group = 2;
  config.norm_topk_prob = true;
  config.routed_scaling_factor = 2.5;
  config.scoring_func = ScoringFunc::sigmoid;
  config.topk_method = TopkMethod::noaux_tc;
  config.bos_token_id = 0;
  config.eos_token_ids = {1};
  return config;
}

ModelConfig tiny_v2(TopkMethod topk_method) {
  ModelConfig config = tiny_v3();
  config.family = ModelFamily::deepseek_v2;
  config.scoring_func = ScoringFunc::softmax;
  config.topk_method = topk_method;
  config.norm_topk_prob = false;
  config.routed_scaling_factor = 1.5;
  if (topk_method == TopkMethod::greedy) config.n_group = config.topk_group = 1;
  return config;
}

YarnScaling tiny_yarn() {
  YarnScaling yarn;
  yarn.factor = 4.0;
  yarn.original_max_position_embeddings = 16;
  yarn.mscale = 0.707;
  yarn.mscale_all_dim = 1.0;
  return yarn;
}

std::vector<NamedConfig> tiny_models() {
  std::vector<NamedConfig> models;
  const auto add = [&](std::string name, ModelConfig config, auto change) {
    change(config);
    models.push_back({std::move(name), std::move(config)});
  };
  const ModelConfig grouped_v2 = tiny_v2(TopkMethod::group_limited_greedy);
  add("V3", tiny_v3(), [](ModelConfig&) {});
  add("V3WithoutQLora", tiny_v3(), [](ModelConfig& c) { c.q_lora_rank = 0; });
  add("V3Yarn", tiny_v3(), [](ModelConfig& c) { c.rope_scaling = tiny_yarn(); });
  add("V3HalfSplitRope", tiny_v3(), [](ModelConfig& c) { c.rope_interleave = false; });
  add("V3WithoutSharedExperts", tiny_v3(), [](ModelConfig& c) { c.n_shared_experts = 0; });
  add("V3TwoSharedExperts", tiny_v3(), [](ModelConfig& c) { c.n_shared_experts = 2; });
  add("V3OneGroup", tiny_v3(), [](ModelConfig& c) { c.n_group = c.topk_group = 1; });
  add("V3UnnormalisedGates", tiny_v3(), [](ModelConfig& c) { c.norm_topk_prob = false; });
  add("V3Tied", tiny_v3(), [](ModelConfig& c) { c.tie_word_embeddings = true; });
  add("V3Biases", tiny_v3(), [](ModelConfig& c) { c.attention_bias = true; });
  add("V3Mtp", tiny_v3(), [](ModelConfig& c) { c.num_nextn_predict_layers = 1; });
  add("V3MtpDepthTwoTied", tiny_v3(), [](ModelConfig& c) {
    c.num_nextn_predict_layers = 2;
    c.tie_word_embeddings = true;
  });
  add("V3AllDense", tiny_v3(), [](ModelConfig& c) {
    c.n_routed_experts = 0;
    c.n_shared_experts = 0;
  });
  add("V2Greedy", tiny_v2(), [](ModelConfig&) {});
  add("V2GreedyWithoutQLora", tiny_v2(), [](ModelConfig& c) { c.q_lora_rank = 0; });
  add("V2TwoSharedExpertsTied", tiny_v2(), [](ModelConfig& c) {
    c.n_shared_experts = 2;
    c.tie_word_embeddings = true;
  });
  add("V2Grouped", grouped_v2, [](ModelConfig&) {});
  add("V2GroupedYarn", grouped_v2, [](ModelConfig& c) { c.rope_scaling = tiny_yarn(); });
  return models;
}

}  // namespace fathom::test
