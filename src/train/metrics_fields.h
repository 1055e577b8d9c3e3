#pragma once

#include <concepts>
#include <string_view>
#include <type_traits>

#include "train/metrics.h"

namespace fathom {

/// How a field of a record of metrics is called and what its entries are.
struct MetricsField {
  enum class Entries : std::uint8_t { none, layers, modules, sources };

  std::string_view name;            // the key in metrics.jsonl
  Entries entries = Entries::none;  // MoE layers, MTP modules or sources, where the field is a list
  bool required = false;            // what makes a line a record: later additions may be absent in a log
};

/// The list of a record's fields, in the order of its line: the log, its reader and TensorBoard's curves all
/// walk it, so that none can miss one.
/// @param visit  called with (MetricsField, reference to the field)
template <typename Metrics, typename Visit>
requires std::same_as<std::remove_const_t<Metrics>, StepMetrics>
void visit_fields(Metrics& metrics, Visit&& visit) {
  using Entries = MetricsField::Entries;
  visit(MetricsField{"step", Entries::none, true}, metrics.step);
  visit(MetricsField{"loss", Entries::none, true}, metrics.loss);
  visit(MetricsField{"mtp_loss"}, metrics.mtp_loss);
  visit(MetricsField{"balance_loss"}, metrics.balance_loss);
  visit(MetricsField{"learning_rate"}, metrics.learning_rate);
  visit(MetricsField{"mtp_loss_factor"}, metrics.mtp_loss_factor);
  visit(MetricsField{"router_bias_update_rate"}, metrics.router_bias_update_rate);
  visit(MetricsField{"batch_size"}, metrics.batch_size);
  visit(MetricsField{"gradient_norm"}, metrics.gradient_norm);
  visit(MetricsField{"max_vio"}, metrics.max_vio);
  visit(MetricsField{"layer_max_vio", Entries::layers}, metrics.layer_max_vio);
  visit(MetricsField{"tokens"}, metrics.tokens);
  visit(MetricsField{"tokens_per_second"}, metrics.tokens_per_second);
  visit(MetricsField{"checkpoint_stall_seconds"}, metrics.checkpoint_stall_seconds);
}

/// The same for a measurement.
template <typename Metrics, typename Visit>
requires std::same_as<std::remove_const_t<Metrics>, EvalMetrics>
void visit_fields(Metrics& metrics, Visit&& visit) {
  using Entries = MetricsField::Entries;
  visit(MetricsField{"step", Entries::none, true}, metrics.step);
  visit(MetricsField{"held_out_loss", Entries::none, true}, metrics.loss);
  visit(MetricsField{"held_out_mtp_loss"}, metrics.mtp_loss);
  visit(MetricsField{"held_out_averaged_loss"}, metrics.averaged_loss);
  visit(MetricsField{"held_out_source_loss", Entries::sources}, metrics.source_loss);
  visit(MetricsField{"bits_per_byte"}, metrics.bits_per_byte);
  visit(MetricsField{"held_out_tokens"}, metrics.tokens);
  visit(MetricsField{"draft_acceptance", Entries::modules}, metrics.draft_acceptance);
  visit(MetricsField{"sampled_draft_acceptance", Entries::modules}, metrics.sampled_draft_acceptance);
  visit(MetricsField{"tokens_per_step"}, metrics.tokens_per_step);
  visit(MetricsField{"needle_accuracy"}, metrics.needle_accuracy);
  visit(MetricsField{"held_out_max_vio"}, metrics.max_vio);
  visit(MetricsField{"held_out_layer_max_vio", Entries::layers}, metrics.layer_max_vio);
  visit(MetricsField{"held_out_batch_max_vio"}, metrics.batch_max_vio);
  visit(MetricsField{"expert_load", Entries::layers}, metrics.expert_load);
}

}  // namespace fathom
