#pragma once

#include <cstdint>

#include "model/batch.h"

namespace fathom {

/// Sequences to learn from, in an endless order that depends on data and seed alone: not on threads, nor on
/// the batch size, nor on what was asked before. A place of the order holds a sequence, or several short
/// ones.
class SequenceSource {
 public:
  virtual ~SequenceSource() = default;

  /// Places [position, position + count).
  [[nodiscard]] virtual Batch batch(std::int64_t position, std::int64_t count) const = 0;
  /// How many targets those have: what a part of a step weighs, before it is read.
  [[nodiscard]] virtual std::int64_t targets(std::int64_t position, std::int64_t count) const = 0;

 protected:
  SequenceSource() = default;
  SequenceSource(const SequenceSource&) = default;
  SequenceSource& operator=(const SequenceSource&) = default;
};

}  // namespace fathom
