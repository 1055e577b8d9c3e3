#pragma once

#include "model/weights.h"

namespace fathom {

/// Whether inference reads the parameter as it is stored, through a kernel for each type.
bool is_read_as_stored(ParameterKind kind);

}  // namespace fathom
