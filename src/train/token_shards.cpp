#include "train/token_shards.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>

#include "base/error.h"

namespace fathom {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are mapped as they lie: little-endian");

constexpr std::string_view kMagic = "FATHOMTK";
constexpr std::uint32_t kShardVersion = 1;
constexpr std::size_t kHeaderSize = 32;
constexpr std::size_t kFooterSize = 32;
constexpr std::size_t kWriteBuffer = 1U << 20U;
constexpr std::int64_t kLargestVocabulary = std::int64_t{1} << 31;

struct Header {
  std::array<char, 8> magic{};
  std::uint32_t version = kShardVersion;
  std::uint32_t token_width = 0;
  std::uint64_t vocab_size = 0;
  std::uint64_t tokenizer_hash = 0;
};
static_assert(sizeof(Header) == kHeaderSize);

struct Footer {
  std::uint64_t token_count = 0;
  std::uint64_t document_count = 0;
  std::uint64_t checksum = 0;
  std::array<char, 8> magic{};
};
static_assert(sizeof(Footer) == kFooterSize);

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

std::array<char, 8> magic() {
  std::array<char, 8> bytes{};
  std::copy(kMagic.begin(), kMagic.end(), bytes.begin());
  return bytes;
}

std::size_t padding(std::uint64_t bytes) {
  return static_cast<std::size_t>((8 - bytes % 8) % 8);
}

template <typename Id>
std::uint64_t largest_id(const std::byte* tokens, std::int64_t count) {
  Id largest = 0;
  for (std::int64_t i = 0; i < count; ++i)
    largest = std::max(largest, load<Id>(tokens + static_cast<std::size_t>(i) * sizeof(Id)));
  return largest;
}

template <typename Id>
void widen(const std::byte* tokens, std::span<std::int32_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<std::int32_t>(load<Id>(tokens + i * sizeof(Id)));
}

}  // namespace

TokenShardWriter::TokenShardWriter(const std::filesystem::path& path, std::int64_t vocab_size,
                                   std::uint64_t tokenizer_hash)
    : path_(path),
      file_(path),
      vocab_size_(vocab_size),
      token_width_(vocab_size - 1 <= std::numeric_limits<std::uint16_t>::max() ? 2 : 4) {
  require(vocab_size > 0 && vocab_size <= kLargestVocabulary,
          "{}: a vocabulary of {} tokens cannot be stored", path.string(), vocab_size);
  Header header;
  header.magic = magic();
  header.token_width = static_cast<std::uint32_t>(token_width_);
  header.vocab_size = static_cast<std::uint64_t>(vocab_size);
  header.tokenizer_hash = tokenizer_hash;
  write(std::as_bytes(std::span(&header, 1)));
}

void TokenShardWriter::write(std::span<const std::byte> bytes) {
  checksum_.update(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  if (buffer_.size() < kWriteBuffer) return;
  file_.write(buffer_);
  buffer_.clear();
}

void TokenShardWriter::add_document(std::span<const std::int32_t> tokens) {
  require(!tokens.empty(), "{}: a document without tokens cannot be stored", path_.string());
  append(tokens);
  end_document();
}

void TokenShardWriter::append(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens)
    require(token >= 0 && token < vocab_size_, "{}: token {} is outside the vocabulary of {}", path_.string(),
            token, vocab_size_);
  if (token_width_ == 2) {
    const std::vector<std::uint16_t> narrow(tokens.begin(), tokens.end());
    write(std::as_bytes(std::span(narrow)));
  } else {
    write(std::as_bytes(tokens));
  }
  open_tokens_ += tokens.size();
}

void TokenShardWriter::end_document() {
  if (open_tokens_ == 0) return;
  offsets_.push_back(offsets_.back() + open_tokens_);
  open_tokens_ = 0;
}

void TokenShardWriter::finish() {
  constexpr std::array<std::byte, 8> kZeros{};
  write(std::span(kZeros).first(padding(offsets_.back() * token_width_)));
  write(std::as_bytes(std::span(offsets_)));
  Footer footer;
  footer.token_count = offsets_.back();
  footer.document_count = offsets_.size() - 1;
  write(std::as_bytes(std::span(&footer, 1)).first(16));
  footer.checksum = checksum_.value();
  footer.magic = magic();
  buffer_.insert(buffer_.end(), std::as_bytes(std::span(&footer, 1)).begin() + 16,
                 std::as_bytes(std::span(&footer, 1)).end());
  file_.write(buffer_);
  file_.commit();
}

TokenShard::TokenShard(const std::filesystem::path& path) : file_(std::make_unique<MappedFile>(path)) {
  const std::span<const std::byte> bytes = file_->bytes();
  const std::string name = path.string();
  require(bytes.size() >= kHeaderSize + kFooterSize, "{}: {} bytes are too few for a token shard", name,
          bytes.size());
  const auto header = load<Header>(bytes.data());
  require(header.magic == magic(), "{}: not a token shard (made by `fathom prepare`)", name);
  require(header.version == kShardVersion, "{}: token shard of version {}, this program reads {}", name,
          header.version, kShardVersion);
  require(header.token_width == 2 || header.token_width == 4, "{}: {} bytes per token, expected 2 or 4", name,
          header.token_width);
  require(header.vocab_size > 0 && header.vocab_size <= static_cast<std::uint64_t>(kLargestVocabulary),
          "{}: vocabulary size {} is impossible", name, header.vocab_size);

  const auto footer = load<Footer>(bytes.data() + bytes.size() - kFooterSize);
  require(footer.magic == magic(), "{}: the shard is cut short or damaged at its end: prepare it again",
          name);
  // The counts are bounded before any arithmetic on them, so that nothing below can overflow.
  require(footer.token_count <= bytes.size() / header.token_width && footer.document_count < bytes.size() / 8,
          "{}: {} tokens in {} documents do not fit in {} bytes: prepare it again", name, footer.token_count,
          footer.document_count, bytes.size());
  const std::uint64_t token_bytes = footer.token_count * header.token_width;
  const std::uint64_t offsets_at = kHeaderSize + token_bytes + padding(token_bytes);
  const std::uint64_t expected = offsets_at + (footer.document_count + 1) * 8 + kFooterSize;
  require(expected == bytes.size(), "{}: {} tokens in {} documents need {} bytes, the file has {}", name,
          footer.token_count, footer.document_count, expected, bytes.size());
  require(fathom::checksum(bytes.first(bytes.size() - 16)) == footer.checksum,
          "{}: checksum mismatch, the shard is damaged: prepare it again", name);

  token_width_ = header.token_width;
  token_count_ = static_cast<std::int64_t>(footer.token_count);
  document_count_ = static_cast<std::int64_t>(footer.document_count);
  vocab_size_ = static_cast<std::int64_t>(header.vocab_size);
  tokenizer_hash_ = header.tokenizer_hash;
  checksum_ = footer.checksum;
  tokens_ = bytes.data() + kHeaderSize;
  offsets_ = bytes.data() + offsets_at;

  const std::uint64_t largest = token_width_ == 2 ? largest_id<std::uint16_t>(tokens_, token_count_)
                                                  : largest_id<std::uint32_t>(tokens_, token_count_);
  require(token_count_ == 0 || largest < header.vocab_size, "{}: token {} is outside the vocabulary of {}",
          name, largest, header.vocab_size);
  require(document_offset(0) == 0 && document_offset(document_count_) == token_count_,
          "{}: the document offsets do not span its {} tokens", name, token_count_);
  for (std::int64_t i = 0; i < document_count_; ++i)
    require(load<std::uint64_t>(offsets_ + i * 8) < load<std::uint64_t>(offsets_ + (i + 1) * 8),
            "{}: the offset of document {} is not above the one before", name, i + 1);
}

std::int64_t TokenShard::document_offset(std::int64_t i) const {
  return load<std::int64_t>(offsets_ + i * 8);
}

void TokenShard::read(std::int64_t begin, std::span<std::int32_t> out) const {
  require(
      begin >= 0 && begin <= token_count_ && static_cast<std::int64_t>(out.size()) <= token_count_ - begin,
      "{}: tokens {} to {} asked of {}", path().string(), begin,
      begin + static_cast<std::int64_t>(out.size()), token_count_);
  const std::byte* at = tokens_ + static_cast<std::size_t>(begin) * token_width_;
  if (token_width_ == 2) {
    widen<std::uint16_t>(at, out);
  } else {
    widen<std::uint32_t>(at, out);
  }
}

}  // namespace fathom
