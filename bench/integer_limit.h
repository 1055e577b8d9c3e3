#pragma once

#include "base/thread_pool.h"

namespace fathom::bench {

/// Products of 8-bit codes as fast as the instruction set can, with the pool's threads, from registers: the
/// limit of integer kernels. Four bits of one side, as of the smaller weight types.
class IntegerDotLimit {
 public:
  void operator()(ThreadPool& pool);
  /// Of one call and thread, two a multiply-add.
  static double operations();

 private:
  std::int64_t sum_ = 0;
};

}  // namespace fathom::bench
