#include "io/async_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::HasSubstr;

constexpr std::size_t kBlock = DirectFile::kDirectAlignment;

struct Freed {
  void operator()(void* memory) const { std::free(memory); }
};
using AlignedBytes = std::unique_ptr<std::byte, Freed>;

AlignedBytes aligned_bytes(std::size_t count) {
  return AlignedBytes(static_cast<std::byte*>(std::aligned_alloc(kBlock, count)));
}

/// Counts reads that have ended, and keeps the last error.
class Ends {
 public:
  AsyncReader::Done one() {
    return [this](const std::exception_ptr& error) {
      const std::scoped_lock lock(mutex_);
      ++count_;
      if (error != nullptr) error_ = error;
      changed_.notify_all();
    };
  }
  void await(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ >= count; });
    EXPECT_EQ(count_, count);
  }
  std::string error() {
    const std::scoped_lock lock(mutex_);
    return error_of([&] {
      if (error_ != nullptr) std::rethrow_exception(error_);
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
  std::exception_ptr error_;
};

/// Both ways of reading must do the same.
class AsyncReaderTest : public testing::TestWithParam<ReadMethod> {
 protected:
  /// A file whose every four bytes say where they are.
  std::filesystem::path file_of(std::size_t bytes) {
    std::string content(bytes, '\0');
    for (std::size_t at = 0; at + 4 <= bytes; at += 4) {
      const auto number = static_cast<std::uint32_t>(at);
      std::memcpy(content.data() + at, &number, sizeof(number));
    }
    const std::filesystem::path path = folder_.path() / "file";
    write_file_atomically(path, content);
    return path;
  }
  static bool is_content(const std::byte* bytes, std::size_t offset, std::size_t count) {
    for (std::size_t at = 0; at < count; at += 4) {
      std::uint32_t number = 0;
      std::memcpy(&number, bytes + at, sizeof(number));
      if (number != offset + at) return false;
    }
    return true;
  }

  test::TemporaryFolder folder_;
};

TEST_P(AsyncReaderTest, ManyReadsOfManySizesGiveTheFilesBytes) {
  const std::size_t bytes = 9 * ReadQueue::kPieceBytes + 3 * kBlock;
  AsyncReader reader(file_of(bytes), GetParam());
  Ends ends;
  struct Wanted {
    std::size_t offset;
    std::size_t count;
    AlignedBytes memory;
  };
  std::vector<Wanted> all;
  for (std::size_t i = 0; i < 60; ++i) {
    const std::size_t count = (1 + i * 37 % 600) * kBlock;
    const std::size_t offset = (i * 101 * kBlock) % (bytes - count + kBlock) / kBlock * kBlock;
    all.push_back({offset, count, aligned_bytes(count)});
    reader.read(offset, {all.back().memory.get(), count}, i % 3 == 0 ? ReadUrgency::now : ReadUrgency::later,
                ends.one());
  }
  ends.await(60);
  EXPECT_EQ(ends.error(), "no error");
  std::uint64_t read = 0;
  for (const Wanted& wanted : all) {
    EXPECT_TRUE(is_content(wanted.memory.get(), wanted.offset, wanted.count)) << wanted.offset;
    read += wanted.count;
  }
  EXPECT_EQ(reader.bytes_read(), read);
  EXPECT_GT(reader.busy_seconds(), 0.0);
}

TEST_P(AsyncReaderTest, AFileThatEndsTooSoonIsAnError) {
  const std::filesystem::path path = file_of(10 * kBlock + 100);
  AsyncReader reader(path, GetParam());
  const AlignedBytes memory = aligned_bytes(4 * kBlock);
  {
    Ends ends;
    reader.read(8 * kBlock, {memory.get(), 4 * kBlock}, ReadUrgency::now, ends.one());
    ends.await(1);
    EXPECT_THAT(ends.error(), HasSubstr("ends at byte 41060, before what was to be read"));
  }
  std::filesystem::resize_file(path, 2 * kBlock);
  Ends ends;
  reader.read(4 * kBlock, {memory.get(), 4 * kBlock}, ReadUrgency::now, ends.one());
  ends.await(1);
  EXPECT_THAT(ends.error(), HasSubstr("ends at byte 16384"));
}

TEST_P(AsyncReaderTest, WhatTheSystemRefusesIsNamed) {
  // A regular file by its looks, in which the first page of memory cannot be read.
  AsyncReader reader("/proc/self/mem", GetParam());
  EXPECT_THAT(reader.description(), HasSubstr("through the page cache"));
  const AlignedBytes memory = aligned_bytes(kBlock);
  Ends ends;
  reader.read(0, {memory.get(), kBlock}, ReadUrgency::now, ends.one());
  ends.await(1);
  EXPECT_THAT(ends.error(), HasSubstr("/proc/self/mem: cannot read at byte 0: Input/output error"));
}

TEST_P(AsyncReaderTest, EndsWithReadsUnderWay) {
  const std::filesystem::path path = file_of(8 * ReadQueue::kPieceBytes);
  const AlignedBytes memory = aligned_bytes(8 * ReadQueue::kPieceBytes);
  Ends ends;
  for (int round = 0; round < 20; ++round) {
    AsyncReader reader(path, GetParam());
    reader.read(0, {memory.get(), 8 * ReadQueue::kPieceBytes}, ReadUrgency::now, ends.one());
  }
}

TEST_P(AsyncReaderTest, PlacesMustBeAligned) {
  AsyncReader reader(file_of(4 * kBlock), GetParam());
  const AlignedBytes memory = aligned_bytes(2 * kBlock);
  EXPECT_THAT(error_of([&] {
                reader.read(1, {memory.get(), kBlock}, ReadUrgency::now, {});
              }),
              HasSubstr("is not aligned"));
  EXPECT_THAT(error_of([&] {
                reader.read(0, {memory.get() + 8, kBlock}, ReadUrgency::now, {});
              }),
              HasSubstr("is not aligned"));
}

INSTANTIATE_TEST_SUITE_P(Methods, AsyncReaderTest, testing::Values(ReadMethod::best, ReadMethod::threads),
                         [](const auto& method) {
                           return method.param == ReadMethod::best ? "Best" : "Threads";
                         });

TEST(ReadMethodTest, SaysHowItReads) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder.path() / "file", std::string(kBlock, 'x'));
  EXPECT_THAT(AsyncReader(folder.path() / "file", ReadMethod::threads).description(),
              HasSubstr("8 threads without io_uring (as asked for)"));
  EXPECT_THAT(error_of([&] { AsyncReader(folder.path() / "none"); }),
              HasSubstr("none: cannot open: No such file"));
  EXPECT_THAT(error_of([&] { AsyncReader reader(folder.path()); }), HasSubstr("not a regular file"));
}

TEST(ReadQueueTest, UrgentReadsComeFirstAndOthersLeaveRoom) {
  ReadQueue queue(8);
  std::vector<std::byte> memory(64);
  std::vector<int> order;
  const auto add = [&](int number, ReadUrgency urgency) {
    return queue.add(static_cast<std::uint64_t>(number), memory, urgency,
                     [&order, number](const std::exception_ptr&) { order.push_back(number); });
  };
  for (int i = 0; i < 4; ++i) add(i, ReadUrgency::later);
  const ReadQueue::Ticket hurried = add(4, ReadUrgency::later);
  std::vector<ReadQueue::Piece> pieces;
  const auto take_all = [&] {
    while (const auto piece = queue.try_take()) pieces.push_back(*piece);
  };
  take_all();
  EXPECT_EQ(pieces.size(), 2U);  // a quarter of 8
  add(5, ReadUrgency::now);
  queue.hurry(hurried);
  take_all();
  ASSERT_EQ(pieces.size(), 4U);
  EXPECT_EQ(pieces[2].offset, 5U);
  EXPECT_EQ(pieces[3].offset, 4U);
  for (const ReadQueue::Piece& piece : pieces) queue.finish(piece, nullptr);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 5, 4}));
}

TEST(ReadQueueTest, ACancelledReadBeginsNothingMore) {
  ReadQueue queue(1);
  std::vector<std::byte> memory(2 * ReadQueue::kPieceBytes);
  std::string ended;
  const auto done = [&](const std::exception_ptr& error) {
    ended = error_of([&] {
      if (error != nullptr) std::rethrow_exception(error);
    });
  };
  const ReadQueue::Ticket begun = queue.add(0, memory, ReadUrgency::now, done);
  const ReadQueue::Ticket waiting = queue.add(0, memory, ReadUrgency::now, done);
  const auto piece = queue.try_take();
  ASSERT_TRUE(piece.has_value());
  EXPECT_TRUE(queue.cancel(waiting));
  EXPECT_FALSE(queue.cancel(begun));
  EXPECT_EQ(ended, "");
  queue.finish(*piece, nullptr);
  EXPECT_EQ(ended, "the read was cancelled");
  EXPECT_FALSE(queue.try_take().has_value());
}

}  // namespace
}  // namespace fathom
