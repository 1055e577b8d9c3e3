#include "io/checkpoint_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "io/checkpoint_folder.h"
#include "numerics/small_float.h"
#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Tensor random_tensor(const Shape& shape, std::uint64_t seed) {
  Tensor tensor = Tensor::empty(shape);
  Rng rng(seed);
  for (float& value : tensor.values()) value = static_cast<float>(rng.normal());
  return tensor;
}

std::vector<std::string> file_names(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && std::ranges::equal(a.bytes(), b.bytes());
}

TEST(CheckpointWriterTest, SmallCheckpointIsOneFileWithEqualValues) {
  const test::TemporaryFolder folder;
  const Tensor a = random_tensor({3, 5}, 1);
  const Tensor b = random_tensor({}, 2);
  const Tensor c = random_tensor({0, 4}, 3);
  CheckpointWriter writer(folder.path() / "new" / "model",
                          {{"a", a.shape()}, {"b", b.shape()}, {"c", c.shape()}});
  writer.write("c", c);  // any order will do
  writer.write("a", a);
  writer.write("b", b);
  writer.commit();
  EXPECT_THAT(file_names(folder.path() / "new" / "model"), ElementsAre("model.safetensors"));
  const CheckpointFolder read(folder.path() / "new" / "model");
  EXPECT_THAT(read.names(), ElementsAre("a", "b", "c"));
  EXPECT_TRUE(same_bytes(read.get("a"), a));
  EXPECT_TRUE(same_bytes(read.get("b"), b));
  EXPECT_TRUE(same_bytes(read.get("c"), c));
  EXPECT_EQ(read.metadata().at("format"), "pt");
}

TEST(CheckpointWriterTest, WidestTypesComeFirstSoThatEachTensorIsAligned) {
  const test::TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), {{"bytes", {3}, DType::u8},
                                          {"half", {3}, DType::bf16},
                                          {"ids", {2}, DType::i64},
                                          {"float", {5}, DType::f32}});
  writer.write("bytes", Tensor::zeros({3}, DType::u8));
  writer.write("half", Tensor::zeros({3}, DType::bf16));
  writer.write("ids", Tensor::zeros({2}, DType::i64));
  writer.write("float", Tensor::zeros({5}));
  writer.commit();
  const SafetensorsFile file(folder.path() / "model.safetensors");
  EXPECT_EQ(file.entries().front().offset % 64, 0U);
  for (const TensorEntry& entry : file.entries())
    EXPECT_EQ(entry.offset % dtype_size(*dtype_from_name(entry.dtype)), 0U) << entry.name;
}

TEST(CheckpointWriterTest, FloatsAreRoundedToTheStoredType) {
  const test::TemporaryFolder folder;
  const Tensor values = random_tensor({700, 101}, 4);  // more than one piece of the conversion
  CheckpointWriter writer(folder.path(), {{"bf16", values.shape(), DType::bf16},
                                          {"f16", values.shape(), DType::f16},
                                          {"back", values.shape(), DType::f32}});
  writer.write("bf16", values);
  writer.write("f16", values);
  Tensor narrow = Tensor::empty(values.shape(), DType::bf16);
  for (std::int64_t i = 0; i < values.size(); ++i)
    static_cast<Bf16*>(narrow.data())[i] = Bf16::from_float(values.f32()[i]);
  writer.write("back", narrow);
  writer.commit();
  const CheckpointFolder read(folder.path());
  EXPECT_TRUE(same_bytes(read.get("bf16"), narrow));
  const Tensor f16 = read.get("f16");
  const Tensor back = read.get("back");
  for (std::int64_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(static_cast<const F16*>(f16.data())[i].bits, F16::from_float(values.f32()[i]).bits) << i;
    ASSERT_EQ(back.f32()[i], Bf16::from_float(values.f32()[i]).to_float()) << i;
  }
}

TEST(CheckpointWriterTest, Fp8MatricesAreJoinedByTheirBlockScales) {
  const test::TemporaryFolder folder;
  const Tensor values = random_tensor({200, 300}, 5);
  CheckpointWriter writer(folder.path(), {{"up.weight", values.shape(), DType::f8_e4m3}});
  writer.write("up.weight", values);
  writer.commit();
  const CheckpointFolder read(folder.path());
  EXPECT_THAT(read.names(), ElementsAre("up.weight", "up.weight_scale_inv"));
  const Tensor codes = read.get("up.weight");
  const Tensor scales = read.get("up.weight_scale_inv", {2, 3});
  EXPECT_EQ(codes.dtype(), DType::f8_e4m3);
  const Tensor back = to_f32(codes, scales);
  for (std::int64_t i = 0; i < values.size(); ++i) {
    const float scale = scales.f32()[i / 300 / 128 * 3 + i % 300 / 128];
    // Half a step of e4m3: 2^-4 of the value, or half the subnormal step 2^-9 times the scale.
    const float bound = std::max(std::fabs(values.f32()[i]) / 16, scale / 1024);
    ASSERT_NEAR(back.f32()[i], values.f32()[i], bound) << i;
  }
}

TEST(CheckpointWriterTest, Fp8CodesAndScalesPassUnchanged) {
  const test::TemporaryFolder folder;
  const BlockScaled quantised = quantize_blocks(random_tensor({130, 5}, 6), ScaleFormat::power_of_two);
  CheckpointWriter writer(folder.path(), {{"w", {130, 5}, DType::f8_e4m3}});
  writer.write("w", quantised);
  writer.commit();
  const CheckpointFolder read(folder.path());
  EXPECT_TRUE(same_bytes(read.get("w"), quantised.weight));
  EXPECT_TRUE(same_bytes(read.get("w_scale_inv"), quantised.weight_scale_inv));
}

TEST(CheckpointWriterTest, LargerCheckpointsAreShardedWithAnIndex) {
  const test::TemporaryFolder folder;
  CheckpointOptions options;
  options.max_shard_bytes = 100;
  CheckpointWriter writer(folder.path(), {{"a", {10}}, {"b", {15}}, {"huge", {50}}, {"c", {5}}, {"d", {20}}},
                          options);
  writer.write("huge", random_tensor({50}, 1));  // shards may be finished in any order
  writer.write("a", random_tensor({10}, 2));
  writer.write("c", random_tensor({5}, 3));
  writer.write("b", random_tensor({15}, 4));
  writer.write("d", random_tensor({20}, 5));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "model-00001-of-00003.safetensors"));
  writer.commit();
  EXPECT_THAT(file_names(folder.path()),
              ElementsAre("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                          "model-00003-of-00003.safetensors", "model.safetensors.index.json"));
  const Json index = read_json_file(folder.path() / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 400);
  EXPECT_EQ(index["weight_map"]["huge"], "model-00002-of-00003.safetensors");
  const CheckpointFolder read(folder.path());
  EXPECT_EQ(read.files().size(), 3U);
  EXPECT_TRUE(same_bytes(read.get("huge"), random_tensor({50}, 1)));
  EXPECT_TRUE(same_bytes(read.get("d"), random_tensor({20}, 5)));
}

/// The tensors that goldens/check_written.py expects.
void write_golden_checkpoint(const std::filesystem::path& folder) {
  const std::vector<StoredTensor> tensors = {
      {"norm.weight", {7}, DType::f32},    {"embed.weight", {5, 3}, DType::bf16},
      {"half.weight", {3, 3}, DType::f16}, {"up.weight", {130, 20}, DType::f8_e4m3},
      {"scalar", {}, DType::f32},          {"empty", {0, 2}, DType::f32}};
  CheckpointOptions options;
  options.max_shard_bytes = 80;
  CheckpointWriter writer(folder, tensors, options);
  for (const StoredTensor& tensor : tensors) {
    Tensor values = Tensor::empty(tensor.shape);
    for (std::int64_t i = 0; i < values.size(); ++i)
      values.f32()[i] = static_cast<float>(i % 251 - 125) / 8.0F;
    writer.write(tensor.name, values);
  }
  writer.commit();
}

/// goldens/check_written.py shows that the safetensors library reads these very bytes. After a change of the
/// writer, write the goldens anew with FATHOM_UPDATE_GOLDENS=1 and run the script.
TEST(CheckpointWriterTest, WritesTheBytesThatTheSafetensorsLibraryWasSeenToLoad) {
  const test::TemporaryFolder folder;
  const std::filesystem::path goldens = test::golden("io/goldens/written");
  write_golden_checkpoint(std::getenv("FATHOM_UPDATE_GOLDENS") != nullptr ? goldens : folder.path());
  if (std::getenv("FATHOM_UPDATE_GOLDENS") != nullptr) GTEST_SKIP() << "goldens written";
  ASSERT_EQ(file_names(folder.path()), file_names(goldens));
  ASSERT_EQ(file_names(goldens).size(), 4U);
  for (const std::string& name : file_names(goldens))
    EXPECT_EQ(read_text_file(folder.path() / name, 1 << 20), read_text_file(goldens / name, 1 << 20)) << name;
}

TEST(CheckpointWriterTest, ReplacesAnOlderCheckpointOfAnotherLayout) {
  const test::TemporaryFolder folder;
  const auto write = [&](std::uint64_t max_shard_bytes, std::uint64_t seed) {
    CheckpointOptions options;
    options.max_shard_bytes = max_shard_bytes;
    CheckpointWriter writer(folder.path(), {{"a", {10}}, {"b", {10}}, {"c", {10}}}, options);
    for (const char* name : {"a", "b", "c"}) writer.write(name, random_tensor({10}, seed));
    writer.commit();
    EXPECT_TRUE(same_bytes(CheckpointFolder(folder.path()).get("b"), random_tensor({10}, seed)));
  };
  std::ofstream(folder.path() / "config.json") << "{}";
  write(40, 1);
  EXPECT_EQ(file_names(folder.path()).size(), 5U);
  write(80, 2);
  EXPECT_EQ(file_names(folder.path()).size(), 4U);
  write(1000, 3);
  EXPECT_THAT(file_names(folder.path()), ElementsAre("config.json", "model.safetensors"));
  write(40, 4);
  EXPECT_EQ(file_names(folder.path()).size(), 5U);
}

TEST(CheckpointWriterTest, UnfinishedWriterLeavesNothing) {
  const test::TemporaryFolder folder;
  {
    CheckpointWriter writer(folder.path(), {{"a", {10}}, {"b", {10}}});
    writer.write("a", random_tensor({10}, 1));
    EXPECT_THAT(error_of([&] { writer.commit(); }), HasSubstr("model.safetensors: tensor b was not written"));
  }
  EXPECT_THAT(file_names(folder.path()), IsEmpty());
}

TEST(CheckpointWriterTest, KilledWriterLeavesNothingUnderTheFinalNames) {
  const test::TemporaryFolder folder;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    CheckpointOptions options;
    options.max_shard_bytes = 40;
    CheckpointWriter writer(folder.path(), {{"a", {10}}, {"b", {10}}}, options);
    writer.write("a", random_tensor({10}, 1));
    _exit(0);  // no destructor runs, as when the process is killed
  }
  int status = 0;
  waitpid(child, &status, 0);
  for (const std::string& name : file_names(folder.path())) EXPECT_THAT(name, HasSubstr(".tmp-")) << name;
  EXPECT_THAT(error_of([&] { CheckpointFolder{folder.path()}; }), HasSubstr("holds neither"));
}

TEST(CheckpointWriterTest, FullDiskIsReportedAndLeavesTheOldCheckpoint) {
  const test::TemporaryFolder folder;
  {
    CheckpointWriter writer(folder.path(), {{"a", {4}}});
    writer.write("a", random_tensor({4}, 7));
    writer.commit();
  }
  const std::string message = error_of([&] {
    const test::FileSizeLimit limit(64 << 10);
    CheckpointWriter writer(folder.path(), {{"a", {4}}, {"b", {1 << 20}}});
    writer.write("a", random_tensor({4}, 8));
    writer.write("b", Tensor::zeros({1 << 20}));
  });
  EXPECT_THAT(message, AllOf(HasSubstr("model.safetensors: cannot write: "), HasSubstr("too large")));
  EXPECT_THAT(file_names(folder.path()), ElementsAre("model.safetensors"));
  EXPECT_TRUE(same_bytes(CheckpointFolder(folder.path()).get("a"), random_tensor({4}, 7)));
}

TEST(CheckpointWriterTest, FolderThatCannotBeWrittenToIsReportedAtOnce) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "file") << "x";
  EXPECT_THAT(error_of([&] {
                CheckpointWriter(folder.path() / "file" / "model", {{"a", {1}}});
              }),
              AllOf(HasSubstr("file/model: cannot create the folder: Not a directory")));
  EXPECT_THAT(error_of([] {
                CheckpointWriter("/proc/fathom", {{"a", {1}}});
              }),
              HasSubstr("/proc/fathom: cannot create the folder"));
}

TEST(CheckpointWriterTest, MistakesOfTheCallerNameTheTensor) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(error_of([&] {
                CheckpointWriter(folder.path(), {{"a", {1}}, {"a", {2}}});
              }),
              HasSubstr("tensor a: the name is taken"));
  EXPECT_THAT(error_of([&] {
                CheckpointWriter(folder.path(), {{"a", {128}, DType::f8_e4m3}});
              }),
              HasSubstr("tensor a is [128], FP8 with block scales needs a matrix"));
  EXPECT_THAT(error_of([&] { CheckpointWriter(folder.path(), {}); }), HasSubstr("without tensors"));
  EXPECT_THAT(error_of([&] {
                CheckpointWriter(folder.path(), {{"a", {INT64_MAX / 2}}});
              }),
              HasSubstr("tensor a: shape [4611686018427387903] is too large"));

  CheckpointWriter writer(
      folder.path(), {{"a", {2, 3}, DType::f16}, {"ids", {2}, DType::i32}, {"w", {2, 2}, DType::f8_e4m3}});
  EXPECT_THAT(error_of([&] { writer.write("z", Tensor::zeros({1})); }),
              HasSubstr("tensor z is not part of the checkpoint"));
  EXPECT_THAT(error_of([&] {
                writer.write("a", Tensor::zeros({3, 2}));
              }),
              HasSubstr("tensor a is [3, 2], the file has room for [2, 3]"));
  EXPECT_THAT(error_of([&] { writer.write("ids", Tensor::zeros({2})); }),
              HasSubstr("tensor ids is of type F32, the file stores I32"));
  Tensor large = Tensor::zeros({2, 3});
  large.f32()[4] = 65520.0F;  // rounds to infinity in F16
  EXPECT_THAT(error_of([&] { writer.write("a", large); }),
              HasSubstr("tensor a holds a value too large for F16"));
  Tensor broken = Tensor::zeros({2, 2});
  broken.f32()[3] = std::nanf("");
  EXPECT_THAT(error_of([&] { writer.write("w", broken); }),
              AllOf(HasSubstr("tensor w cannot be stored as FP8"), HasSubstr("NaN")));
  writer.write("a", Tensor::zeros({2, 3}));
  EXPECT_THAT(error_of([&] {
                writer.write("a", Tensor::zeros({2, 3}));
              }),
              HasSubstr("tensor a is not part of the file, or was written before"));
}

}  // namespace
}  // namespace fathom
