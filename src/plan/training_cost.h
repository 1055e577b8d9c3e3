#pragma once

#include <cstdint>

#include "model/config.h"
#include "numerics/precision.h"

namespace fathom {

/// Parameters that training moves, MTP modules apart.
struct TrainedParameters {
  std::int64_t main = 0;
  std::int64_t activated = 0;  // per token, both embedding matrices
  std::int64_t mtp = 0;        // all modules

  [[nodiscard]] std::int64_t total() const { return main + mtp; }
};
TrainedParameters trained_parameters(const ModelConfig& config);

/// Floating-point operations of training on one token: 6 for each matrix parameter that is active (2 forward,
/// 4 backward) and 3 times causal attention's forward pass, 2 · heads · (qk_head_dim + v_head_dim) · length /
/// 2 a layer. The look-up in the input embedding counts as none.
struct TrainingFlops {
  double main = 0;  // the published figures: DeepSeek-V3 250.45 G, V2 155.30 G at 4,096
  double mtp = 0;   // all modules, the head's further uses among them

  [[nodiscard]] double total() const { return main + mtp; }
};
TrainingFlops training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length);

/// Floating-point operations of causal attention's core on one token, forward: scores and values, in one
/// layer.
double attention_flops_per_token(const ModelConfig& config, std::int64_t sequence_length);

/// Bytes of one token in one block, by what the layers' headers say they keep.
struct BlockBytes {
  std::int64_t kept = 0;     // from forward to backward
  std::int64_t working = 0;  // in use while the block's backward pass is under way
};
BlockBytes block_bytes(const ModelConfig& config, bool is_moe, Precision precision);

/// Of layers [begin, end) as one place computes them, working bytes those of the widest. With the last layer
/// goes what follows it: MTP modules, and what is kept at the head's input.
BlockBytes run_bytes(const ModelConfig& config, std::int64_t begin, std::int64_t end, Precision precision);

/// Bytes of the head, whatever the number of tokens in a micro-batch.
struct HeadBytes {
  std::uint64_t gradient = 0;  // of its weight, from forward to backward
  std::uint64_t logits = 0;    // of the slice of tokens that it works on
};
HeadBytes head_bytes(const ModelConfig& config, std::uint64_t tokens);

/// What decides the memory of a training step, beside the model.
struct TrainingSizes {
  std::int64_t sequence_length = 0;
  std::int64_t micro_batch = 0;  // sequences in one forward pass
  Precision precision = Precision::f32;
  bool saves_beside = true;  // checkpoints are written while training goes on
  bool has_average = false;  // an average of the weights is kept
  bool has_muon = false;     // one moment is enough for the matrices of linear maps and experts
};

/// Bytes by what they are for. Activations follow what the layers' headers say they keep; work space is what
/// the widest layer needs beside that, and the head.
struct TrainingMemory {
  std::uint64_t weights = 0;  // f32, and their codes where products are of FP8
  std::uint64_t gradients = 0;
  std::uint64_t moments = 0;
  std::uint64_t average = 0;
  std::uint64_t activations = 0;  // kept from forward to backward, of one micro-batch
  std::uint64_t work_space = 0;   // of the layer under way, and the head's
  std::uint64_t messages = 0;     // to and from other processes
  std::uint64_t gathered = 0;     // what a checkpoint has of other processes
  std::uint64_t snapshot = 0;     // the copy that a checkpoint is written from

  [[nodiscard]] std::uint64_t peak() const {
    return weights + gradients + moments + average + activations + work_space + messages + gathered +
           snapshot;
  }
};
TrainingMemory training_memory(const ModelConfig& config, const TrainingSizes& sizes);

/// Bytes of one checkpoint, without the tokenizer's files.
/// @param weight_bytes  of a stored weight: below 4, the exact ones are stored beside it
std::uint64_t checkpoint_bytes(const ModelConfig& config, std::int64_t weight_bytes,
                               const TrainingSizes& sizes);

}  // namespace fathom
