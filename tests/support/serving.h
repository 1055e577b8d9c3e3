#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "infer/text_model.h"

namespace fathom::test {

/// How an engine is spread over ranks, each a thread of this process.
struct EngineSetup {
  int ranks = 1;
  int prefill = 0;
  PlacementOptions placement;
  EngineOptions engine;
  std::vector<std::int64_t> end_of_text;
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

}  // namespace fathom::test
