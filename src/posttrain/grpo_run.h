#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/thread_pool.h"
#include "model/latent_cache.h"
#include "posttrain/policy_loss.h"

namespace fathom {

/// What the parts of a reward count.
struct RewardWeights {
  double accuracy = 1.0;
  double format = 0.1;
  double language = 0.0;
  double length = 0.0;
};

/// Group relative policy optimisation (arXiv 2402.03300; DeepSeek-R1, arXiv 2501.12948).
struct GrpoOptions {
  std::filesystem::path model;   // to begin with, and, where there is a KL term, to hold on to
  std::filesystem::path output;  // the run folder
  std::string task;              // as `make_task` takes it
  std::string chat_template;     // as `named_chat_source` takes it
  std::int64_t steps = 100;
  std::int64_t questions = 16;  // of a step
  std::int64_t answers = 8;     // to each
  std::int64_t max_tokens = 256;
  double temperature = 1.0;
  double learning_rate = 1e-6;
  std::int64_t warmup_steps = 5;
  std::int64_t updates = 1;  // of a step
  double gradient_clip = 1.0;
  std::int64_t pass_tokens = 4096;
  PolicyLossOptions loss;
  AdvantageKind advantage = AdvantageKind::normalised;
  RewardWeights reward;
  /// Questions are drawn, at most four times as many as there are to be, until the answers to so many differ
  /// in reward (DAPO).
  bool dynamic_sampling = false;
  std::uint64_t seed = 1;
  LatentType cache_type = LatentType::f32;  // while answers are given: nearest to what is learned
  std::int64_t at_once = 64;                // answers
  std::uint64_t cache_bytes = 2ULL << 30U;
  std::int64_t eval_interval = 20;  // 0: never
  std::int64_t eval_count = 200;    // of test problems
  std::int64_t checkpoint_interval = 50;
  bool resume = false;
  const std::atomic<bool>* stop = nullptr;  // when raised, end after the step under way with a checkpoint
};

/// Means over a step.
struct GrpoMetrics {
  std::int64_t step = 0;
  double reward = 0;
  double accuracy = 0;
  double format = 0;
  double length = 0;       // tokens of an answer
  double cut = 0;          // part of the answers that the limit of their length ended
  double informative = 0;  // part of the groups whose rewards differ
  double loss = 0;
  double kl = 0;
  double clipped = 0;
  double ratio = 1;
  double gradient_norm = 0;
  double learning_rate = 0;
  /// Mean difference of an answer token's log-probability in training from that while it was given, which is
  /// nought but for rounding and, in a mixture of experts, for tokens that rounding sends to others.
  double mismatch = 0;
  double sampling_seconds = 0;
  double learning_seconds = 0;
  double other_seconds = 0;
  double tokens_per_second = 0;  // sampled
};

/// Greedy answers to test problems.
struct GrpoEvaluation {
  std::int64_t step = 0;
  double accuracy = 0;
  double length = 0;
};

struct GrpoResult {
  std::int64_t step = 0;
  bool complete = false;
  std::filesystem::path checkpoint;
  std::optional<GrpoEvaluation> evaluation;  // the last one
};

/// Trains a policy by rewards that a program gives, in one process: answers come in batches from the engine
/// that serves, by the very weights that are trained. The run folder has checkpoints, each a model folder,
/// and metrics.jsonl. Questions and random numbers are functions of seed and step, so a run that is resumed
/// goes on as it would have. Throws `Error` where the folder holds a run and `resume` is false.
GrpoResult run_grpo(const GrpoOptions& options, ThreadPool& pool,
                    const std::function<void(const GrpoMetrics&)>& on_step,
                    const std::function<void(const GrpoEvaluation&)>& on_evaluation);

/// Throws `UsageError` naming the option that is out of range.
void validate_grpo_options(const GrpoOptions& options);

}  // namespace fathom
