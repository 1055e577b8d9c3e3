#pragma once

#include <span>
#include <string>

#include "posttrain/eval_record.h"

namespace fathom {

struct NamedRecord {
  std::string name;
  EvalRecord record;
};

/// Evaluations beside one another as a page that asks nothing of the network: settings, figures with their
/// intervals, accuracy against length, differences to the first one on the problems that both have, and the
/// answers that changed.
std::string eval_page(std::span<const NamedRecord> evaluations);

}  // namespace fathom
