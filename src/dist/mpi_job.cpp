#include "dist/mpi_job.h"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "dist/mpi/module.h"

namespace fathom {
namespace {

constexpr std::string_view kModule = "libfathom_mpi.so";

/// A number of the launcher's; none where it is not set or no count.
std::optional<int> launcher_number(const char* name) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets variables
  if (text == nullptr) return std::nullopt;
  const std::string_view digits(text);
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0) return std::nullopt;
  return value;
}

/// Beside the program where it is built, or where it is installed.
std::filesystem::path module_path() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  std::filesystem::path beside = program / kModule;
  if (std::filesystem::exists(beside, error)) return beside;
  return program.parent_path() / "lib" / "fathom" / kModule;
}

template <typename Function>
Function* function_of(void* module, const char* name) {
  return reinterpret_cast<Function*>(dlsym(module, name));
}

/// Of the module, once it is loaded.
MpiModule::End* end_of_module = nullptr;

}  // namespace

std::optional<LaunchedProcess> launched_process() {
  const std::optional<int> rank = launcher_number("OMPI_COMM_WORLD_RANK");
  const std::optional<int> size = launcher_number("OMPI_COMM_WORLD_SIZE");
  if (!rank || !size || *rank >= *size) return std::nullopt;
  return LaunchedProcess{
      .rank = *rank,
      .size = *size,
      .local_rank = launcher_number("OMPI_COMM_WORLD_LOCAL_RANK").value_or(0),
      .local_size = std::max(1, launcher_number("OMPI_COMM_WORLD_LOCAL_SIZE").value_or(1))};
}

std::size_t threads_of_launched_process(const LaunchedProcess& process) {
  const auto all = static_cast<std::size_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    const auto bound = static_cast<std::size_t>(CPU_COUNT(&allowed));
    if (bound > 0 && bound < all) return bound;
  }
  return std::max<std::size_t>(1, all / static_cast<std::size_t>(process.local_size));
}

std::unique_ptr<Communicator> join_mpi_job(const MpiOptions& options) {
  const std::filesystem::path path = module_path();
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);  // Open MPI's own plugins look for its symbols
  if (module == nullptr)
    fail("cannot load the MPI transport: {}: install openmpi-bin, or build with libopenmpi-dev", dlerror());
  auto* join = function_of<MpiModule::Join>(module, MpiModule::kJoin);
  end_of_module = function_of<MpiModule::End>(module, MpiModule::kEnd);
  require(join != nullptr && end_of_module != nullptr, "{} is of another version: build again",
          path.string());
  return std::unique_ptr<Communicator>(join(options));
}

void end_mpi_job(int status) {
  if (end_of_module != nullptr) end_of_module(status);
  std::_Exit(status);
}

}  // namespace fathom
