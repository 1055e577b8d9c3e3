#include "train/needle.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "base/error.h"
#include "kernels/cross_entropy.h"
#include "model/latent_cache.h"

namespace fathom {
namespace {

constexpr std::int64_t kPrefillBlock = 512;

/// Costs of a forward pass in multiplications, to tell what part of the work is done.
class Work {
 public:
  explicit Work(const ModelConfig& config)
      : per_token_(static_cast<double>(count_parameters(config).activated)),
        per_pair_(static_cast<double>(config.num_hidden_layers * config.num_attention_heads *
                                      (config.qk_head_dim() + config.v_head_dim))) {}

  /// Of tokens [begin, end) of a text, each of which looks at all before it.
  [[nodiscard]] double of(std::size_t begin, std::size_t end) const {
    const auto a = static_cast<double>(begin);
    const auto b = static_cast<double>(end);
    return per_token_ * (b - a) + per_pair_ * (b * b - a * a) / 2;
  }

 private:
  double per_token_;
  double per_pair_;
};

/// One text at one depth: the hay up to the needle's place lies in the cache already or comes first.
struct Pass {
  std::size_t depth;  // index
  std::size_t place;
};

/// Deepest first: what a pass leaves in the cache before its needle serves the next one.
std::vector<Pass> passes(const NeedleText& text, const std::vector<double>& depths) {
  std::vector<Pass> list;
  for (std::size_t d = 0; d < depths.size(); ++d) list.push_back({d, text.place(depths[d])});
  std::ranges::stable_sort(list, std::ranges::greater{}, &Pass::place);
  return list;
}

std::size_t total_tokens(const NeedleText& text) {
  return text.hay().size() + text.needle().size() + text.question().size() + text.answer().size() - 1;
}

/// Runs texts through one cache.
class NeedleSearch {
 public:
  NeedleSearch(const Context& context, const Transformer& model, std::int64_t with_text, std::int64_t longest,
               double total_work, const std::function<bool(double)>& progress)
      : context_(context),
        model_(model),
        with_text_(with_text),
        cache_(model.config(), longest),
        work_(model.config()),
        total_work_(total_work),
        progress_(progress) {}

  [[nodiscard]] bool stopped() const { return stopped_; }

  /// Tries a text at all depths and adds the outcome to the cells of its length.
  void search(const NeedleText& text, const std::vector<double>& depths, std::vector<NeedleCell>& cells) {
    cache_.truncate(0);
    const std::span<const std::int32_t> hay(text.hay());
    for (const Pass& pass : passes(text, depths)) {
      cache_.truncate(static_cast<std::int64_t>(pass.place));
      feed(hay.subspan(static_cast<std::size_t>(cache_.length()),
                       pass.place - static_cast<std::size_t>(cache_.length())));
      feed(text.needle());
      feed(hay.subspan(pass.place));
      // The answer's tokens but the last predict the next ones: they come with the question's last.
      const std::span<const std::int32_t> question(text.question());
      feed(question.first(question.size() - 1));
      std::vector<std::int32_t> last = {question.back()};
      last.insert(last.end(), text.answer().begin(), text.answer().end() - 1);
      const Tensor hidden = feed(last);
      if (stopped_) return;
      judge(hidden, text.answer(), cells[pass.depth]);
    }
  }

 private:
  /// Hidden states of the last block; of nothing when there are no tokens, or the search was stopped.
  Tensor feed(std::span<const std::int32_t> tokens) {
    Tensor hidden;
    while (!tokens.empty() && !stopped_) {
      const std::size_t count = std::min<std::size_t>(tokens.size(), kPrefillBlock);
      const auto begin = static_cast<std::size_t>(cache_.length());
      hidden = model_.forward_cached(context_, tokens.first(count), cache_);
      tokens = tokens.subspan(count);
      done_ += work_.of(begin, begin + count);
      stopped_ = progress_ && !progress_(std::min(1.0, done_ / total_work_));
    }
    return hidden;
  }

  /// The greedy continuation begins with the answer just where each of its tokens is the most probable one
  /// after those before it.
  void judge(const Tensor& hidden, const std::vector<std::int32_t>& answer, NeedleCell& cell) const {
    Tensor logits = model_.head(context_, hidden);
    bool correct = true;
    double log_probability = 0;
    for (std::size_t i = 0; i < answer.size(); ++i) {
      const std::int64_t vocab = logits.dim(1);
      float* row = logits.f32() + static_cast<std::int64_t>(i) * vocab;
      correct = correct && std::max_element(row, row + with_text_) - row == answer[i];
      kernels::log_softmax(row, vocab);
      require(std::isfinite(row[answer[i]]),
              "the model's logits are not numbers: its weights may be damaged");
      log_probability += static_cast<double>(row[answer[i]]);
    }
    cell.correct += correct ? 1 : 0;
    cell.log_probability += log_probability;
  }

  const Context& context_;
  const Transformer& model_;
  std::int64_t with_text_;  // ids that the tokenizer knows; models round their vocabulary up
  LatentCache cache_;
  Work work_;
  double total_work_;
  const std::function<bool(double)>& progress_;
  double done_ = 0;
  bool stopped_ = false;
};

double work_of(const Work& work, const NeedleText& text, const std::vector<double>& depths) {
  double sum = 0;
  std::size_t cached = 0;
  for (const Pass& pass : passes(text, depths)) {
    sum += work.of(std::min(cached, pass.place), total_tokens(text));
    cached = pass.place;
  }
  return sum;
}

}  // namespace

double NeedleMap::accuracy(std::size_t length, std::size_t depth) const {
  return static_cast<double>(cells.at(length).at(depth).correct) / static_cast<double>(options.trials);
}

double NeedleMap::accuracy(std::size_t length) const {
  double sum = 0;
  for (std::size_t d = 0; d < options.depths.size(); ++d) sum += accuracy(length, d);
  return sum / static_cast<double>(options.depths.size());
}

double NeedleMap::accuracy() const {
  double sum = 0;
  for (std::size_t l = 0; l < cells.size(); ++l) sum += accuracy(l);
  return cells.empty() ? 0.0 : sum / static_cast<double>(cells.size());
}

NeedleMap find_needles(const Context& context, const Transformer& model, const Tokenizer& tokenizer,
                       const Haystack& haystack, const NeedleOptions& options,
                       const std::function<bool(double)>& progress) {
  require(!options.lengths.empty() && !options.depths.empty() && options.trials > 0,
          "a needle map needs at least one length, one depth and one trial");
  const std::int64_t longest = *std::ranges::max_element(options.lengths);
  require(longest <= model.max_positions(), "a needle text of {} tokens, the model is made for {}", longest,
          model.max_positions());
  const Work work(model.config());
  std::vector<std::vector<NeedleText>> texts;
  double total_work = 0;
  for (const std::int64_t length : options.lengths) {
    std::vector<NeedleText>& list = texts.emplace_back();
    for (std::int64_t trial = 0; trial < options.trials; ++trial) {
      list.emplace_back(tokenizer, haystack, length, options.distractors,
                        options.seed + static_cast<std::uint64_t>(trial));
      total_work += work_of(work, list.back(), options.depths);
    }
  }

  NeedleMap map{options, {}};
  NeedleSearch search(context, model, std::min(model.config().vocab_size, tokenizer.vocab_size()), longest,
                      total_work, progress);
  for (const std::vector<NeedleText>& list : texts) {
    std::vector<NeedleCell> cells(options.depths.size());
    for (const NeedleText& text : list) search.search(text, options.depths, cells);
    if (search.stopped()) break;
    for (NeedleCell& cell : cells) cell.log_probability /= static_cast<double>(options.trials);
    map.cells.push_back(std::move(cells));
  }
  return map;
}

}  // namespace fathom
