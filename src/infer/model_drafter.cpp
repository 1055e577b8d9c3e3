#include "infer/model_drafter.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "model/latent_cache.h"
#include "model/weights.h"

namespace fathom {
namespace {

constexpr std::int64_t kReadingBlock = 512;  // tokens of a text that one pass reads at most

}  // namespace

struct ModelDrafter::Text : Drafter::State {
  Text(const ModelConfig& config, std::int64_t capacity) : cache(config, capacity) {}

  std::vector<std::int32_t> tokens;
  LatentCache cache;  // of the first ones
};

ModelDrafter::ModelDrafter(const Transformer& drafting, const Transformer& drafted, std::int64_t with_text)
    : model_(drafting),
      with_text_(with_text),
      cost_of_draft_(
          static_cast<double>(count_parameters(drafting.config()).activated_without_input_embedding) /
          static_cast<double>(count_parameters(drafted.config()).activated_without_input_embedding)) {
  require(drafting.config().vocab_size >= with_text,
          "the draft model has {} tokens and the model's vocabulary {}: give one of the same vocabulary",
          drafting.config().vocab_size, with_text);
}

std::int64_t ModelDrafter::bytes_per_token() const {
  const ModelConfig& config = model_.config();
  return config.num_hidden_layers * config.latent_dim() * static_cast<std::int64_t>(sizeof(float));
}

std::unique_ptr<Drafter::State> ModelDrafter::begin(std::int64_t capacity) const {
  return std::make_unique<Text>(model_.config(), std::min(capacity, model_.max_positions()));
}

void ModelDrafter::read(State& state, std::span<const std::int32_t> tokens, const Tensor& /*hidden*/) const {
  std::vector<std::int32_t>& text = static_cast<Text&>(state).tokens;
  text.insert(text.end(), tokens.begin(), tokens.end());
}

void ModelDrafter::draft(const Context& context, std::span<Job> jobs) const {
  for (Job& job : jobs) {
    auto& text = static_cast<Text&>(job.state);
    job.drafts.clear();
    text.tokens.push_back(job.next);
    const auto known = static_cast<std::int64_t>(text.tokens.size());
    const std::int64_t count = std::min(job.count, text.cache.capacity - known + 1);
    Sampler sampler = job.sampler;
    while (static_cast<std::int64_t>(job.drafts.size()) < count) {
      Tensor hidden;
      while (text.cache.length() < static_cast<std::int64_t>(text.tokens.size())) {
        const std::int64_t begin = text.cache.length();
        const std::int64_t unread = static_cast<std::int64_t>(text.tokens.size()) - begin;
        hidden =
            model_.forward_cached(context,
                                  std::span(text.tokens)
                                      .subspan(static_cast<std::size_t>(begin),
                                               static_cast<std::size_t>(std::min(unread, kReadingBlock))),
                                  text.cache);
      }
      const Tensor logits = model_.head(context, hidden.rows(hidden.dim(0) - 1, hidden.dim(0)));
      if (!draw_draft(logits, with_text_, sampler, job.drafts)) break;
      text.tokens.push_back(job.drafts.back());
    }
    text.cache.truncate(known);
    text.tokens.resize(static_cast<std::size_t>(known - 1));
  }
}

void require_same_vocabulary(const Tokenizer& tokenizer, const std::string& model,
                             const Tokenizer& draft_tokenizer, const std::string& draft_model) {
  const std::int64_t size = tokenizer.vocab_size();
  require(draft_tokenizer.vocab_size() == size,
          "{}: its vocabulary has {} tokens and that of {} {}: a draft model needs the same vocabulary",
          draft_model, draft_tokenizer.vocab_size(), model, size);
  const auto spelling = [](const Tokenizer& of, std::int64_t id) {
    try {
      return of.token_spelling(id);
    } catch (const Error&) {  // a hole between ids
      return std::string_view();
    }
  };
  for (std::int64_t id = 0; id < size; ++id) {
    const std::string_view there = spelling(draft_tokenizer, id);
    const std::string_view here = spelling(tokenizer, id);
    require(there == here, "{}: token {} is \"{}\" and in {} \"{}\": a draft model needs the same vocabulary",
            draft_model, id, printable(there), model, printable(here));
  }
}

}  // namespace fathom
