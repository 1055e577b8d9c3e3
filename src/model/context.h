#pragma once

#include "base/thread_pool.h"

namespace fathom {

/// What a layer needs besides its weights: where to run. The seam for precision recipes and devices.
struct Context {
  ThreadPool& pool;
};

}  // namespace fathom
