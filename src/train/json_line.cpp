#include "train/json_line.h"

#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "text/utf8.h"

namespace fathom {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::uint32_t kFirstHighSurrogate = 0xD800;
constexpr std::uint32_t kFirstLowSurrogate = 0xDC00;
constexpr std::uint32_t kAfterSurrogates = 0xE000;
constexpr std::uint32_t kReplacement = 0xFFFD;

/// Whether some byte of a word is a quote, a backslash or a control character. May also say so of a word
/// whose bytes are all ordinary, never the reverse.
bool may_end_run(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  constexpr std::uint64_t kHighs = 0x8080808080808080U;
  const auto has_zero = [](std::uint64_t x) { return (x - kOnes) & ~x & kHighs; };
  const std::uint64_t below_space = (word - kOnes * 0x20) & ~word & kHighs;
  return (has_zero(word ^ kOnes * '"') | has_zero(word ^ kOnes * '\\') | below_space) != 0;
}

/// Reads one line. Whatever it does not take for certain, it gives up on: then `parse_json` has the last
/// word, and the message.
class LineScanner {
 public:
  explicit LineScanner(std::string_view line) : at_(line.data()), end_(line.data() + line.size()) {}

  /// @return nothing when it gives up
  std::optional<std::string> find(std::string_view field) {
    std::optional<std::string> found;
    skip_space();
    if (!take('{')) return std::nullopt;
    skip_space();
    if (take('}')) return std::nullopt;
    do {
      skip_space();
      const std::optional<std::string_view> key = plain_string();
      if (!key) return std::nullopt;
      skip_space();
      if (!take(':')) return std::nullopt;
      skip_space();
      if (*key == field) {
        std::string value;
        if (found || !string(&value)) return std::nullopt;
        found = std::move(value);
      } else if (!skip_value(1)) {
        return std::nullopt;
      }
      skip_space();
    } while (take(','));
    if (!take('}')) return std::nullopt;
    skip_space();
    return at_ == end_ ? found : std::nullopt;
  }

 private:
  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r' || *at_ == '\n')) ++at_;
  }
  bool take(char wanted) {
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  bool take_digits() {
    const char* begin = at_;
    while (at_ < end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    return at_ > begin;
  }

  /// Moves to the next quote, backslash or control character, or to the end.
  void skip_run() {
    for (; end_ - at_ >= 8; at_ += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at_, 8);
      if (may_end_run(word)) break;
    }
    while (at_ < end_ && *at_ != '"' && *at_ != '\\' && static_cast<unsigned char>(*at_) >= 0x20) ++at_;
  }

  /// A string without escapes.
  std::optional<std::string_view> plain_string() {
    if (!take('"')) return std::nullopt;
    const char* begin = at_;
    skip_run();
    const std::string_view content(begin, static_cast<std::size_t>(at_ - begin));
    if (!take('"')) return std::nullopt;
    return content;
  }

  /// @param out  where to put the content; may be null
  bool string(std::string* out) {
    if (!take('"')) return false;
    while (true) {
      const char* begin = at_;
      skip_run();
      if (out != nullptr) out->append(begin, at_);
      if (take('"')) return true;
      if (!take('\\') || !escape(out)) return false;
    }
  }

  bool escape(std::string* out) {
    if (at_ == end_) return false;
    const char code = *at_++;
    if (code == 'u') return unicode_escape(out);
    constexpr std::string_view kCodes = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const std::size_t index = kCodes.find(code);
    if (index == std::string_view::npos) return false;
    if (out != nullptr) out->push_back(kMeanings[index]);
    return true;
  }

  std::optional<std::uint32_t> four_digits() {
    if (end_ - at_ < 4) return std::nullopt;
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const char digit = *at_++;
      const bool decimal = digit >= '0' && digit <= '9';
      const char lower = static_cast<char>(digit | 0x20);
      if (!decimal && (lower < 'a' || lower > 'f')) return std::nullopt;
      value = value << 4U | static_cast<std::uint32_t>(decimal ? digit - '0' : lower - 'a' + 10);
    }
    return value;
  }

  /// After "\u".
  bool unicode_escape(std::string* out) {
    std::optional<std::uint32_t> code = four_digits();
    if (!code) return false;
    if (*code >= kFirstHighSurrogate && *code < kAfterSurrogates) code = surrogate_pair(*code);
    if (!code) return false;
    if (out != nullptr) append_code_point(*code, *out);
    return true;
  }

  /// The character that `first` and the escape after it stand for. An escape that is no second half is left
  /// to be read by itself.
  std::optional<std::uint32_t> surrogate_pair(std::uint32_t first) {
    const char* after_first = at_;
    if (first >= kFirstLowSurrogate || !take_word("\\u")) return kReplacement;
    const std::optional<std::uint32_t> second = four_digits();
    if (!second) return std::nullopt;
    if (*second < kFirstLowSurrogate || *second >= kAfterSurrogates) {
      at_ = after_first;
      return kReplacement;
    }
    return 0x10000 + ((first - kFirstHighSurrogate) << 10U) + (*second - kFirstLowSurrogate);
  }

  bool skip_number() {
    take('-');
    if (!take('0') && !take_digits()) return false;
    if (take('.') && !take_digits()) return false;
    if (!take('e') && !take('E')) return true;
    if (!take('+')) take('-');
    return take_digits();
  }

  bool skip_value(int depth) {
    if (at_ == end_ || depth > kMaxDepth) return false;
    switch (*at_) {
      case '"':
        return string(nullptr);
      case '{':
        return skip_members(depth, '}', true);
      case '[':
        return skip_members(depth, ']', false);
      case 't':
        return take_word("true");
      case 'f':
        return take_word("false");
      case 'n':
        return take_word("null");
      default:
        return skip_number();
    }
  }

  bool skip_members(int depth, char close, bool with_keys) {
    ++at_;
    skip_space();
    if (take(close)) return true;
    do {
      skip_space();
      if (with_keys) {
        if (!string(nullptr)) return false;
        skip_space();
        if (!take(':')) return false;
        skip_space();
      }
      if (!skip_value(depth + 1)) return false;
      skip_space();
    } while (take(','));
    return take(close);
  }

  const char* at_;
  const char* end_;
};

}  // namespace

std::string string_field(std::string_view line, std::string_view field, const std::string& where) {
  if (std::optional<std::string> text = LineScanner(line).find(field)) return std::move(*text);
  const Json json = parse_json(line, where);
  require(json.is_object(), "{}: the line is not a JSON object", where);
  const auto value = json.find(field);
  require(value != json.end(), "{}: the object has no field \"{}\": name the text's field with --field",
          where, printable(field));
  require(value->is_string(), "{}: the field \"{}\" is not a string", where, printable(field));
  return value->get<std::string>();
}

}  // namespace fathom
