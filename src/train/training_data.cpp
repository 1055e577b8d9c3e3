#include "train/training_data.h"

#include <cstddef>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "train/batch_loader.h"
#include "train/sample_loader.h"
#include "train/sample_set.h"
#include "train/token_dataset.h"

namespace fathom {
namespace {

class TextData : public TrainingData {
 public:
  TextData(const std::filesystem::path& folder, const DataManifest& manifest, const TrainingConfig& training,
           ThreadPool& pool)
      : training_(training),
        train_(open_sources(folder, manifest, "train", pool)),
        held_out_(open_sources(folder, manifest, "held_out", pool)),
        loader_(train_, training.sequence_length, static_cast<std::uint64_t>(training.seed)) {}

  [[nodiscard]] const SequenceSource& train() const override { return loader_; }
  [[nodiscard]] std::vector<HeldOutText> held_out() const override {
    return held_out_text(held_out_, training_.sequence_length, training_.micro_batch(),
                         training_.eval_tokens);
  }
  void announce(std::int64_t places) const override {
    if (train_.size() == 1) return;
    for (std::size_t i = 0; i < train_.size(); ++i)
      log_info("source {}: {:.2f} % of the sequences, {} tokens, {:.2f} epochs in {} steps",
               printable(train_[i].name), 100 * loader_.share(i),
               format_count(static_cast<std::uint64_t>(train_[i].tokens.tokens())), loader_.epochs(i, places),
               training_.steps);
  }

 private:
  const TrainingConfig& training_;
  std::vector<SourceTokens> train_;
  std::vector<SourceTokens> held_out_;
  BatchLoader loader_;
};

class SampleData : public TrainingData {
 public:
  SampleData(const std::filesystem::path& folder, const DataManifest& manifest,
             const TrainingConfig& training, ThreadPool& pool)
      : training_(training),
        train_(folder, manifest, "train", pool),
        held_out_(folder, manifest, "held_out", pool),
        loader_(train_, training.sequence_length, static_cast<std::uint64_t>(training.seed)) {
    if (held_out_.count() > 0)
      held_out_packs_.emplace(held_out_, training.sequence_length, static_cast<std::uint64_t>(training.seed));
  }

  [[nodiscard]] const SequenceSource& train() const override { return loader_; }
  [[nodiscard]] std::vector<HeldOutText> held_out() const override {
    if (!held_out_packs_) return {};
    return held_out_text(*held_out_packs_, training_.micro_batch(), training_.eval_tokens);
  }
  void announce(std::int64_t places) const override {
    log_info("{} samples in {} packs of {} tokens, {:.0f} % full: {:.2f} epochs in {} steps",
             train_.count() - loader_.left_out(), loader_.packs_per_epoch(), training_.sequence_length,
             100 * loader_.fill(),
             static_cast<double>(places) / static_cast<double>(loader_.packs_per_epoch()), training_.steps);
    if (loader_.cut_samples() > 0)
      log_warning(
          "{} samples are longer than {} tokens, and only their beginnings are learned: raise "
          "training.sequence_length to have them whole",
          loader_.cut_samples(), training_.sequence_length);
    if (loader_.left_out() > 0)
      log_warning("{} samples have nothing to learn within their first {} tokens, and are left out",
                  loader_.left_out(), training_.sequence_length);
  }

 private:
  const TrainingConfig& training_;
  SampleSet train_;
  SampleSet held_out_;
  SampleLoader loader_;
  std::optional<SampleLoader> held_out_packs_;
};

}  // namespace

std::unique_ptr<TrainingData> open_training_data(const std::filesystem::path& folder,
                                                 const DataManifest& manifest, const TrainingConfig& training,
                                                 ThreadPool& pool) {
  if (manifest.has_samples()) return std::make_unique<SampleData>(folder, manifest, training, pool);
  return std::make_unique<TextData>(folder, manifest, training, pool);
}

}  // namespace fathom
