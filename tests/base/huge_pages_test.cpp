#include "base/huge_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

std::string any_text(std::size_t bytes) {
  std::string text(bytes, ' ');
  std::uint32_t state = 7;
  for (char& byte : text) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24U);
  }
  return text;
}

/// Bytes of this process's memory that are in no file, from `begin` to `end`.
std::size_t anonymous_bytes(std::span<const std::byte> memory) {
  const auto first = reinterpret_cast<std::uintptr_t>(memory.data());
  std::ifstream maps("/proc/self/maps");
  std::size_t bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    unsigned long inode = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %*s %*s %*s %lu", &begin, &end, &inode) != 3 || inode != 0)
      continue;
    begin = std::max(begin, first);
    end = std::min(end, first + memory.size());
    if (begin < end) bytes += end - begin;
  }
  return bytes;
}

class HugePagesTest : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = 9 * kHugePage + 12345;

  void SetUp() override {
    if (!has_huge_pages()) GTEST_SKIP() << "this system has no huge pages";
    write_file_atomically(folder_.path() / "a", text_);
    file_.emplace(folder_.path() / "a");
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return file_->bytes(); }
  [[nodiscard]] bool is_unchanged() const {
    return std::ranges::equal(bytes(), std::as_bytes(std::span(text_)));
  }
  std::uint64_t copy(std::vector<std::span<const std::byte>> parts, std::uint64_t limit = UINT64_MAX) {
    std::atomic<std::uint64_t> copied{0};
    copy_into_huge_pages(parts, limit, copied);
    return copied;
  }

  test::TemporaryFolder folder_;
  std::string text_ = any_text(kBytes);
  std::optional<MappedFile> file_;
};

TEST_F(HugePagesTest, AFilesWholePagesAreCopiedInPlace) {
  const std::uint64_t copied = copy({bytes()});
  EXPECT_GE(copied, 8 * kHugePage);  // all nine where the mapping begins with one
  EXPECT_EQ(copied % kHugePage, 0U);
  EXPECT_EQ(anonymous_bytes(bytes()), copied);
  EXPECT_TRUE(is_unchanged());
}

TEST_F(HugePagesTest, NothingIsCopiedTwice) {
  // Parts that share pages, as tensors that follow each other do.
  const std::uint64_t copied =
      copy({bytes().subspan(0, 3 * kHugePage + 5), bytes().subspan(3 * kHugePage + 5)});
  EXPECT_EQ(anonymous_bytes(bytes()), copied);
  EXPECT_EQ(copy({bytes()}), 0U);
  EXPECT_TRUE(is_unchanged());
}

TEST_F(HugePagesTest, TheLimitIsKeptAndTheFirstPartsComeFirst) {
  const std::span<const std::byte> last = bytes().subspan(6 * kHugePage, kHugePage);
  EXPECT_EQ(copy({last, bytes()}, 2 * kHugePage + 1), 2 * kHugePage);
  EXPECT_GE(anonymous_bytes(bytes().subspan(5 * kHugePage)), kHugePage);
  EXPECT_TRUE(is_unchanged());
}

TEST_F(HugePagesTest, AStopIsHeeded) {
  std::stop_source source;
  source.request_stop();
  const std::span<const std::byte> parts[] = {bytes()};
  std::atomic<std::uint64_t> copied{0};
  copy_into_huge_pages(parts, UINT64_MAX, copied, source.get_token());
  EXPECT_EQ(copied, 0U);
}

TEST_F(HugePagesTest, OtherMemoryIsLeftAsItIs) {
  std::vector<std::byte> own(5 * kHugePage, std::byte{7});
  EXPECT_EQ(copy({own, std::span<const std::byte>{}}), 0U);
  own[kHugePage] = std::byte{8};  // still ours to write
  EXPECT_EQ(own[kHugePage], std::byte{8});
}

TEST_F(HugePagesTest, ReadersSeeTheSameBytesAllTheTime) {
  std::atomic<bool> done{false};
  std::atomic<int> rounds{0};
  std::atomic<bool> same{true};
  std::jthread reader([&] {
    do {
      if (!is_unchanged()) same = false;
      ++rounds;
    } while (!done);
  });
  while (rounds == 0) std::this_thread::yield();
  for (std::size_t page = 0; page < 9; ++page) copy({bytes().subspan(page * kHugePage, 1)});
  done = true;
  reader.join();
  EXPECT_TRUE(same);
}

}  // namespace
}  // namespace fathom
