#include "serve/completion_json.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace fathom {
namespace {

std::string text_of(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

OrderedJson labelled(const CompletionLabel& label) {
  return {
      {"id", label.id}, {"object", "text_completion"}, {"created", label.created}, {"model", label.model}};
}

OrderedJson choice(std::string_view text, std::optional<StopReason> reason) {
  return {{"index", 0},
          {"text", text},
          {"logprobs", nullptr},
          {"finish_reason", reason ? OrderedJson(finish_reason_name(*reason)) : OrderedJson(nullptr)}};
}

OrderedJson usage(const GenerationStats& stats) {
  return {{"prompt_tokens", stats.prompt_tokens},
          {"completion_tokens", stats.answer_tokens},
          {"total_tokens", stats.prompt_tokens + stats.answer_tokens},
          {"prompt_tokens_details", {{"cached_tokens", stats.cached_tokens}}}};
}

}  // namespace

std::string_view finish_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::end_of_text:
    case StopReason::stop_string:
      return "stop";
    case StopReason::max_tokens:
    case StopReason::context_full:
      return "length";
    case StopReason::cancelled:
      break;
  }
  return "cancelled";
}

std::string completion_json(const CompletionLabel& label, const Answer& answer) {
  OrderedJson json = labelled(label);
  json["choices"] = OrderedJson::array({choice(answer.text, answer.reason)});
  json["usage"] = usage(answer.stats);
  return text_of(json);
}

std::string completion_chunk_json(const CompletionLabel& label, std::string_view text,
                                  std::optional<StopReason> reason) {
  OrderedJson json = labelled(label);
  json["choices"] = OrderedJson::array({choice(text, reason)});
  return text_of(json);
}

std::string completion_usage_json(const CompletionLabel& label, const GenerationStats& stats) {
  OrderedJson json = labelled(label);
  json["choices"] = OrderedJson::array();
  json["usage"] = usage(stats);
  return text_of(json);
}

std::string models_json(const std::string& model, std::int64_t created) {
  const OrderedJson one = {{"id", model}, {"object", "model"}, {"created", created}, {"owned_by", "fathom"}};
  return text_of({{"object", "list"}, {"data", OrderedJson::array({one})}});
}

}  // namespace fathom
