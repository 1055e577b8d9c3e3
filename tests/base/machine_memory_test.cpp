#include "base/machine_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/shared_data.h"

namespace fathom {
namespace {

class MachineMemoryTest : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& content) {
    std::filesystem::create_directories((folder_.path() / name).parent_path());
    std::ofstream(folder_.path() / name) << content;
  }
  [[nodiscard]] MachineMemory memory() const {
    return machine_memory(folder_.path() / "proc", folder_.path() / "cgroup");
  }

  test::TemporaryFolder folder_;
};

TEST_F(MachineMemoryTest, TakesWhatTheMachineSays) {
  write("proc/meminfo", "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:  600 kB\nSwapTotal:  24 kB\n");
  EXPECT_EQ(memory().available, 600U * 1024);
  EXPECT_EQ(memory().all, 1024U * 1024);
}

TEST_F(MachineMemoryTest, AControlGroupLimitsIt) {
  write("proc/meminfo", "MemTotal:  1000 kB\nMemAvailable:  600 kB\n");
  write("proc/self/cgroup", "0::/outer/inner\n");
  write("cgroup/outer/memory.max", "409600\n");
  write("cgroup/outer/memory.current", "300000\n");
  write("cgroup/outer/memory.stat", "anon 100000\nactive_file 50000\ninactive_file 150000\n");
  write("cgroup/outer/inner/memory.max", "max\n");
  EXPECT_EQ(memory().available, 409600U - 100000);  // what caches files can go
  EXPECT_EQ(memory().all, 409600U);
}

TEST_F(MachineMemoryTest, SoDoesOneOfVersion1) {
  write("proc/meminfo", "MemTotal:  1000 kB\nMemAvailable:  600 kB\n");
  write("proc/self/cgroup", "5:cpu:/x\n4:memory:/job\n0::/\n");
  write("cgroup/memory/job/memory.limit_in_bytes", "204800\n");
  write("cgroup/memory/job/memory.usage_in_bytes", "104800\n");
  write("cgroup/memory/job/memory.stat", "active_file 1\ntotal_active_file 4000\ntotal_inactive_file 800\n");
  EXPECT_EQ(memory().available, 104800U);
}

TEST_F(MachineMemoryTest, SaysNothingWhereNothingIsSaid) {
  EXPECT_EQ(memory().available, 0U);
  EXPECT_EQ(memory().all, 0U);
}

}  // namespace
}  // namespace fathom
