#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "infer/drafter.h"
#include "infer/engine.h"
#include "infer/speculation.h"
#include "infer/text_model.h"

namespace fathom::test {

/// How an engine is spread over ranks, each a thread of this process.
struct EngineSetup {
  int ranks = 1;
  int prefill = 0;
  PlacementOptions placement;
  EngineOptions engine;
  std::vector<std::int64_t> end_of_text;
  /// Makes who drafts; empty: nobody.
  std::function<std::unique_ptr<Drafter>(const Transformer&)> drafter;
  SpeculationOptions speculation{.most_drafts = 3, .adaptive = false};  // whether it pays or not
  ExpertCounts* counts = nullptr;  // where wanted: those of all ranks, in the end
};

/// Calls `use` on the first rank; the others follow.
void with_engine(const TextModel& model, const EngineSetup& setup, const std::function<void(Engine&)>& use);

/// A request that was submitted, with what comes of it.
struct Asked {
  Engine::Request request;
  std::future<Outcome> outcome;
  std::shared_ptr<std::string> streamed = std::make_shared<std::string>();
};

/// @param on_text  called for each piece of text beside
Asked ask(Engine& engine, std::vector<std::int32_t> prompt, const GenerationOptions& options,
          const std::function<void()>& on_text = {});

/// Has the thread of the engine that ends a request stand still there, until it goes.
class StandStill {
 public:
  StandStill() : goes_on_(go_on_.get_future()) {}
  ~StandStill() { go_on_.set_value(); }
  StandStill(const StandStill&) = delete;
  StandStill& operator=(const StandStill&) = delete;

  /// For `Engine::submit`; the thread may be in it for a moment longer than this lives.
  [[nodiscard]] std::function<void(Outcome)> on_end() const {
    return [stands = stands_, goes_on = goes_on_](const Outcome&) {
      stands->set_value();
      goes_on.wait();
    };
  }
  void wait_until_it_stands() const { stands_->get_future().wait(); }

 private:
  std::promise<void> go_on_;
  std::shared_future<void> goes_on_;
  std::shared_ptr<std::promise<void>> stands_ = std::make_shared<std::promise<void>>();
};

}  // namespace fathom::test
