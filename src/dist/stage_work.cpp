#include "dist/stage_work.h"

#include <utility>

#include "base/turns.h"

namespace fathom {

StageWork::Pair StageWork::overlapped(StageBatch chunk, Tensor input, StageBatch backward_chunk,
                                      Tensor output_gradient) {
  Pair pair;
  // The backward pass has a message to send at once: the output's gradient, to the last layer's experts.
  Turns::run([&] { pair.input_gradient = backward(backward_chunk, std::move(output_gradient)); },
             [&] { pair.output = forward(chunk, std::move(input)); });
  return pair;
}

}  // namespace fathom
