#include "infer/mtp_drafter.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "model/latent_cache.h"
#include "model/weights.h"

namespace fathom {
namespace {

/// Rows of states, of which the first ones leave and new ones come.
class StateRows {
 public:
  explicit StateRows(std::int64_t width) : width_(width) {}

  [[nodiscard]] std::int64_t first() const { return first_; }
  [[nodiscard]] std::int64_t end() const {
    return first_ + static_cast<std::int64_t>(values_.size()) / width_;
  }
  void append(const float* rows, std::int64_t count) {
    values_.insert(values_.end(), rows, rows + count * width_);
  }
  void begin_at(std::int64_t row) {
    values_.clear();
    first_ = row;
  }
  /// Forgets the rows before `row`.
  void drop_before(std::int64_t row) {
    row = std::clamp(row, first_, end());
    values_.erase(values_.begin(), values_.begin() + (row - first_) * width_);
    first_ = row;
  }
  /// Forgets `row` and all behind it.
  void drop_from(std::int64_t row) {
    values_.resize(static_cast<std::size_t>((std::clamp(row, first_, end()) - first_) * width_));
  }
  [[nodiscard]] const float* row(std::int64_t index) const {
    return values_.data() + (index - first_) * width_;
  }

 private:
  std::int64_t width_;
  std::int64_t first_ = 0;  // place of the first row
  std::vector<float> values_;
};

}  // namespace

/// Row i of module k joins the state before it at place i of the text, which is the model's own or module
/// k - 1's, with token i + 1 + k.
class MtpDrafter::Text : public Drafter::State {
 public:
  struct Level {
    LatentCache cache;  // its first row is row `cached_from`
    StateRows states;   // the rows that the module has yet to see
    std::int64_t cached_from = 0;

    /// Takes states of rows from `row` on. Where rows were left out, or are too many to be seen, the cache
    /// begins anew with what there is.
    void take(std::int64_t row, const float* rows, std::int64_t count) {
      const bool leaves_out = row != states.end();
      if (leaves_out) states.begin_at(row);
      states.append(rows, count);
      const bool too_many = states.end() - states.first() > kMostPending;
      if (too_many) states.drop_before(states.end() - kMostPending);
      if (!leaves_out && !too_many) return;
      cache.truncate(0);
      cached_from = states.first();
    }
    /// Keeps what is true of a text whose rows end at `end`, in the cache and of the states behind that.
    void settle(std::int64_t end, std::int64_t states_end) {
      cache.truncate(std::max<std::int64_t>(0, end - cached_from));
      states.drop_before(cached_from + cache.length());
      states.drop_from(states_end);
    }
  };

  Text(const Transformer& model, std::int64_t capacity) {
    for (std::int64_t k = 0; k < model.mtp_modules(); ++k)
      levels.push_back({model.make_mtp_cache(capacity), StateRows(model.config().hidden_size)});
  }

  /// Takes the last `drafts` tokens back, and the one before them, which the model has yet to read.
  void forget(std::size_t drafts) {
    const auto known = static_cast<std::int64_t>(tokens.size() - drafts);
    for (std::size_t k = 0; k < levels.size(); ++k) {
      const auto module = static_cast<std::int64_t>(k);
      levels[k].settle(known - 1 - module, known - module);
    }
    tokens.resize(static_cast<std::size_t>(known - 1));
  }

  std::vector<std::int32_t> tokens;
  std::vector<Level> levels;  // [modules]
};

MtpDrafter::Text& MtpDrafter::text_of(const Job& job) {
  return static_cast<Text&>(job.state);
}

MtpDrafter::MtpDrafter(const Transformer& model, std::int64_t with_text)
    : model_(model), with_text_(with_text) {
  require(model.mtp_modules() > 0, "the model has no MTP module to draft with");
  const ModelConfig& config = model.config();
  const ParameterCounts counts = count_parameters(config);
  // A draft reads the experts that one token is sent to, and the head.
  const std::int64_t unused = config.is_moe_layer(config.num_hidden_layers)
                                  ? 3 * config.hidden_size * config.moe_intermediate_size *
                                        (config.n_routed_experts - config.num_experts_per_tok)
                                  : 0;
  const std::int64_t head = config.vocab_size * config.hidden_size;
  cost_of_draft_ = static_cast<double>(counts.mtp_module - unused + head) /
                   static_cast<double>(counts.activated_without_input_embedding);
}

std::int64_t MtpDrafter::bytes_per_token() const {
  return model_.mtp_modules() * model_.config().latent_dim() * static_cast<std::int64_t>(sizeof(float));
}

std::unique_ptr<Drafter::State> MtpDrafter::begin(std::int64_t capacity) const {
  return std::make_unique<Text>(model_, capacity);
}

void MtpDrafter::read(State& state, std::span<const std::int32_t> tokens, const Tensor& hidden) const {
  auto& text = static_cast<Text&>(state);
  text.tokens.insert(text.tokens.end(), tokens.begin(), tokens.end());
  if (!hidden.defined()) return;  // the module begins anew behind them
  text.levels.front().take(static_cast<std::int64_t>(text.tokens.size() - tokens.size()), hidden.f32(),
                           hidden.dim(0));
}

/// One pass of a module: rows of the texts that want a draft of this depth.
struct MtpDrafter::Pass {
  std::int64_t module = 0;
  bool is_again = false;  // of a module that has given these texts a draft already
  std::vector<std::size_t> texts;
  std::vector<std::int64_t> first_rows;  // [texts] the first time
  std::vector<std::int32_t> tokens;
  std::vector<float> states;
  Sequences sequences{{0}};
  std::vector<LatentCache*> caches;  // [texts]

  void add(std::size_t index, Text& text, const Tensor& last_state) {
    Text::Level& level = text.levels[static_cast<std::size_t>(module)];
    const std::int64_t row = level.states.first();
    if (is_again) {
      tokens.push_back(text.tokens.back());
      states.insert(states.end(), last_state.values().begin(), last_state.values().end());
    } else {
      if (row == level.states.end()) return;
      for (std::int64_t i = row; i < level.states.end(); ++i)
        tokens.push_back(text.tokens[static_cast<std::size_t>(i + 1 + module)]);
      states.insert(states.end(), level.states.row(row), level.states.row(level.states.end()));
    }
    texts.push_back(index);
    first_rows.push_back(row);
    sequences.offsets.push_back(static_cast<std::int64_t>(tokens.size()));
    caches.push_back(&level.cache);
  }
};

void MtpDrafter::draft(const Context& context, std::span<Job> jobs) const {
  std::vector<Sampler> samplers;
  std::vector<Tensor> last_states(jobs.size());  // [1, hidden] that a text's last draft came from
  std::int64_t deepest = 0;
  for (Job& job : jobs) {
    job.drafts.clear();
    samplers.push_back(job.sampler);
    text_of(job).tokens.push_back(job.next);
    deepest = std::max(deepest, job.count);
  }
  for (std::int64_t depth = 1; depth <= deepest; ++depth) {
    Pass pass;
    pass.module = std::min(depth, model_.mtp_modules()) - 1;
    pass.is_again = depth > model_.mtp_modules();
    for (std::size_t i = 0; i < jobs.size(); ++i)
      if (jobs[i].count >= depth && static_cast<std::int64_t>(jobs[i].drafts.size()) == depth - 1)
        pass.add(i, text_of(jobs[i]), last_states[i]);
    if (pass.texts.empty()) break;
    run(context, pass, jobs, samplers, last_states);
  }
  for (Job& job : jobs) text_of(job).forget(job.drafts.size());
}

void MtpDrafter::run(const Context& context, const Pass& pass, std::span<Job> jobs,
                     std::span<Sampler> samplers, std::span<Tensor> last_states) const {
  const std::int64_t width = model_.config().hidden_size;
  Tensor states = Tensor::empty({pass.sequences.tokens(), width});
  std::ranges::copy(pass.states, states.f32());
  const Tensor out =
      model_.mtp_forward_cached(context, pass.module, pass.tokens, states, {pass.sequences, pass.caches});
  const bool has_successor = !pass.is_again && pass.module + 1 < model_.mtp_modules();
  Tensor last = Tensor::empty({static_cast<std::int64_t>(pass.texts.size()), width});
  for (std::size_t i = 0; i < pass.texts.size(); ++i) {
    const std::int64_t begin = pass.sequences.offsets[i];
    const std::int64_t end = pass.sequences.offsets[i + 1];
    const float* row = out.f32() + (end - 1) * width;
    std::copy_n(row, width, last.f32() + static_cast<std::int64_t>(i) * width);
    last_states[pass.texts[i]] = out.rows(end - 1, end);
    if (has_successor)
      text_of(jobs[pass.texts[i]])
          .levels[static_cast<std::size_t>(pass.module) + 1]
          .take(pass.first_rows[i], out.f32() + begin * width, end - begin);
  }
  const Tensor logits = model_.head(context, last);
  for (std::size_t i = 0; i < pass.texts.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    Job& job = jobs[pass.texts[i]];
    if (draw_draft(logits.rows(row, row + 1), with_text_, samplers[pass.texts[i]], job.drafts))
      text_of(job).tokens.push_back(job.drafts.back());
  }
}

}  // namespace fathom
