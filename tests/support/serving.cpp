#include "support/serving.h"

#include <optional>
#include <utility>

#include "support/ranks.h"

namespace fathom::test {

void with_engine(const TextModel& model, const EngineSetup& setup, const std::function<void(Engine&)>& use) {
  const Transformer transformer(model.config, model.weights, model.config.max_position_embeddings);
  on_ranks(setup.ranks, [&](Communicator& job) {
    ThreadPool pool(1);
    const ServingLayout layout = serving_layout(setup.ranks, setup.prefill);
    ServingRank rank(pool, transformer, model.tokenizer, job, layout, setup.placement, setup.engine.cache);
    GrammarCompiler grammars(model.tokenizer, setup.end_of_text);
    rank.runner().use_grammars(grammars);
    const std::unique_ptr<Drafter> drafter = setup.drafter ? setup.drafter(transformer) : nullptr;
    std::optional<Speculation> speculation;
    if (drafter != nullptr)
      rank.runner().speculate(speculation.emplace(model.config, *drafter, setup.speculation));
    if (job.rank() == 0) {
      Engine engine(job, layout, rank.runner(), transformer, model.tokenizer, setup.end_of_text,
                    setup.engine);
      use(engine);
    } else {
      rank.follow();
    }
    const ExpertCounts counts = rank.all_expert_counts();
    if (job.rank() == 0 && setup.counts != nullptr) *setup.counts = counts;
  });
}

Asked ask(Engine& engine, std::vector<std::int32_t> prompt, const GenerationOptions& options,
          const std::function<void()>& on_text) {
  const auto promise = std::make_shared<std::promise<Outcome>>();
  Asked asked;
  asked.outcome = promise->get_future();
  asked.request = engine.submit(
      std::move(prompt), options,
      [streamed = asked.streamed, on_text](std::string_view piece) {
        *streamed += piece;
        if (on_text) on_text();
      },
      [promise](Outcome outcome) { promise->set_value(std::move(outcome)); });
  return asked;
}

}  // namespace fathom::test
