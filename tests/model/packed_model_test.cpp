// A model whose routed experts are read from a pack, against the same model mapped.

#include "model/packed_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/thread_pool.h"
#include "io/gguf_writer.h"
#include "model/expert_pack.h"
#include "model/gguf_load.h"
#include "model/gguf_names.h"
#include "model/save.h"
#include "model/streamed_experts.h"
#include "model/transformer.h"
#include "support/error_text.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::HasSubstr;

/// Sizes of which rows are whole blocks, and an MTP module.
ModelConfig model_to_pack() {
  ModelConfig config = test::tiny_v3();
  config.hidden_size = 64;
  config.moe_intermediate_size = 32;
  config.num_hidden_layers = 4;
  config.num_nextn_predict_layers = 1;
  return config;
}

struct Bits {
  std::vector<float> values;
  void add(const Tensor& tensor) {
    values.insert(values.end(), tensor.values().begin(), tensor.values().end());
  }
};

/// States of a prompt read at once, of tokens one by one, of two sequences together, and of the MTP module.
std::vector<float> states_of(const LoadedModel& model, std::size_t threads) {
  ThreadPool pool(threads);
  const Context context{pool};
  const Transformer transformer(model.config, model.weights, 128);
  LatentCache cache(model.config, 100);
  std::vector<std::int32_t> prompt;
  for (std::int32_t i = 0; i < 40; ++i) prompt.push_back((i * i + 5) % 61);
  Bits bits;
  bits.add(transformer.forward_cached(context, prompt, cache));
  for (std::int32_t token = 3; token < 15; ++token)
    bits.add(transformer.forward_cached(context, std::vector<std::int32_t>{token}, cache));
  LatentCache module_cache = transformer.make_mtp_cache(50);
  const Tensor last = transformer.forward_cached(context, std::vector<std::int32_t>{7, 8}, cache);
  LatentCache* const caches[] = {&module_cache};
  const Sequences one = Sequences::uniform(1, 2);
  bits.add(transformer.mtp_forward_cached(context, 0, std::vector<std::int32_t>{8, 9}, last, {one, caches}));
  return bits.values;
}

bool are_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class PackedModelTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }
  /// A GGUF file of one type, not packed.
  std::filesystem::path gguf_of(DType dtype) {
    GgufSaveOptions options;
    options.dtype = dtype;
    save_gguf(pool_, path("whole.gguf"), config_, weights_, nullptr, options);
    return path("whole.gguf");
  }
  std::filesystem::path repacked(const std::filesystem::path& whole) {
    const GgufFile source(whole);
    repack_model(pool_, path("packed.gguf"), source, load_gguf_model(source), 0, {});
    return path("packed.gguf");
  }
  static LoadedModel load(const std::filesystem::path& gguf) { return load_gguf_model(GgufFile(gguf)); }

  test::TemporaryFolder folder_;
  ModelConfig config_ = model_to_pack();
  TransformerWeights weights_ = random_weights(config_, 11);
  ThreadPool pool_{2};
};

TEST_F(PackedModelTest, StreamedExpertsGiveTheBitsOfTheMappedModel) {
  for (const DType dtype : {DType::q8_0, DType::q4_0, DType::bf16, DType::f32}) {
    const std::filesystem::path whole = gguf_of(dtype);
    const std::vector<float> expected = states_of(load(whole), 2);
    const std::filesystem::path packed = repacked(whole);
    EXPECT_TRUE(are_same_bits(states_of(load(packed), 1), expected)) << dtype_name(dtype) << ", mapped";
    const RecordPack pack(expert_pack_path(packed));
    const std::uint64_t expert = pack.groups().front().stride;
    for (const std::uint64_t slots : {1, 2, 5, 17, 100}) {
      for (const ReadMethod method : {ReadMethod::best, ReadMethod::threads}) {
        LoadedModel model = load(packed);
        const auto cache = std::make_shared<ExpertCache>(model.expert_pack, slots * expert, method);
        stream_experts(cache, model.weights);
        EXPECT_TRUE(are_same_bits(states_of(model, 2), expected)) << dtype_name(dtype) << ", " << slots;
        const ExpertCacheStats stats = cache->stats();
        EXPECT_GT(stats.misses, 0);
        EXPECT_LE(stats.resident_bytes, slots * expert);
        EXPECT_EQ(stats.guesses > 0, slots < 32) << slots;
        EXPECT_LE(stats.right_guesses, stats.guesses);
      }
    }
  }
}

TEST_F(PackedModelTest, RepackingCopiesEverythingElseAsItIs) {
  const GgufFile whole(gguf_of(DType::q8_0));
  const GgufFile packed(repacked(whole.path()));
  for (const auto& [key, value] : whole.metadata().entries()) {
    ASSERT_NE(packed.metadata().find(key), nullptr) << key;
    EXPECT_EQ(*packed.metadata().find(key), value) << key;
  }
  std::size_t left_out = 0;
  for (const std::string& name : whole.names()) {
    if (name.ends_with("_exps.weight")) {
      EXPECT_FALSE(packed.contains(name));
      ++left_out;
      continue;
    }
    const Tensor a = whole.get(name);
    const Tensor b = packed.get(name);
    ASSERT_EQ(a.byte_size(), b.byte_size()) << name;
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.byte_size()), 0) << name;
  }
  EXPECT_EQ(left_out, 12U);  // of three MoE layers and the module
}

TEST_F(PackedModelTest, AFolderBecomesAPackedModel) {
  save_model(path("folder"), config_, weights_, {.dtype = DType::f32});
  const LoadedModel source = load_model(path("folder"));
  GgufSaveOptions options;
  options.dtype = DType::f32;
  const auto paths = save_packed_model(pool_, path("m.gguf"), source, nullptr, options, true);
  EXPECT_THAT(paths, testing::ElementsAre(path("m.gguf"), path("m.experts")));
  EXPECT_TRUE(are_same_bits(states_of(load(path("m.gguf")), 2), states_of(source, 2)));
  options.dtype = DType::q8_0;
  save_packed_model(pool_, path("q.gguf"), source, nullptr, options, false);
  EXPECT_TRUE(are_same_bits(states_of(load(path("q.gguf")), 2), states_of(load(gguf_of(DType::q8_0)), 2)));
}

TEST_F(PackedModelTest, Fp8ExpertsKeepTheirScales) {
  config_.hidden_size = 256;
  config_.moe_intermediate_size = 160;
  weights_ = random_weights(config_, 3);
  save_model(path("folder"), config_, weights_, {.dtype = DType::f8_e4m3});
  const LoadedModel source = load_model(path("folder"));
  GgufSaveOptions options;
  options.dtype = DType::f32;
  save_packed_model(pool_, path("m.gguf"), source, nullptr, options, true);
  LoadedModel packed = load(path("m.gguf"));
  const MlpWeights& expert = packed.weights.layers[2].moe.experts[5];
  EXPECT_EQ(expert.up_proj.weight.dtype(), DType::f8_e4m3);
  EXPECT_EQ(expert.up_proj.weight_scale_inv.shape(), (Shape{2, 2}));
  const std::vector<float> mapped = states_of(packed, 2);
  stream_experts(
      std::make_shared<ExpertCache>(packed.expert_pack, 4 * packed.expert_pack->groups()[0].stride),
      packed.weights);
  EXPECT_TRUE(are_same_bits(states_of(packed, 2), mapped));
}

TEST_F(PackedModelTest, ModelAndPackMustBelongTogether) {
  const std::filesystem::path packed = repacked(gguf_of(DType::q8_0));
  const std::filesystem::path experts = expert_pack_path(packed);
  const auto opening = [&] { return error_of([&] { load(packed); }); };
  EXPECT_EQ(opening(), "no error");

  std::filesystem::rename(experts, path("away"));
  EXPECT_THAT(opening(), HasSubstr("packed.experts, which is not there: put both into one folder"));

  write_expert_pack(pool_, experts, config_, random_weights(config_, 12));
  EXPECT_THAT(opening(), HasSubstr("holds the experts of another model than"));

  std::filesystem::rename(path("away"), experts);
  std::filesystem::resize_file(experts, std::filesystem::file_size(experts) - kRecordAlignment);
  EXPECT_THAT(opening(), HasSubstr("(truncated?)"));
}

TEST_F(PackedModelTest, PacksOfOtherShapesAreRefused) {
  const auto mapping = [&](const ModelConfig& config) {
    return error_of([&] {
      LoadedModel model{config, random_weights(config, 1)};
      map_expert_pack(std::make_shared<const RecordPack>(path("m.experts")), config, model.weights);
    });
  };
  write_expert_pack(pool_, path("m.experts"), config_, weights_);
  EXPECT_EQ(mapping(config_), "no error");
  ModelConfig other = config_;
  other.moe_intermediate_size = 16;
  EXPECT_THAT(mapping(other),
              HasSubstr("gate_proj.weight of the experts of layer 1 is [32, 64], the model needs [16, 64]"));
  other = config_;
  other.n_routed_experts = 16;
  EXPECT_THAT(mapping(other), HasSubstr("layer 1 has 8 experts, the model needs 16 (n_routed_experts)"));
  other = config_;
  other.first_k_dense_replace = 2;
  EXPECT_THAT(mapping(other), HasSubstr("layer 1 has no routed experts"));
  other = config_;
  other.num_hidden_layers = 6;
  other.num_nextn_predict_layers = 0;
  EXPECT_THAT(mapping(other), HasSubstr("has no experts of layer 5"));
  other = config_;
  other.n_routed_experts = 0;
  EXPECT_THAT(error_of([&] { write_expert_pack(pool_, path("n.experts"), other, random_weights(other, 1)); }),
              HasSubstr("has no routed experts to pack"));
}

TEST_F(PackedModelTest, ThePackIsNeverLookedForElsewhere) {
  const GgufFile packed(repacked(gguf_of(DType::q8_0)));
  for (const std::string name : {"../packed.experts", "/etc/passwd", "..", ""}) {
    GgufMetadata metadata;
    for (const auto& [key, value] : packed.metadata().entries()) metadata.set(key, value);
    metadata.set(kGgufPackKey, name);
    std::vector<StoredTensor> layout;
    for (const std::string& tensor : packed.names())
      layout.push_back({tensor, packed.get(tensor).shape(), packed.get(tensor).dtype()});
    GgufWriter writer(path("hostile.gguf"), metadata, layout);
    for (const std::string& tensor : packed.names()) writer.write(tensor, packed.get(tensor));
    writer.commit();
    EXPECT_THAT(error_of([&] { load(path("hostile.gguf")); }),
                HasSubstr("expected the name of a file in the same folder"))
        << name;
  }
}

}  // namespace
}  // namespace fathom
