#pragma once

#include <string>

#include "base/error.h"

namespace fathom::test {

/// The message of the `Error` that `action` throws, or "no error".
template <typename Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace fathom::test
