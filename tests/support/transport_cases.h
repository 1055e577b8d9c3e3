#pragma once

#include <ostream>
#include <string_view>
#include <vector>

#include "dist/communicator.h"

namespace fathom::test {

/// What holds of every transport, for any number of ranks: called on each of them, in the same order.
struct TransportCase {
  std::string_view name;  // of letters, for parameterised tests
  void (*check)(Communicator& ranks);
};
const std::vector<TransportCase>& transport_cases();

inline std::ostream& operator<<(std::ostream& out, const TransportCase& one) {
  return out << one.name;
}

}  // namespace fathom::test
