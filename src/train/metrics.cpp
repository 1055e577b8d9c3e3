#include "train/metrics.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fathom {
namespace {

template <typename T>
OrderedJson or_null(const std::optional<T>& value) {
  return value.has_value() ? OrderedJson(*value) : OrderedJson(nullptr);
}

OrderedJson to_json(const StepMetrics& metrics) {
  OrderedJson json;
  json["step"] = metrics.step;
  json["loss"] = metrics.loss;
  json["mtp_loss"] = or_null(metrics.mtp_loss);
  json["balance_loss"] = metrics.balance_loss;
  json["learning_rate"] = metrics.learning_rate;
  json["mtp_loss_factor"] = metrics.mtp_loss_factor;
  json["router_bias_update_rate"] = metrics.router_bias_update_rate;
  json["batch_size"] = metrics.batch_size;
  json["gradient_norm"] = metrics.gradient_norm;
  json["max_vio"] = or_null(metrics.max_vio);
  json["layer_max_vio"] = metrics.layer_max_vio;
  json["tokens"] = metrics.tokens;
  json["tokens_per_second"] = metrics.tokens_per_second;
  json["checkpoint_stall_seconds"] = metrics.checkpoint_stall_seconds;
  return json;
}

OrderedJson to_json(const EvalMetrics& metrics) {
  OrderedJson json;
  json["step"] = metrics.step;
  json["held_out_loss"] = metrics.loss;
  json["held_out_mtp_loss"] = or_null(metrics.mtp_loss);
  json["held_out_averaged_loss"] = or_null(metrics.averaged_loss);
  json["bits_per_byte"] = metrics.bits_per_byte;
  json["held_out_tokens"] = metrics.tokens;
  json["draft_acceptance"] = metrics.draft_acceptance;
  json["sampled_draft_acceptance"] = metrics.sampled_draft_acceptance;
  json["tokens_per_step"] = or_null(metrics.tokens_per_step);
  json["needle_accuracy"] = or_null(metrics.needle_accuracy);
  json["held_out_max_vio"] = or_null(metrics.max_vio);
  json["held_out_layer_max_vio"] = metrics.layer_max_vio;
  json["held_out_batch_max_vio"] = or_null(metrics.batch_max_vio);
  json["expert_load"] = metrics.expert_load;
  return json;
}

std::optional<double> number_or_none(const Json& value) {
  return value.is_null() ? std::nullopt : std::optional<double>(value.get<double>());
}

// What later versions added may be absent: a run goes on with a newer program than began it.

StepMetrics step_from_json(const Json& json) {
  return {.step = json.at("step").get<std::int64_t>(),
          .loss = json.at("loss").get<double>(),
          .mtp_loss = number_or_none(json.at("mtp_loss")),
          .balance_loss = json.at("balance_loss").get<double>(),
          .learning_rate = json.at("learning_rate").get<double>(),
          .mtp_loss_factor = json.value("mtp_loss_factor", 0.0),
          .router_bias_update_rate = json.value("router_bias_update_rate", 0.0),
          .batch_size = json.value("batch_size", std::int64_t{0}),
          .gradient_norm = json.at("gradient_norm").get<double>(),
          .max_vio = number_or_none(json.at("max_vio")),
          .layer_max_vio = json.at("layer_max_vio").get<std::vector<double>>(),
          .tokens = json.at("tokens").get<std::int64_t>(),
          .tokens_per_second = json.at("tokens_per_second").get<double>(),
          .checkpoint_stall_seconds = json.value("checkpoint_stall_seconds", 0.0)};
}

EvalMetrics eval_from_json(const Json& json) {
  return {.step = json.at("step").get<std::int64_t>(),
          .loss = json.at("held_out_loss").get<double>(),
          .mtp_loss = number_or_none(json.at("held_out_mtp_loss")),
          .averaged_loss = number_or_none(json.value("held_out_averaged_loss", Json())),
          .bits_per_byte = json.at("bits_per_byte").get<double>(),
          .tokens = json.at("held_out_tokens").get<std::int64_t>(),
          .draft_acceptance = json.at("draft_acceptance").get<std::vector<double>>(),
          .sampled_draft_acceptance = json.at("sampled_draft_acceptance").get<std::vector<double>>(),
          .needle_accuracy = number_or_none(json.at("needle_accuracy")),
          .tokens_per_step = number_or_none(json.at("tokens_per_step")),
          .max_vio = number_or_none(json.at("held_out_max_vio")),
          .layer_max_vio = json.value("held_out_layer_max_vio", std::vector<double>()),
          .batch_max_vio = number_or_none(json.value("held_out_batch_max_vio", Json())),
          .expert_load = json.at("expert_load").get<std::vector<std::vector<double>>>()};
}

/// Bytes at the head of the log that hold whole lines of steps up to `last_step`.
std::uint64_t kept_line_bytes(const std::filesystem::path& file, std::int64_t last_step) {
  std::ifstream in(file, std::ios::binary);
  std::uint64_t kept = 0;
  std::string line;
  while (std::getline(in, line) && !in.eof()) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("step") || !json.at("step").is_number_integer()) break;
    if (json.at("step").get<std::int64_t>() > last_step) break;
    kept += line.size() + 1;
  }
  return kept;
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& file, std::int64_t last_step) : file_(file) {
  descriptor_ = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  require(descriptor_ >= 0, "{}: cannot write: {}", file.string(), errno_text(errno));
  struct stat status {};
  const bool regular = fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular || ftruncate(descriptor_, static_cast<off_t>(kept_line_bytes(file, last_step))) != 0) {
    const std::string reason = regular ? errno_text(errno) : "not a regular file";
    close(descriptor_);
    fail("{}: cannot write: {}", file.string(), reason);
  }
}

MetricsLog::~MetricsLog() {
  close(descriptor_);
}

void MetricsLog::append(const StepMetrics& metrics) {
  append_line(to_json(metrics).dump());
}

void MetricsLog::append(const EvalMetrics& metrics) {
  append_line(to_json(metrics).dump());
}

void MetricsLog::append_line(std::string line) {
  line += '\n';
  std::span<const char> rest(line);
  while (!rest.empty()) {
    const ssize_t written = write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "{}: cannot write: {}", file_.string(), errno_text(errno));
    rest = rest.subspan(static_cast<std::size_t>(written));
  }
}

void read_metrics(const std::filesystem::path& file, const std::function<void(const StepMetrics&)>& on_step,
                  const std::function<void(const EvalMetrics&)>& on_eval) {
  std::ifstream in(file, std::ios::binary);
  require(in.is_open(), "{}: cannot open", file.string());
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    const std::string where = fmt::format("{}:{}", file.string(), number);
    const Json json = parse_json(line, where);
    try {
      if (json.contains("held_out_loss")) {
        on_eval(eval_from_json(json));
      } else {
        on_step(step_from_json(json));
      }
    } catch (const Json::exception& error) {
      fail("{}: not a line of metrics: {}", where, error.what());
    }
  }
}

}  // namespace fathom
