#pragma once

#include "dist/pipeline_schedule.h"
#include "tensor/tensor.h"

namespace fathom {

/// What a rank of a pipeline computes: the seam between the execution of a schedule
/// (dist/schedule_executor.h) and the stages of a model, or whatever stands for them. Activations and
/// gradients are tensors of any shape and type, which both ends of a message agree on; they are sent as they
/// are.
class StageWork {
 public:
  virtual ~StageWork() = default;
  StageWork(const StageWork&) = delete;
  StageWork& operator=(const StageWork&) = delete;

  /// Room for a chunk's input, and for the gradient of its output, to be received into.
  virtual Tensor input_room(StageBatch chunk) = 0;
  virtual Tensor gradient_room(StageBatch chunk) = 0;

  /// The chunk's output.
  /// @param input  undefined on the first stage, as is the output of the last one
  virtual Tensor forward(StageBatch chunk, Tensor input) = 0;
  /// The gradient of the chunk's input, and adds up its weight gradients.
  /// @param output_gradient  undefined on the last stage, as is the gradient of the first one's input
  virtual Tensor backward(StageBatch chunk, Tensor output_gradient) = 0;
  /// `backward` in two.
  virtual Tensor backward_input(StageBatch chunk, Tensor output_gradient) = 0;
  virtual void backward_weight(StageBatch chunk) = 0;
  /// The forward of one chunk and the whole backward of another. Unless it is overridden, the two take turns
  /// where they wait for messages (base/turns.h).
  struct Pair {
    Tensor output;
    Tensor input_gradient;
  };
  virtual Pair overlapped(StageBatch chunk, Tensor input, StageBatch backward_chunk, Tensor output_gradient);

 protected:
  StageWork() = default;
};

}  // namespace fathom
