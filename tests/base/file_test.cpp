#include "base/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::size_t files_in(const std::filesystem::path& folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

TEST(AtomicFileTest, ContentAppearsOnlyAtCommit) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "a";
  write_file_atomically(path, "old");
  AtomicFile file(path);
  file.write("new");
  file.write("er");
  EXPECT_EQ(file.size(), 5U);
  EXPECT_EQ(read_text_file(path, 100), "old");
  file.commit();
  EXPECT_EQ(read_text_file(path, 100), "newer");
  EXPECT_EQ(files_in(folder.path()), 1U);
  EXPECT_THAT(error_of([&] { file.commit(); }), HasSubstr("committed twice"));
}

TEST(AtomicFileTest, AFolderInThePlaceIsNamed) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "a");
  EXPECT_THAT(error_of([&] { write_file_atomically(folder.path() / "a", "new"); }),
              HasSubstr("a: cannot write: Is a directory"));
  EXPECT_EQ(files_in(folder.path()), 1U);
}

TEST(AtomicFileTest, PiecesMayBeWrittenInAnyOrderAndBeSealedBeforeTheName) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "a";
  AtomicFile file(path);
  file.write_at(3, std::as_bytes(std::span("def", 3)));
  file.write_at(0, std::as_bytes(std::span("abc", 3)));
  EXPECT_EQ(file.size(), 6U);
  file.write("g");
  file.seal();
  EXPECT_FALSE(std::filesystem::exists(path));
  file.commit();
  EXPECT_EQ(read_text_file(path, 100), "abcdefg");
}

TEST(AtomicFileTest, WhatAKilledProcessLeftGoesAwayAtTheNextWriteButNotALivingOnesFile) {
  const test::TemporaryFolder folder;
  const pid_t dead = fork();
  if (dead == 0) _exit(0);
  ASSERT_EQ(waitpid(dead, nullptr, 0), dead);
  const auto file = [&](const std::string& name) { return folder.path() / name; };
  const std::string of_dead = "a.tmp-" + std::to_string(dead);
  const std::vector<std::string> kept = {"a.tmp-1", "b.tmp-" + std::to_string(dead), "a.tmp-", "a.tmp-x"};
  std::ofstream(file(of_dead)) << "half";
  for (const std::string& name : kept) std::ofstream(file(name)) << "kept";
  write_file_atomically(file("a"), "whole");
  EXPECT_FALSE(std::filesystem::exists(file(of_dead)));
  for (const std::string& name : kept) EXPECT_TRUE(std::filesystem::exists(file(name))) << name;
}

TEST(AtomicFileTest, AbandonedFileLeavesNothing) {
  const test::TemporaryFolder folder;
  { AtomicFile(folder.path() / "a").write("half"); }
  {
    AtomicFile file(folder.path() / "b");
    file.write("sealed");
    file.seal();
  }
  EXPECT_EQ(files_in(folder.path()), 0U);
}

TEST(AtomicFileTest, WriteBeyondTheLimitNamesFileAndReasonAndLeavesTheOldFile) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "a";
  write_file_atomically(path, "old");
  const test::FileSizeLimit limit(4096);
  EXPECT_THAT(error_of([&] { write_file_atomically(path, std::string(10000, 'x')); }),
              AllOf(HasSubstr("/a: cannot write: "), HasSubstr("too large")));
  EXPECT_EQ(read_text_file(path, 100), "old");
  EXPECT_EQ(files_in(folder.path()), 1U);
}

/// A file system of 64 KiB, where the system lets us mount one.
class SmallDisk {
 public:
  SmallDisk() : mounted_(mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=64k") == 0) {}
  ~SmallDisk() {
    if (mounted_) umount2(folder_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

 private:
  test::TemporaryFolder folder_;
  bool mounted_;
};

TEST(AtomicFileTest, FullDiskNamesFileAndReasonAndLeavesNothing) {
  const SmallDisk disk;
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs root";
  EXPECT_THAT(error_of([&] { write_file_atomically(disk.path() / "a", std::string(100000, 'x')); }),
              HasSubstr("/a: cannot write: No space left on device"));
  EXPECT_EQ(files_in(disk.path()), 0U);
}

TEST(AtomicFileTest, FolderThatIsMissingOrNoFolderIsNamed) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { AtomicFile(folder.path() / "no" / "a"); }),
              HasSubstr("/no/a: cannot write: No such file"));
  write_file_atomically(folder.path() / "file", "x");
  EXPECT_THAT(error_of([&] { AtomicFile(folder.path() / "file" / "a"); }), HasSubstr("Not a directory"));
  EXPECT_THAT(error_of([&] { create_folders(folder.path() / "file" / "sub"); }),
              HasSubstr("/file/sub: cannot create the folder"));
}

TEST(MappedFileTest, ShowsTheBytesAndKeepsThemAfterTheFileIsReplaced) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder.path() / "a", "before");
  const MappedFile file(folder.path() / "a");
  write_file_atomically(folder.path() / "a", "after");
  const auto bytes = file.bytes();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "before");
}

/// Faults of this thread that took no reading.
long minor_faults() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

TEST(MapCachedPagesTest, WhatWasJustWrittenIsTouchedWithoutFaults) {
  const test::TemporaryFolder folder;
  constexpr std::size_t kBytes = std::size_t{9} << 20U;
  write_file_atomically(folder.path() / "a", std::string(kBytes, 'x'));
  const MappedFile file(folder.path() / "a");
  map_cached_pages(file.bytes().subspan(5));
  const long before = minor_faults();
  std::size_t found = 0;
  for (std::size_t at = 0; at < kBytes; at += 512) found += file.bytes()[at] == std::byte{'x'} ? 1 : 0;
  EXPECT_EQ(found, kBytes / 512);
  // Were they not in the tables, there would be one for 16 pages at the most.
  EXPECT_LT(minor_faults() - before, 20);
}

TEST(MapCachedPagesTest, MemoryOfAnyKindIsLeftAsItIs) {
  const std::vector<std::byte> own(10000, std::byte{7});
  map_cached_pages(std::span(own).subspan(1, 9000));
  map_cached_pages({});
  EXPECT_EQ(own, std::vector<std::byte>(10000, std::byte{7}));
}

TEST(MappedFileTest, WhatCannotBeMappedIsNamed) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "empty").flush();
  EXPECT_THAT(error_of([&] { MappedFile(folder.path() / "none"); }),
              HasSubstr("/none: cannot open: No such file"));
  EXPECT_THAT(error_of([&] { MappedFile(folder.path() / "empty"); }), HasSubstr("/empty: the file is empty"));
  EXPECT_THAT(error_of([&] { MappedFile{folder.path()}; }), HasSubstr("not a regular file"));
}

TEST(MappedFileTest, PipeWithoutAWriterIsRefusedInsteadOfWaitedFor) {
  const test::TemporaryFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { MappedFile{pipe}; }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_of([&] { read_text_file(pipe, 100); }), HasSubstr("not a regular file"));
}

TEST(ReadTextFileTest, SizeIsBounded) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder.path() / "a", "12345");
  EXPECT_EQ(read_text_file(folder.path() / "a", 5), "12345");
  EXPECT_THAT(error_of([&] { read_text_file(folder.path() / "a", 4); }),
              HasSubstr("/a: 5 bytes, more than the 4 that such a file may have"));
}

}  // namespace
}  // namespace fathom
