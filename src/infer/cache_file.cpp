#include "infer/cache_file.h"

#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little);

struct Header {
  std::array<char, 8> magic = {'F', 'A', 'T', 'H', 'O', 'M', 'K', 'V'};
  std::uint32_t version = 1;
  std::uint32_t type = 0;
  std::uint64_t fingerprint = 0;
  std::int64_t layers = 0;
  std::int64_t latent_dim = 0;
  std::int64_t rope_dim = 0;
  std::int64_t tokens = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
static_assert(sizeof(Header) == 72 && std::has_unique_object_representations_v<Header>);

Header header_of(const CacheFileKey& key, std::int64_t tokens, CachedRange range) {
  Header header;
  header.type = static_cast<std::uint32_t>(key.row.type);
  header.fingerprint = key.fingerprint;
  header.layers = key.layers;
  header.latent_dim = key.row.latent_dim;
  header.rope_dim = key.row.rope_dim;
  header.tokens = tokens;
  header.begin = range.begin;
  header.end = range.end;
  return header;
}

}  // namespace

void write_cache_file(const std::filesystem::path& path, const CacheFileKey& key,
                      std::span<const std::int32_t> tokens, CachedRange range,
                      std::span<const std::byte> rows) {
  const Header header = header_of(key, static_cast<std::int64_t>(tokens.size()), range);
  AtomicFile file(path);
  Checksum sum;
  for (const std::span<const std::byte> part :
       {std::as_bytes(std::span(&header, 1)), std::as_bytes(tokens), rows}) {
    file.write(part);
    sum.update(part);
  }
  const std::uint64_t value = sum.value();
  file.write(std::as_bytes(std::span(&value, 1)));
  file.commit();
}

CachedText read_cache_file(const std::filesystem::path& path, const CacheFileKey& key) {
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  Header header;
  const Header expected;
  require(bytes.size() > sizeof(Header) + sizeof(std::uint64_t), "{}: too short for a file of cached latents",
          path.string());
  std::memcpy(&header, bytes.data(), sizeof(header));
  require(header.magic == expected.magic, "{}: not a file of cached latents", path.string());
  require(header.version == expected.version, "{}: version {} of the format, this program reads {}",
          path.string(), header.version, expected.version);
  std::uint64_t sum = 0;
  std::memcpy(&sum, bytes.data() + bytes.size() - sizeof(sum), sizeof(sum));
  require(sum == checksum(bytes.first(bytes.size() - sizeof(sum))),
          "{}: damaged: its checksum does not fit; delete it", path.string());
  require(header.fingerprint == key.fingerprint && header.layers == key.layers &&
              header.latent_dim == key.row.latent_dim && header.rope_dim == key.row.rope_dim,
          "{}: made by another model; delete it, or run that model", path.string());
  require(header.type == static_cast<std::uint32_t>(key.row.type), "{}: stored as {}, and --cache-type is {}",
          path.string(),
          header.type < std::size(kernels::kLatentTypes)
              ? kernels::latent_type_name(static_cast<LatentType>(header.type))
              : "an unknown type",
          kernels::latent_type_name(key.row.type));
  const std::uint64_t rest = bytes.size() - sizeof(header) - sizeof(sum);
  const bool is_in_order = header.begin >= 0 && header.begin <= header.end && header.end <= header.tokens &&
                           static_cast<std::uint64_t>(header.tokens) <= rest / sizeof(std::int32_t);
  require(is_in_order, "{}: damaged: it cannot hold {} tokens; delete it", path.string(), header.tokens);
  const std::uint64_t of_tokens = static_cast<std::uint64_t>(header.tokens) * sizeof(std::int32_t);
  const auto count = static_cast<std::uint64_t>(header.end - header.begin);
  const auto position = static_cast<std::uint64_t>(key.position_bytes());
  require((rest - of_tokens) / position == count && (rest - of_tokens) % position == 0,
          "{}: damaged: its size does not fit its tokens; delete it", path.string());
  CachedText text;
  text.range = {header.begin, header.end};
  text.tokens.resize(static_cast<std::size_t>(header.tokens));
  std::memcpy(text.tokens.data(), bytes.data() + sizeof(header), of_tokens);
  const auto rows = bytes.subspan(sizeof(header) + of_tokens, rest - of_tokens);
  text.rows.assign(rows.begin(), rows.end());
  return text;
}

}  // namespace fathom
