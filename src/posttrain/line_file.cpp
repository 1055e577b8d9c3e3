#include "posttrain/line_file.h"

#include <fmt/core.h>

#include <span>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace fathom {
namespace {

constexpr std::size_t kLongestLine = std::size_t{16} << 20U;
constexpr std::size_t kReadAtOnce = std::size_t{1} << 20U;

}  // namespace

void for_each_line(const std::filesystem::path& file,
                   const std::function<void(std::string_view line, const std::string& where)>& use) {
  InputFile in(file);
  std::uint64_t number = 0;
  const auto take = [&](std::string_view line) {
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") != std::string_view::npos)
      use(line, fmt::format("{}:{}", file.string(), number));
  };
  std::vector<std::byte> buffer(kReadAtOnce);
  std::string pending;  // a line whose end has not been read
  while (const std::size_t count = in.read(buffer)) {
    std::string_view rest(reinterpret_cast<const char*>(buffer.data()), count);
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      pending += rest.substr(0, end);
      take(pending);
      pending.clear();
      rest.remove_prefix(end + 1);
    }
    pending += rest;
    require(pending.size() <= kLongestLine, "{}:{}: is longer than {} bytes", file.string(), number + 1,
            kLongestLine);
  }
  if (!pending.empty()) take(pending);
}

}  // namespace fathom
