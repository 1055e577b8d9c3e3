#include "text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "base/error.h"

namespace fathom {
namespace {

int options_of(UnicodeNormalForm form) {
  switch (form) {
    case UnicodeNormalForm::kNfc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case UnicodeNormalForm::kNfd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case UnicodeNormalForm::kNfkc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case UnicodeNormalForm::kNfkd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
  }
  return 0;
}

struct Free {
  void operator()(void* pointer) const { std::free(pointer); }
};

}  // namespace

std::string normalize(std::string_view text, const std::vector<UnicodeNormalForm>& forms) {
  std::string current(text);
  for (const UnicodeNormalForm form : forms) {
    utf8proc_uint8_t* raw = nullptr;
    const utf8proc_ssize_t length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(current.data()),
                                                 static_cast<utf8proc_ssize_t>(current.size()), &raw,
                                                 static_cast<utf8proc_option_t>(options_of(form)));
    const std::unique_ptr<utf8proc_uint8_t, Free> normalized(raw);
    require(length >= 0, "the text cannot be normalised: {}", utf8proc_errmsg(length));
    current.assign(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(length));
  }
  return current;
}

}  // namespace fathom
