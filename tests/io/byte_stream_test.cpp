#include "io/byte_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using testing::HasSubstr;

std::string read_all(const std::filesystem::path& file, std::size_t at_a_time) {
  const auto stream = open_byte_stream(file);
  std::string content;
  std::vector<std::byte> buffer(at_a_time);
  while (const std::size_t got = stream->read(buffer))
    content.append(reinterpret_cast<const char*>(buffer.data()), got);
  EXPECT_EQ(stream->file_bytes_read(), std::filesystem::file_size(file));
  EXPECT_EQ(stream->read(buffer), 0U) << "the end stays the end";
  return content;
}

std::string compressed_golden(const std::string& name) {
  return read_text_file(test::golden("io/goldens/compressed") / name, 1U << 20U);
}

class ByteStreamTest : public testing::TestWithParam<const char*> {
 protected:
  test::TemporaryFolder folder_;
  std::string text_ = compressed_golden("text.txt");

  std::filesystem::path file(const std::string& name, const std::string& content) const {
    std::ofstream(folder_.path() / name, std::ios::binary) << content;  // no sync: there are many
    return folder_.path() / name;
  }
};

TEST_P(ByteStreamTest, GivesTheTextThatWasCompressed) {
  for (const std::size_t at_a_time : {1U, 7U, 4096U, 1U << 20U})
    EXPECT_EQ(read_all(test::golden("io/goldens/compressed") / GetParam(), at_a_time), text_);
}

TEST_P(ByteStreamTest, CutShortAnywhereIsAnErrorOrAWholeMember) {
  const std::string whole = compressed_golden(GetParam());
  const std::string name = "cut" + std::filesystem::path(GetParam()).extension().string();
  int accepted = 0;
  for (std::size_t size = 1; size < whole.size(); size += 1 + whole.size() / 300) {
    const auto path = file(name, whole.substr(0, size));
    std::string content;
    const std::string error = error_of([&] { content = read_all(path, 1000); });
    if (error == "no error") {
      ++accepted;
      EXPECT_TRUE(content == text_ || content == text_.substr(0, text_.size() / 2));
    } else {
      EXPECT_THAT(error, HasSubstr(name));
      EXPECT_THAT(error, HasSubstr("cut short"));
    }
  }
  EXPECT_LT(accepted, 50);  // between and after members lie only zeros and a skippable frame
}

TEST_P(ByteStreamTest, DamageNeverGivesMoreThanAnError) {
  const std::string whole = compressed_golden(GetParam());
  const std::string name = "bad" + std::filesystem::path(GetParam()).extension().string();
  for (std::size_t at = 0; at < whole.size(); at += 1 + whole.size() / 200) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    const auto path = file(name, damaged);
    const std::string error = error_of([&] { read_all(path, 1000); });
    EXPECT_THAT(error, testing::AnyOf("no error", HasSubstr(name)));
  }
}

INSTANTIATE_TEST_SUITE_P(Files, ByteStreamTest,
                         testing::Values("one.gz", "members.gz", "one.zst", "frames.zst"),
                         [](const auto& file) {
                           std::string name = file.param;
                           name[name.find('.')] = '_';
                           return name;
                         });

class ByteStreamFileTest : public ByteStreamTest {};

TEST_F(ByteStreamFileTest, OtherDataAfterTheEndIsRefused) {
  for (const std::string& garbage : {std::string("x"), std::string("garbage"), std::string(1000, '\x1f')}) {
    EXPECT_THAT(error_of([&] { read_all(file("a.gz", compressed_golden("one.gz") + garbage), 100); }),
                HasSubstr("after the gzip data"));
    if (garbage.size() < 4) continue;  // too few bytes to be told from a frame that is cut short
    EXPECT_THAT(error_of([&] { read_all(file("a.zst", compressed_golden("one.zst") + garbage), 100); }),
                HasSubstr("after the zstd data"));
  }
}

TEST_F(ByteStreamFileTest, ANameThatLiesIsSaidSo) {
  EXPECT_THAT(error_of([&] { read_all(file("a.gz", text_), 100); }), HasSubstr("a.gz: not gzip data"));
  EXPECT_THAT(error_of([&] { read_all(file("a.zst", text_), 100); }), HasSubstr("a.zst: not zstd data"));
}

TEST_F(ByteStreamFileTest, AnEmptyFileHasNoContentWhateverItsName) {
  for (const char* name : {"a", "a.gz", "a.zst"}) EXPECT_EQ(read_all(file(name, ""), 10), "");
}

TEST_F(ByteStreamFileTest, AWindowBeyondTheBoundIsRefused) {
  // A frame header that asks for a window of 2 GiB: magic, descriptor without content size, window byte.
  const std::string header("\x28\xB5\x2F\xFD\x00\xA8\x01\x00\x00", 9);
  EXPECT_THAT(error_of([&] { read_all(file("a.zst", header), 10); }), HasSubstr("window above 128 MiB"));
}

TEST_F(ByteStreamFileTest, AFolderAndAMissingFileAreNamed) {
  EXPECT_THAT(error_of([&] { open_byte_stream(folder_.path()); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_of([&] { open_byte_stream(folder_.path() / "absent.gz"); }), HasSubstr("absent.gz"));
}

}  // namespace
}  // namespace fathom
