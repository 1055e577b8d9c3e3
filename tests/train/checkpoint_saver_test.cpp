#include "train/checkpoint_saver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/file.h"
#include "support/error_text.h"
#include "support/file_size_limit.h"
#include "support/shared_data.h"
#include "support/tiny_model.h"

namespace fathom {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(SnapshotTest, HoldsWhatTheTensorsHeldThoughTheyChangeLater) {
  std::vector<Tensor> sources = {Tensor::empty({700, 301}), Tensor::empty({5}),
                                 Tensor::zeros({3}, DType::bf16)};
  std::vector<std::vector<float>> before;
  for (int i = 0; i < 2; ++i) {
    float value = 0;
    for (float& v : sources[static_cast<std::size_t>(i)].values()) v = value += 0.5F;
    const auto values = sources[static_cast<std::size_t>(i)].values();
    before.emplace_back(values.begin(), values.end());
  }
  Snapshot snapshot(sources);
  std::thread beside([&] { snapshot.copy(); });
  snapshot.copy();
  snapshot.wait();
  EXPECT_TRUE(snapshot.done());
  for (Tensor& source : sources) source.fill_zero();
  beside.join();
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_THAT(snapshot.copies()[i].values(), testing::ElementsAreArray(before[i]));
    EXPECT_EQ(snapshot.copies()[i].shape(), sources[i].shape());
  }
  EXPECT_EQ(snapshot.copies()[2].dtype(), DType::bf16);
}

TEST(SnapshotTest, OfNothingIsDone) {
  Snapshot snapshot({});
  snapshot.copy();
  snapshot.wait();
  EXPECT_TRUE(snapshot.done());
}

class CheckpointSaverTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  RunFolder run_{folder_.path() / "run"};
  ModelConfig config_ = test::tiny_v3();
  TrainingConfig training_;
  TransformerWeights weights_ = random_weights(config_, 1);
  Optimizer optimizer_{config_, weights_};
  CheckpointSaver saver_{run_, config_, training_};
  ThreadPool pool_{2};

  void SetUp() override { write_file_atomically(folder_.path() / "tokenizer.json", "{}"); }

  void begin(std::int64_t step) {
    TrainingState state;
    state.step = step;
    state.data = folder_.path();
    saver_.begin(trained_tensors(weights_, optimizer_.moments()), state);
  }
};

TEST_F(CheckpointSaverTest, WritesTheStateAtWhichItBegan) {
  optimizer_.first_moments().norm.values()[0] = 7;
  begin(3);
  saver_.before_change(pool_);
  weights_.norm.fill_zero();
  optimizer_.first_moments().norm.fill_zero();
  saver_.wait();
  EXPECT_EQ(load_training_weights(run_.checkpoint(3), config_).norm.values()[0], 1);
  load_moments(run_.checkpoint(3), config_, optimizer_);
  EXPECT_EQ(optimizer_.first_moments().norm.values()[0], 7);
  EXPECT_EQ(load_training_state(run_.checkpoint(3)).step, 3);
  EXPECT_GT(saver_.take_stall_seconds(), 0);
  EXPECT_EQ(saver_.take_stall_seconds(), 0);
}

TEST_F(CheckpointSaverTest, KeepsTheNewestAndNeverFewer) {
  training_.keep_checkpoints = 2;
  for (const int step : {1, 2, 3, 4, 5}) {
    begin(step);  // waits for the one before
    const std::vector<std::int64_t> there = run_.checkpoints();
    EXPECT_GE(there.size(), std::min<std::size_t>(2, static_cast<std::size_t>(step - 1)));
  }
  saver_.wait();
  EXPECT_THAT(run_.checkpoints(), ElementsAre(4, 5));
}

TEST_F(CheckpointSaverTest, AFailureNamesTheFileAndTheLastGoodCheckpointAndLeavesNothing) {
  begin(1);
  saver_.wait();
  {
    const test::FileSizeLimit limit(1000);
    begin(2);
    EXPECT_THAT(error_of([&] { saver_.wait(); }),
                testing::AllOf(HasSubstr("model.safetensors: cannot write"),
                               HasSubstr("the checkpoint of step 2 was not written: the last good one is"),
                               HasSubstr("step-000001")));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "run" / "checkpoints" / "writing-000002"));
  EXPECT_NO_THROW(saver_.check()) << "said once";
  begin(3);
  saver_.wait();
  EXPECT_THAT(run_.checkpoints(), ElementsAre(1, 3));
}

TEST_F(CheckpointSaverTest, AFailureShowsAtTheNextStep) {
  const test::FileSizeLimit limit(1000);
  begin(1);
  const auto poll = [&] {
    for (int i = 0; i < 1000; ++i) {
      saver_.check();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  };
  EXPECT_THAT(error_of(poll), HasSubstr("there is none yet"));
}

}  // namespace
}  // namespace fathom
