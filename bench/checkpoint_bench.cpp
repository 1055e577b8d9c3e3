// What a checkpoint costs training: how long a step waits for it, as a part of a step, against copying all of
// its tensors at once and against writing it in the foreground, in the same run.
//
// usage: checkpoint_bench [CONFIG.json] [THREADS] [FOLDER]
// The config is by default bench/train_bench_config.json (40 million parameters); checkpoints are written to
// FOLDER, by default the system's temporary one, and removed.

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>

#include "base/file.h"
#include "base/progress.h"
#include "model/random_batch.h"
#include "model/transformer.h"
#include "train/checkpoint_saver.h"
#include "train/optimizer.h"

namespace {

using namespace fathom;

constexpr std::int64_t kSequences = 4;
constexpr std::int64_t kLength = 512;
constexpr int kSteps = 4;

double seconds_of(const auto& work) {
  const double begin = monotonic_seconds();
  work();
  return monotonic_seconds() - begin;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string file =
      argc > 1 ? argv[1] : std::string(FATHOM_SOURCE_DIR) + "/bench/train_bench_config.json";
  ThreadPool pool(argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0);
  const std::filesystem::path parent = argc > 3 ? argv[3] : std::filesystem::temp_directory_path();
  const std::filesystem::path folder = parent / fmt::format("fathom-checkpoint-bench-{}", getpid());
  const Context context{pool};
  const ModelConfig config = load_model_config(file);
  TransformerWeights weights = random_weights(config, 1, &pool);
  const Transformer model(config, weights, kLength);
  Optimizer optimizer(config, weights);
  const Batch batch = random_batch(config, kSequences, kLength);
  const LossFactors factors;

  {
    const RunFolder run(folder);
    write_file_atomically(folder / "tokenizer.json", "{}");
    TrainingConfig training;
    training.keep_checkpoints = 1;
    CheckpointSaver saver(run, config, training);
    TrainingState state;
    state.data = folder;
    const auto tensors = [&] { return trained_tensors(weights, optimizer.moments()); };
    const auto step = [&] {
      Transformer::Saved saved;
      model.forward(context, batch, factors, &saved);
      model.backward(context, batch, factors, 1.0, saved, optimizer.gradients());
      const double norm = optimizer.gradient_norm(context);
      saver.before_change(pool);
      optimizer.step(context, {.learning_rate = 1e-4}, state.step++, norm);
    };
    step();  // touches memory for the first time
    double plain = std::numeric_limits<double>::infinity();
    double with_save = plain;
    double stall = 0;
    double copy = plain;
    for (int i = 0; i < kSteps; ++i) {
      plain = std::min(plain, seconds_of(step));
      copy = std::min(copy, seconds_of([&] { Snapshot(list_tensors(config, tensors())).copy(); }));
      with_save = std::min(with_save, seconds_of([&] {
                             saver.begin(tensors(), state);
                             step();
                           }));
      stall += saver.take_stall_seconds() / kSteps;
      saver.wait();
      saver.take_stall_seconds();
    }
    const double foreground = seconds_of([&] { saver.save(tensors(), state); });
    fmt::print(
        "{} parameters, {} x {} tokens a step, {} threads, {} a checkpoint\n",
        format_count(static_cast<std::uint64_t>(count_parameters(config).total)), kSequences, kLength,
        pool.threads(),
        format_bytes(std::filesystem::file_size(run.checkpoint(state.step) / "model.safetensors") * 3));
    fmt::print("a step                               {:8.1f} ms\n", plain * 1e3);
    fmt::print("it waits for the checkpoint          {:8.2f} ms  {:.2f} % of a step\n", stall * 1e3,
               100 * stall / plain);
    fmt::print("a step beside which one is written   {:8.1f} ms  {:.1f} % more\n", with_save * 1e3,
               100 * (with_save / plain - 1));
    fmt::print("copying it on one thread             {:8.1f} ms  {:.1f} % of a step\n", copy * 1e3,
               100 * copy / plain);
    fmt::print("writing it in the foreground         {:8.1f} ms  {:.0f} % of a step\n", foreground * 1e3,
               100 * foreground / plain);
  }
  std::filesystem::remove_all(folder);
  return 0;
}
