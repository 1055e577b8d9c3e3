#include "io/record_pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr std::size_t kIndexBegin = 40;

/// Two groups of records of two parts, whose values tell their place.
class RecordPackTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "m.experts"; }

  static std::vector<RecordGroup> groups() {
    return {{.key = 3, .records = 3, .parts = {{"a", {2, 5}, DType::f32}, {"b", {7}, DType::bf16}}},
            {.key = 9, .records = 2, .parts = {{"a", {40, 64}, DType::q8_0}}}};
  }
  static std::vector<Tensor> record(std::size_t group, std::int64_t number) {
    std::vector<Tensor> parts;
    const RecordGroup of = groups()[group];
    for (const StoredTensor& part : of.parts) {
      Tensor tensor = Tensor::zeros(part.shape, part.dtype);
      std::memset(tensor.data(), static_cast<int>(1 + 10 * group + static_cast<std::size_t>(number)),
                  tensor.byte_size());
      parts.push_back(tensor);
    }
    return parts;
  }
  /// @return the pack's id
  std::uint64_t write() const {
    RecordPackWriter writer(path(), groups());
    for (const std::int64_t number : {2, 0, 1}) writer.write(0, number, record(0, number));
    for (const std::int64_t number : {1, 0}) writer.write(1, number, record(1, number));
    return writer.commit();
  }
  [[nodiscard]] std::string content() const { return read_text_file(path(), 1 << 20); }
  /// Without waiting for the disk, as thousands of files are written.
  void put(const std::string& content) const { std::ofstream(path(), std::ios::binary) << content; }
  /// What opening the file says when its content is this.
  [[nodiscard]] std::string error_with(const std::string& content) const {
    put(content);
    return error_of([&] { RecordPack pack(path()); });
  }
  /// The index's checksum made right again.
  static std::string resealed(std::string content, std::size_t index_bytes) {
    const std::uint64_t sum =
        checksum(std::string_view(content).substr(kIndexBegin, index_bytes - kIndexBegin));
    std::memcpy(content.data() + kIndexBegin - sizeof(sum), &sum, sizeof(sum));
    return content;
  }
  static std::size_t index_bytes(const std::string& content) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, content.data() + 16, sizeof(bytes));
    return bytes;
  }

  test::TemporaryFolder folder_;
};

TEST_F(RecordPackTest, GivesBackWhatWasWritten) {
  const std::uint64_t id = write();
  const RecordPack pack(path());
  EXPECT_EQ(pack.id(), id);
  ASSERT_EQ(pack.groups().size(), 2U);
  EXPECT_EQ(pack.find(3), pack.groups().data());
  EXPECT_EQ(pack.find(4), nullptr);
  for (std::size_t g = 0; g < 2; ++g) {
    const RecordGroup& group = pack.groups()[g];
    for (std::int64_t r = 0; r < group.records; ++r) {
      EXPECT_EQ(group.offset(r) % kRecordAlignment, 0U);
      const std::vector<Tensor> expected = record(g, r);
      for (std::size_t p = 0; p < expected.size(); ++p) {
        const Tensor part = pack.part(group, r, p);
        EXPECT_EQ(part.shape(), expected[p].shape());
        EXPECT_EQ(part.dtype(), expected[p].dtype());
        EXPECT_EQ(std::memcmp(part.data(), expected[p].data(), part.byte_size()), 0);
      }
      const auto* bytes = static_cast<const std::byte*>(pack.part(group, r, 0).data());
      EXPECT_EQ(error_of([&] { pack.check(group, r, {bytes, group.record_bytes}); }), "no error");
    }
  }
  EXPECT_EQ(std::filesystem::file_size(path()) % kRecordAlignment, 0U);
}

TEST_F(RecordPackTest, TheIdTellsContentsApart) {
  const std::uint64_t id = write();
  RecordPackWriter writer(path(), groups());
  for (std::int64_t number = 0; number < 3; ++number) writer.write(0, number, record(0, 0));
  for (std::int64_t number = 0; number < 2; ++number) writer.write(1, number, record(1, number));
  EXPECT_NE(writer.commit(), id);
}

TEST_F(RecordPackTest, NothingAppearsBeforeAllRecordsAreThere) {
  RecordPackWriter writer(path(), groups());
  writer.write(0, 0, record(0, 0));
  EXPECT_THAT(error_of([&] { writer.commit(); }), HasSubstr("a record of group 3 was not written"));
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(RecordPackTest, RecordsMustBeWhatTheGroupSays) {
  RecordPackWriter writer(path(), groups());
  EXPECT_THAT(error_of([&] { writer.write(0, 0, record(1, 0)); }),
              HasSubstr("group 3 has no record 0 of 1 parts"));
  EXPECT_THAT(error_of([&] { writer.write(1, 2, record(1, 0)); }), HasSubstr("group 9 has no record 2"));
  const std::vector<Tensor> other = {Tensor::zeros({40, 64})};
  EXPECT_THAT(error_of([&] { writer.write(1, 0, other); }),
              HasSubstr("part a is F32 [40, 64], its group says Q8_0"));
}

TEST_F(RecordPackTest, ADamagedRecordIsFound) {
  write();
  std::string file = content();
  const std::uint64_t place = RecordPack(path()).groups()[1].offset(1) + 100;
  file[place] = static_cast<char>(file[place] ^ 1);
  write_file_atomically(path(), file);
  const RecordPack pack(path());
  const RecordGroup& group = pack.groups()[1];
  const auto check = [&](std::int64_t record) {
    const auto* bytes = static_cast<const std::byte*>(pack.part(group, record, 0).data());
    pack.check(group, record, {bytes, group.record_bytes});
  };
  EXPECT_EQ(error_of([&] { check(0); }), "no error");
  EXPECT_THAT(error_of([&] { check(1); }), HasSubstr("record 1 of group 9 is damaged"));
}

TEST_F(RecordPackTest, OtherFilesAreRefused) {
  write();
  const std::string file = content();
  EXPECT_THAT(error_with("GGUF, and more than forty bytes of something else"),
              HasSubstr("not a pack of experts"));
  EXPECT_THAT(error_with(file.substr(0, 20)), HasSubstr("not a pack of experts"));
  EXPECT_THAT(error_with(file.substr(0, file.size() - 1)), HasSubstr("(truncated?)"));
  EXPECT_THAT(error_with(file + "x"), HasSubstr("bytes, its index says"));
  std::string newer = file;
  newer[8] = 2;
  EXPECT_THAT(error_with(newer), HasSubstr("is of version 2, this program reads version 1"));
}

TEST_F(RecordPackTest, EveryByteOfTheIndexIsChecked) {
  write();
  const std::string file = content();
  for (std::size_t at = 0; at < index_bytes(file); ++at) {
    std::string damaged = file;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    EXPECT_NE(error_with(damaged), "no error") << "byte " << at;
  }
}

TEST_F(RecordPackTest, HostileIndexesEndInErrors) {
  write();
  const std::string file = content();
  const std::size_t bytes = index_bytes(file);
  // Any byte of the body, sealed anew: what is said may be wrong in any way, and is an error or harmless.
  for (std::size_t at = kIndexBegin; at < bytes; ++at) {
    for (const int value : {0x00, 0x7F, 0xFF}) {
      std::string hostile = file;
      hostile[at] = static_cast<char>(value);
      put(resealed(hostile, bytes));
      error_of([&] {
        const RecordPack pack(path());
        for (const RecordGroup& group : pack.groups()) {
          EXPECT_LE(group.offset(group.records - 1) + group.stride, file.size());
          EXPECT_GE(group.first, bytes);
        }
      });
    }
  }
  std::string huge = file;
  std::memset(huge.data() + kIndexBegin + 8, 0xFF, 4);  // records of the first group
  EXPECT_THAT(error_with(resealed(huge, bytes)), HasSubstr("number of records is 4294967295"));
  std::string sized = file;
  const std::size_t size_at = file.find("F32") + 3 + 4;
  std::memset(sized.data() + size_at, 0xFF, 7);
  EXPECT_THAT(error_with(resealed(sized, bytes)), AnyOf(HasSubstr("cannot be"), HasSubstr("a dimension of")));
  std::string cut = file;
  const std::uint64_t fewer = bytes - 8;
  std::memcpy(cut.data() + 16, &fewer, sizeof(fewer));
  EXPECT_THAT(error_with(resealed(cut, fewer)), HasSubstr("ends in the middle of an entry"));
}

TEST_F(RecordPackTest, GroupsMustBeDistinctAndOfSomething) {
  std::vector<RecordGroup> twice = groups();
  twice[1].key = 3;
  EXPECT_THAT(error_of([&] { RecordPackWriter(path(), twice); }), HasSubstr("two groups have the key 3"));
  std::vector<RecordGroup> odd = groups();
  odd[1].parts[0].shape = {40, 63};
  EXPECT_THAT(error_of([&] { RecordPackWriter(path(), odd); }), HasSubstr("cannot be Q8_0 [40, 63]"));
  std::vector<RecordGroup> empty = groups();
  empty[0].records = 0;
  EXPECT_THAT(error_of([&] { RecordPackWriter(path(), empty); }), HasSubstr("cannot have 0 records"));
}

}  // namespace
}  // namespace fathom
