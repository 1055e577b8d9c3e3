#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/error.h"
#include "text/in_quotes.h"
#include "text/regex_dialect.h"

namespace fathom {
namespace {

constexpr std::size_t kJitStackStart = 32U << 10U;
constexpr std::size_t kJitStackMax = 4U << 20U;
constexpr std::uint32_t kHeapLimitKiB = 256U << 10U;
// The clock is looked at after so many starts tried in vain, and after so many searches: PCRE2's own limit
// counts the backtracking from one start only.
constexpr std::size_t kStartWindow = 512;
constexpr std::uint32_t kSearchesPerCheck = 1024;
constexpr double kSecondsPerText = 10.0;
constexpr double kSecondsPerByte = 5e-6;

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Backtracking allowed from one start: white space that a look-ahead takes back costs about its length.
std::uint32_t match_limit(std::size_t text_bytes) {
  return static_cast<std::uint32_t>(std::min<std::size_t>(1'000'000 + 4 * text_bytes, 1U << 30U));
}

std::string error_text(int code) {
  std::array<unsigned char, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* pointer) const { Free(pointer); }
};
template <typename T, void (*Free)(T*)>
using Owned = std::unique_ptr<T, Deleter<T, Free>>;

}  // namespace

struct RegexScratch::State {
  Owned<pcre2_match_data, pcre2_match_data_free> data{pcre2_match_data_create(1, nullptr)};
  Owned<pcre2_match_context, pcre2_match_context_free> context{pcre2_match_context_create(nullptr)};
  Owned<pcre2_jit_stack, pcre2_jit_stack_free> stack{
      pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr)};
  double allowance = kSecondsPerText;  // processor time for the text at hand, seconds
  double deadline = 0.0;               // set when the clock is first looked at
  std::uint32_t searches = 0;

  void check_time(const std::string& where) {
    const double now = thread_seconds();
    if (deadline == 0.0) deadline = now + allowance;
    require(now < deadline, "{}: the pattern takes too long on this text", where);
  }
};

RegexScratch::RegexScratch() : state_(std::make_unique<State>()) {
  if (!state_->data || !state_->context || !state_->stack) throw std::bad_alloc();
  pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
  pcre2_set_heap_limit(state_->context.get(), kHeapLimitKiB);
}
RegexScratch::~RegexScratch() = default;
RegexScratch::RegexScratch(RegexScratch&&) noexcept = default;
RegexScratch& RegexScratch::operator=(RegexScratch&&) noexcept = default;

void RegexScratch::begin_text(std::size_t bytes) {
  state_->allowance = kSecondsPerText + kSecondsPerByte * static_cast<double>(bytes);
  state_->deadline = 0.0;
}

struct Regex::Code {
  Owned<pcre2_code, pcre2_code_free> code;
  bool jit = false;
  std::string where;
};

Regex::Regex(std::string_view pattern, const std::string& where) : code_(std::make_unique<Code>()) {
  const std::string translated = pcre2_pattern_of(pattern, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Owned<pcre2_compile_context, pcre2_compile_context_free> context(pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 64);
  constexpr std::uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
  code_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                  kOptions, &error, &offset, context.get()));
  require(code_->code != nullptr, "{}: the pattern {} is not understood: {}", where, in_quotes(pattern),
          error_text(error));
  code_->jit = pcre2_jit_compile(code_->code.get(), PCRE2_JIT_COMPLETE) == 0;
  code_->where = where;
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

std::optional<Regex::Match> Regex::find(std::string_view text, std::size_t from,
                                        RegexScratch& scratch) const {
  RegexScratch::State& state = *scratch.state_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  if (++state.searches % kSearchesPerCheck == 0) state.check_time(code_->where);
  pcre2_set_match_limit(state.context.get(), match_limit(text.size()));
  for (std::size_t start = from;;) {
    const std::size_t last_start = std::min(text.size(), start + kStartWindow);
    pcre2_set_offset_limit(state.context.get(), last_start);
    int result = PCRE2_ERROR_JIT_STACKLIMIT;
    if (code_->jit) {
      result = pcre2_jit_match(code_->code.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK,
                               state.data.get(), state.context.get());
    }
    // The interpreter keeps its state on the heap: slower, but it can go deeper.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      result = pcre2_match(code_->code.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                           state.data.get(), state.context.get());
    }
    if (result >= 0) {
      const PCRE2_SIZE* found = pcre2_get_ovector_pointer(state.data.get());
      require(found[0] >= from && found[0] <= found[1], "{}: the pattern matches backwards", code_->where);
      return Match{found[0], found[1]};
    }
    require(result == PCRE2_ERROR_NOMATCH, "{}: the pattern cannot be matched on this text: {}", code_->where,
            error_text(result));
    if (last_start == text.size()) return std::nullopt;
    state.check_time(code_->where);
    start = last_start;
    while (start < text.size() && (static_cast<unsigned char>(text[start]) & 0xC0U) == 0x80U) ++start;
  }
}

}  // namespace fathom
