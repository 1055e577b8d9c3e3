#include "io/checkpoint_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "io/raw_file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// The header of tensors of four bytes each.
std::string header_of(const std::vector<std::string>& names) {
  std::string header = "{";
  for (std::size_t i = 0; i < names.size(); ++i)
    header += fmt::format(R"({}"{}":{{"dtype":"F32","shape":[1,1],"data_offsets":[{},{}]}})",
                          i == 0 ? "" : ",", names[i], 4 * i, 4 * i + 4);
  return header + "}";
}

class CheckpointFolderTest : public testing::Test {
 protected:
  void shard(const std::string& name, const std::vector<std::string>& tensors) const {
    test::write_raw_safetensors(path() / name, header_of(tensors), 4 * tensors.size());
  }
  void index(const std::string& weight_map) const {
    write_file_atomically(path() / kIndexFileName, R"({"metadata":{},"weight_map":)" + weight_map + "}");
  }
  [[nodiscard]] std::string open_error() const {
    return error_of([&] { CheckpointFolder{path()}; });
  }
  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(CheckpointFolderTest, ReadsTheShardsThatHuggingFaceWrites) {
  const CheckpointFolder folder(test::golden("io/goldens/sharded"));
  EXPECT_THAT(folder.names(), ElementsAre("lm_head.weight", "model.layers.0.weight", "model.layers.1.weight",
                                          "model.layers.2.weight"));
  EXPECT_GE(folder.files().size(), 2U);
  const Tensor tensor = folder.get("model.layers.2.weight", {4, 6});
  for (std::int64_t i = 0; i < tensor.size(); ++i) EXPECT_EQ(tensor.f32()[i], static_cast<float>(i) - 3);
  EXPECT_EQ(folder.entry("lm_head.weight").dtype, "BF16");
  EXPECT_EQ(folder.metadata().at("format"), "pt");
}

TEST_F(CheckpointFolderTest, SingleFileWinsOverAnIndex) {
  shard("model.safetensors", {"a", "b"});
  index(R"({"c": "missing.safetensors"})");
  EXPECT_THAT(CheckpointFolder(path()).names(), ElementsAre("a", "b"));
}

TEST_F(CheckpointFolderTest, WrongShapeNamesFileTensorAndMeaning) {
  shard("model.safetensors", {"model.layers.7.mlp.gate.weight"});
  const CheckpointFolder folder(path());
  EXPECT_THAT(
      error_of([&] {
        return folder.get("model.layers.7.mlp.gate.weight", {256, 2048}, "n_routed_experts × hidden_size");
      }),
      HasSubstr(
          "model.safetensors: tensor model.layers.7.mlp.gate.weight is [1, 1], config.json needs [256, 2048] "
          "(n_routed_experts × hidden_size)"));
  EXPECT_EQ(folder.get("model.layers.7.mlp.gate.weight", {1, 1}).size(), 1);
}

TEST_F(CheckpointFolderTest, MissingTensorNamesTheFileOrTheFolder) {
  shard("model.safetensors", {"a"});
  EXPECT_THAT(error_of([&] { return CheckpointFolder(path()).get("b"); }),
              HasSubstr("model.safetensors: has no tensor b"));
  EXPECT_THAT(error_of([&] { return CheckpointFolder(path()).get("b", {1}); }), HasSubstr("has no tensor b"));
  EXPECT_THAT(error_of([&] { return CheckpointFolder(path()).entry("b"); }), HasSubstr("has no tensor b"));
}

TEST_F(CheckpointFolderTest, FolderWithoutWeightsSaysWhatItLooksFor) {
  EXPECT_THAT(open_error(), HasSubstr("holds neither model.safetensors nor model.safetensors.index.json"));
  EXPECT_THAT(error_of([&] { CheckpointFolder(path() / "none"); }), HasSubstr("/none: no such folder"));
}

TEST_F(CheckpointFolderTest, MissingShardIsNamedWithATensorOfIt) {
  shard("one.safetensors", {"a"});
  index(R"({"a": "one.safetensors", "b": "two.safetensors"})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr("/two.safetensors: the shard is missing"),
                                  HasSubstr("model.safetensors.index.json expects tensor b in it")));
}

TEST_F(CheckpointFolderTest, TensorMissingFromItsShardIsNamed) {
  shard("one.safetensors", {"a"});
  index(R"({"a": "one.safetensors", "b": "one.safetensors"})");
  EXPECT_THAT(open_error(), HasSubstr("/one.safetensors: has no tensor b, which model.safetensors.index.json "
                                      "expects in it"));
}

TEST_F(CheckpointFolderTest, TensorThatTheIndexDoesNotListIsNamed) {
  shard("one.safetensors", {"a", "surplus"});
  index(R"({"a": "one.safetensors"})");
  EXPECT_THAT(open_error(), HasSubstr("/one.safetensors: holds tensor surplus, which "
                                      "model.safetensors.index.json does not list"));
}

TEST_F(CheckpointFolderTest, TensorInTwoShardsIsNamed) {
  shard("one.safetensors", {"a"});
  shard("two.safetensors", {"a", "b"});
  index(R"({"a": "one.safetensors", "b": "two.safetensors"})");
  EXPECT_THAT(open_error(), HasSubstr("/two.safetensors: holds tensor a, which model.safetensors.index.json "
                                      "expects in one.safetensors alone"));
}

TEST_F(CheckpointFolderTest, ShardsOutsideTheFolderAreRefused) {
  for (const char* name : {"../model.safetensors", "/etc/passwd", "..", ".", "", "sub/model.safetensors",
                           "a\\u0000.safetensors"}) {
    index(fmt::format(R"({{"a": "{}"}})", name));
    EXPECT_THAT(open_error(), AllOf(HasSubstr("model.safetensors.index.json: tensor a: the shard"),
                                    HasSubstr("is not the name of a file in the folder")))
        << name;
  }
}

TEST_F(CheckpointFolderTest, MalformedIndexIsNamed) {
  const auto with = [&](std::string_view text) {
    write_file_atomically(path() / kIndexFileName, text);
    return open_error();
  };
  EXPECT_THAT(with("{"), HasSubstr("model.safetensors.index.json: not valid JSON"));
  EXPECT_THAT(with("[]"), HasSubstr("index.json: has no object \"weight_map\""));
  EXPECT_THAT(with(R"({"weight_map": []})"), HasSubstr("has no object \"weight_map\""));
  EXPECT_THAT(with(R"({"weight_map": {}})"), HasSubstr("\"weight_map\" names no tensor"));
  EXPECT_THAT(with(R"({"weight_map": {"a": 7}})"), HasSubstr("tensor a: the shard 7 is not the name"));
  EXPECT_THAT(with(R"({"weight_map": {"a": "x", "a": "y"}})"), HasSubstr("the key \"a\" stands twice"));
}

TEST_F(CheckpointFolderTest, DamagedShardIsNamed) {
  test::write_raw_safetensors(path() / "one.safetensors", header_of({"a", "b"}), 7);
  index(R"({"a": "one.safetensors", "b": "one.safetensors"})");
  EXPECT_THAT(open_error(),
              HasSubstr("/one.safetensors: tensor b: data_offsets [4, 8] reach beyond the file"));
}

}  // namespace
}  // namespace fathom
