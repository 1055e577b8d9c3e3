#include "dist/stage_work.h"

#include <utility>

#include "base/turns.h"

namespace fathom {

StageWork::Pair StageWork::overlapped(StageBatch chunk, Tensor input, StageBatch backward_chunk,
                                      Tensor output_gradient) {
  Pair pair;
  Turns::run([&] { pair.output = forward(chunk, std::move(input)); },
             [&] { pair.input_gradient = backward(backward_chunk, std::move(output_gradient)); });
  return pair;
}

}  // namespace fathom
