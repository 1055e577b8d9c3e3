// What programs can and cannot do in a sandbox. They are Python's, where there is Python, and the shell's.

#include "posttrain/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/file.h"
#include "base/progress.h"
#include "support/error_text.h"
#include "support/shared_data.h"

namespace fathom {
namespace {

using End = SandboxResult::End;
using test::error_of;
using testing::HasSubstr;

class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
    std::error_code error;
    if (!std::filesystem::exists("/usr/bin/python3", error))
      GTEST_SKIP() << "no /usr/bin/python3 on this machine";
    const std::string refused = error_of([] { static_cast<void>(Sandbox({}).run({"/bin/true"}, "", {})); });
    if (refused != "no error") GTEST_SKIP() << refused;
    limits_.wall_seconds = 20;  // of a machine that does other things, too
    limits_.cpu_seconds = 10;
  }
  [[nodiscard]] SandboxResult python(const std::string& program, const std::string& input = {}) const {
    return Sandbox(limits_).run({"/usr/bin/python3", "-I", "main.py"}, input, {{"main.py", program}});
  }
  /// What a program says that tries something: "did it", or the error.
  [[nodiscard]] std::string attempt(const std::string& statement) const {
    const SandboxResult result =
        python("import os, sys\ntry:\n  " + statement +
               "\n  print('did it')\nexcept BaseException as e:\n  print(type(e).__name__)\n");
    return result.out + result.err + (result.succeeded() ? "" : result.explanation);
  }

  SandboxLimits limits_;
};

TEST_F(SandboxTest, ProgramsReadInputAndWriteOutputAndFilesOfTheirOwn) {
  const SandboxResult result = python(
      "import sys\nopen('a', 'w').write('x')\nprint(input() + open('a').read())\nprint('y', "
      "file=sys.stderr)\nsys.exit(3)",
      "hello");
  EXPECT_EQ(result.out, "hellox\n");
  EXPECT_EQ(result.err, "y\n");
  EXPECT_EQ(result.end, End::exited);
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.explanation, "exited with status 3");
}

TEST_F(SandboxTest, FilesOutsideAreNeitherReadNorWritten) {
  const test::TemporaryFolder folder;
  const std::string file = folder.path() / "file";
  std::ofstream(file) << "secret";
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  std::filesystem::permissions(file, std::filesystem::perms::all);
  EXPECT_EQ(attempt("open('/etc/passwd').read()"), "PermissionError\n");
  EXPECT_EQ(attempt("open('" + file + "').read()"), "PermissionError\n");
  EXPECT_EQ(attempt("open('" + file + "', 'a').write('x')"), "PermissionError\n");
  EXPECT_EQ(attempt("os.remove('" + file + "')"), "PermissionError\n");
  EXPECT_EQ(attempt("open('" + folder.path().string() + "/new', 'w')"), "PermissionError\n");
  EXPECT_EQ(attempt("os.listdir('" + folder.path().string() + "')"), "PermissionError\n");
  EXPECT_EQ(attempt("open('/proc/self/environ').read()"), "PermissionError\n");
  EXPECT_EQ(attempt("os.symlink('" + file + "', 'link'); open('link').read()"), "PermissionError\n");
  EXPECT_EQ(read_text_file(file, 100), "secret");
}

TEST_F(SandboxTest, ThereIsNoNetwork) {
  EXPECT_EQ(attempt("import socket; socket.socket()"), "PermissionError\n");
  EXPECT_EQ(attempt("import socket; socket.socket(socket.AF_UNIX)"), "PermissionError\n");
}

TEST_F(SandboxTest, ItsGroupAndItsPrivilegesAreKept) {
  EXPECT_EQ(attempt("os.setsid()"), "PermissionError\n");
  EXPECT_EQ(attempt("os.setpgid(0, 0)"), "PermissionError\n");
  EXPECT_EQ(attempt("os.kill(" + std::to_string(::getpid()) + ", 9)"), "PermissionError\n");
  EXPECT_EQ(attempt("os.chroot('.')"), "PermissionError\n");
  EXPECT_EQ(
      attempt("import ctypes; r = ctypes.CDLL(None, use_errno=True).unshare(0x10000000); assert r == 0"),
      "AssertionError\n");
  EXPECT_EQ(attempt("import ctypes; r = ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0); assert r == 0"),
            "AssertionError\n");
  if (::geteuid() == 0) {
    EXPECT_NE(attempt("print(os.getuid())"), "0\ndid it\n");
  }
}

TEST_F(SandboxTest, EndlessProgramsAreEnded) {
  limits_.cpu_seconds = 1;
  const SandboxResult busy = python("while True: pass");
  EXPECT_EQ(busy.end, End::signalled);
  EXPECT_THAT(busy.explanation, HasSubstr("over 1 s of processor time"));
  limits_.wall_seconds = 0.5;
  const double begin = monotonic_seconds();
  const SandboxResult asleep = python("import time\nprint('z', flush=True)\ntime.sleep(100)");
  EXPECT_EQ(asleep.end, End::out_of_time);
  EXPECT_EQ(asleep.explanation, "ran longer than 0.5 s");
  EXPECT_LT(monotonic_seconds() - begin, 10);
}

TEST_F(SandboxTest, MemoryFilesAndOutputAreLimited) {
  limits_.memory_bytes = 200U << 20U;
  EXPECT_EQ(attempt("x = bytearray(1 << 30)"), "MemoryError\n");
  limits_.file_bytes = 1U << 20U;
  EXPECT_EQ(attempt("f = open('big', 'wb'); [f.write(b'x' * 65536) for i in range(100)]; f.flush()"),
            "OSError\n");
  EXPECT_EQ(attempt("files = [open(str(i), 'w') for i in range(100)]"), "OSError\n");
  const SandboxResult loud = python("while True: print('x' * 1000)");
  EXPECT_EQ(loud.end, End::too_much_output);
  EXPECT_EQ(loud.out.size(), limits_.output_bytes);
  EXPECT_EQ(loud.explanation, "wrote more than 65536 bytes");
}

TEST_F(SandboxTest, AForkBombStaysSmallAndEndsWithItsParent) {
  limits_.wall_seconds = 2;
  const SandboxResult bomb = python(
      "import os, time\nn = 0\nwhile n < 1000:\n  try:\n    if os.fork() == 0: time.sleep(1000)\n    n += 1\n"
      "  except OSError: break\nprint(n)\n");
  EXPECT_TRUE(bomb.succeeded()) << bomb.explanation << bomb.err;
  EXPECT_LT(std::stoi(bomb.out), limits_.processes);
  const SandboxResult spread = python("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass\n");
  EXPECT_FALSE(spread.succeeded());
}

TEST_F(SandboxTest, ItsFolderIsGoneAfterwards) {
  const SandboxResult result =
      python("import os\nos.mkdir('d')\nopen('d/f', 'w')\nos.chmod('d', 0)\nprint(os.getcwd())");
  ASSERT_TRUE(result.succeeded()) << result.err;
  EXPECT_FALSE(std::filesystem::exists(result.out.substr(0, result.out.size() - 1)));
}

TEST_F(SandboxTest, AnyExecutableIsRun) {
  const SandboxResult result =
      Sandbox(limits_).run({"/bin/sh", "script", "a b"}, "", {{"script", "echo \"$1\""}});
  EXPECT_EQ(result.out, "a b\n");
  EXPECT_EQ(Sandbox(limits_).run({"/bin/sh", "-c", "kill -TERM $$"}, "", {}).explanation,
            "was ended by signal 15");
}

TEST_F(SandboxTest, WhatCannotBeStartedIsSaid) {
  const Sandbox sandbox(limits_);
  EXPECT_THAT(error_of([&] { static_cast<void>(sandbox.run({"/usr/bin/no-such-program"}, "", {})); }),
              HasSubstr("/usr/bin/no-such-program: cannot be run in a sandbox: executing it: No such file"));
  EXPECT_THAT(error_of([&] { static_cast<void>(sandbox.run({"python3"}, "", {})); }),
              HasSubstr("by its whole path"));
  EXPECT_THAT(error_of([&] {
                static_cast<void>(sandbox.run({"/bin/sh"}, "", {{"../x", ""}}));
              }),
              HasSubstr("is no name for a file of a sandbox"));
  EXPECT_EQ(find_executable("sh"), "/usr/bin/sh");
  EXPECT_THAT(error_of([] { find_executable("no-such-program"); }), HasSubstr("there is no program"));
}

}  // namespace
}  // namespace fathom
