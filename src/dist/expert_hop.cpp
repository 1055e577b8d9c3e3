#include "dist/expert_hop.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/turns.h"
#include "dist/collectives.h"
#include "kernels/expert_rows.h"

namespace fathom {
namespace {

constexpr std::size_t kTokensAtOnce = 16;

/// Whom a rank tells how much is to come.
struct Counts {
  std::int64_t tokens = 0;
  std::int64_t slots = 0;
};

/// Parts [bounds[r], bounds[r + 1]) of values, as bytes.
template <typename T>
auto parts_of(std::span<T> values, std::span<const std::size_t> bounds) {
  using Bytes = std::conditional_t<std::is_const_v<T>, std::span<const std::byte>, std::span<std::byte>>;
  std::vector<Bytes> parts;
  for (std::size_t r = 0; r + 1 < bounds.size(); ++r) {
    const std::span<T> part = values.subspan(bounds[r], bounds[r + 1] - bounds[r]);
    if constexpr (std::is_const_v<T>) {
      parts.push_back(std::as_bytes(part));
    } else {
      parts.push_back(std::as_writable_bytes(part));
    }
  }
  return parts;
}

template <typename T>
Transfers exchange(Communicator& ranks, std::span<const T> out, std::span<const std::size_t> out_bounds,
                   std::span<T> in, std::span<const std::size_t> in_bounds) {
  return all_to_all(ranks, parts_of(out, out_bounds), parts_of(in, in_bounds));
}

/// Rows on their way, and the room for those that come.
struct RowsUnderWay {
  Kept out;
  Kept in;
  Transfers transfers;
};

std::shared_ptr<RowsUnderWay> begin_rows(Communicator& ranks, Kept out,
                                         std::span<const std::size_t> out_bounds,
                                         std::span<const std::size_t> in_bounds) {
  auto rows = std::make_shared<RowsUnderWay>();
  rows->out = std::move(out);
  rows->in = rows->out.like(static_cast<std::int64_t>(in_bounds.back()));
  const auto begin = [&](auto bytes_of) {
    std::vector<std::span<const std::byte>> from;
    std::vector<std::span<std::byte>> to;
    for (std::size_t r = 0; r + 1 < out_bounds.size(); ++r) {
      from.push_back(bytes_of(rows->out, out_bounds[r], out_bounds[r + 1]));
      to.push_back(bytes_of(rows->in, in_bounds[r], in_bounds[r + 1]));
    }
    rows->transfers.add(all_to_all(ranks, from, to));
  };
  begin([](Kept& kept, std::size_t first, std::size_t last) {
    return kept.row_bytes_of(static_cast<std::int64_t>(first), static_cast<std::int64_t>(last));
  });
  if (rows->out.has_scales())
    begin([](Kept& kept, std::size_t first, std::size_t last) {
      return kept.scale_bytes_of(static_cast<std::int64_t>(first), static_cast<std::int64_t>(last));
    });
  return rows;
}

}  // namespace

void ExpertHop::choose(const ExpertChoices& choices, std::span<const std::int32_t> rank_of,
                       std::size_t ranks) {
  const auto token_count = static_cast<std::size_t>(choices.rows());
  token_bounds_ = {0};
  slot_bounds_ = {0};
  for (std::size_t to = 0; to < ranks; ++to) {
    for (std::size_t t = 0; t < token_count; ++t) {
      const std::size_t before = sent_slots_.size();
      for (std::int32_t slot = choices.first_slot[t]; slot < choices.first_slot[t + 1]; ++slot) {
        const std::int32_t expert = choices.experts[static_cast<std::size_t>(slot)];
        if (static_cast<std::size_t>(rank_of[static_cast<std::size_t>(expert)]) == to)
          sent_slots_.push_back(slot);
      }
      if (sent_slots_.size() > before) sent_tokens_.push_back(static_cast<std::int32_t>(t));
    }
    token_bounds_.push_back(sent_tokens_.size());
    slot_bounds_.push_back(sent_slots_.size());
  }
  first_copy_.assign(token_count + 1, 0);
  for (const std::int32_t t : sent_tokens_) ++first_copy_[static_cast<std::size_t>(t) + 1];
  for (std::size_t t = 0; t < token_count; ++t) first_copy_[t + 1] += first_copy_[t];
  copies_.resize(sent_tokens_.size());
  std::vector<std::int32_t> next(first_copy_.begin(), first_copy_.end() - 1);
  for (std::size_t i = 0; i < sent_tokens_.size(); ++i)
    copies_[static_cast<std::size_t>(next[static_cast<std::size_t>(sent_tokens_[i])]++)] =
        static_cast<std::int32_t>(i);
}

ExpertHop::ExpertHop(Communicator& ranks, const ExpertChoices& choices, std::span<const std::int32_t> rank_of)
    : tokens_(choices.rows()) {
  const auto count = static_cast<std::size_t>(ranks.size());
  choose(choices, rank_of, count);

  std::vector<std::size_t> ones;
  for (std::size_t r = 0; r <= count; ++r) ones.push_back(r);
  std::vector<Counts> going(count);
  for (std::size_t r = 0; r < count; ++r)
    going[r] = {static_cast<std::int64_t>(token_bounds_[r + 1] - token_bounds_[r]),
                static_cast<std::int64_t>(slot_bounds_[r + 1] - slot_bounds_[r])};
  std::vector<Counts> coming(count);
  Turns::wait(exchange(ranks, std::span<const Counts>(going), ones, std::span(coming), ones));
  arrived_token_bounds_ = {0};
  arrived_slot_bounds_ = {0};
  for (const Counts& counts : coming) {
    arrived_token_bounds_.push_back(arrived_token_bounds_.back() + static_cast<std::size_t>(counts.tokens));
    arrived_slot_bounds_.push_back(arrived_slot_bounds_.back() + static_cast<std::size_t>(counts.slots));
  }
  require(arrived_slot_bounds_.back() <= INT32_MAX,
          "{} choices of experts come to one rank in one pass: lower training.micro_batch_size",
          arrived_slot_bounds_.back());

  going_.slots.resize(sent_tokens_.size());
  std::size_t at = 0;
  for (std::size_t r = 0; r < count; ++r)
    for (std::size_t i = token_bounds_[r]; i < token_bounds_[r + 1]; ++i) {
      const auto t = static_cast<std::size_t>(sent_tokens_[i]);
      for (; at < slot_bounds_[r + 1] && sent_slots_[at] < choices.first_slot[t + 1]; ++at) {
        ++going_.slots[i];
        going_.experts.push_back(choices.experts[static_cast<std::size_t>(sent_slots_[at])]);
        going_.gates.push_back(choices.gates[static_cast<std::size_t>(sent_slots_[at])]);
      }
    }
  coming_.slots.resize(arrived_token_bounds_.back());
  coming_.experts.resize(arrived_slot_bounds_.back());
  coming_.gates.resize(arrived_slot_bounds_.back());
  telling_.add(exchange(ranks, std::span<const std::int32_t>(going_.slots), token_bounds_,
                        std::span(coming_.slots), arrived_token_bounds_));
  telling_.add(exchange(ranks, std::span<const std::int32_t>(going_.experts), slot_bounds_,
                        std::span(coming_.experts), arrived_slot_bounds_));
  telling_.add(exchange(ranks, std::span<const float>(going_.gates), slot_bounds_, std::span(coming_.gates),
                        arrived_slot_bounds_));
}

const ExpertChoices& ExpertHop::arrived() {
  if (is_told_) return arrived_;
  Turns::wait(telling_);
  for (const std::int32_t slots : coming_.slots)
    arrived_.first_slot.push_back(arrived_.first_slot.back() + slots);
  arrived_.experts = std::move(coming_.experts);
  arrived_.gates = std::move(coming_.gates);
  going_ = {};
  coming_ = {};
  is_told_ = true;
  return arrived_;
}

ExpertRoute::Arriving ExpertHop::dispatch(Communicator& ranks, const Kept& rows) const {
  const std::shared_ptr<RowsUnderWay> under_way =
      begin_rows(ranks, rows.copied(sent_tokens_), token_bounds_, arrived_token_bounds_);
  return [under_way] {
    Turns::wait(under_way->transfers);
    return under_way->in;
  };
}

ExpertRoute::Combining ExpertHop::combine(Communicator& ranks, const Context& context,
                                          const Tensor& rows) const {
  const RowFormat format = context.precision == Precision::f32 ? RowFormat::f32 : RowFormat::bf16;
  const std::shared_ptr<RowsUnderWay> under_way =
      begin_rows(ranks, Kept(context, rows, format), arrived_token_bounds_, token_bounds_);
  return [this, context, under_way](Tensor& y) {
    Turns::wait(under_way->transfers);
    const Tensor back = under_way->in.f32(context);
    const std::int64_t dim = y.dim(1);
    context.pool.parallel_ranges(
        static_cast<std::size_t>(tokens_), kTokensAtOnce, [&](std::size_t begin, std::size_t end) {
          for (std::size_t t = begin; t < end; ++t)
            kernels::add_weighted_rows(back.f32(), copies_.data() + first_copy_[t], nullptr,
                                       first_copy_[t + 1] - first_copy_[t], dim,
                                       y.f32() + static_cast<std::int64_t>(t) * dim);
        });
  };
}

ExpertHop::Returning ExpertHop::return_to_slots(Communicator& ranks, std::span<const float> values) const {
  struct UnderWay {
    std::vector<float> out;
    std::vector<float> back;
    Transfers transfers;
  };
  const auto under_way = std::make_shared<UnderWay>();
  under_way->out.assign(values.begin(), values.end());
  under_way->back.resize(sent_slots_.size());
  under_way->transfers = exchange(ranks, std::span<const float>(under_way->out), arrived_slot_bounds_,
                                  std::span(under_way->back), slot_bounds_);
  return [this, under_way] {
    Turns::wait(under_way->transfers);
    std::vector<float> slots(under_way->back.size());
    for (std::size_t i = 0; i < slots.size(); ++i)
      slots[static_cast<std::size_t>(sent_slots_[i])] = under_way->back[i];
    return slots;
  };
}

}  // namespace fathom
