#include "train/metrics.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "train/metrics_fields.h"

namespace fathom {
namespace {

template <typename T>
OrderedJson value_to_json(const T& value) {
  return OrderedJson(value);
}
OrderedJson value_to_json(const std::optional<double>& value) {
  return value.has_value() ? OrderedJson(*value) : OrderedJson(nullptr);
}
OrderedJson value_to_json(const std::vector<SourceLoss>& sources) {
  OrderedJson list = OrderedJson::array();
  for (const SourceLoss& one : sources) list.push_back({{"source", one.source}, {"loss", one.loss}});
  return list;
}

template <typename Metrics>
OrderedJson to_json(const Metrics& metrics) {
  OrderedJson json;
  visit_fields(metrics, [&](const MetricsField& field, const auto& value) {
    json[field.name] = value_to_json(value);
  });
  return json;
}

void read_value(const Json& json, std::int64_t& value) {
  value = json.get<std::int64_t>();
}
/// JSON has no NaN: null stands for it.
void read_value(const Json& json, double& value) {
  value = json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}
void read_value(const Json& json, std::optional<double>& value) {
  value = json.is_null() ? std::nullopt : std::optional<double>(json.get<double>());
}
void read_value(const Json& json, SourceLoss& one) {
  one.source = json.at("source").get<std::string>();
  read_value(json.at("loss"), one.loss);
}
template <typename T>
void read_value(const Json& json, std::vector<T>& list) {
  list.clear();
  for (const Json& entry : json.get_ref<const Json::array_t&>()) read_value(entry, list.emplace_back());
}

/// What stands for a figure that a line lacks.
template <typename T>
void set_absent(T& /*value*/) {}  // lists and optionals are made empty, counts 0
void set_absent(double& value) {
  value = std::numeric_limits<double>::quiet_NaN();  // 0 would be a measurement
}

/// A run goes on with a newer program than began it, or an older one: a line may lack figures, and what it
/// has beside is not looked at.
template <typename Metrics>
Metrics from_json(const Json& json) {
  Metrics metrics;
  visit_fields(metrics, [&](const MetricsField& field, auto& value) {
    if (field.required || json.contains(field.name)) {
      read_value(json.at(field.name), value);
    } else {
      set_absent(value);
    }
  });
  return metrics;
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
  for (std::size_t number = 1; std::getline(in, line) && !in.eof(); ++number) {
    const std::string where = fmt::format("{}:{}", file.string(), number);
    const Json json = parse_json(line, where);
    try {
      if (json.contains("held_out_loss")) {
        on_eval(from_json<EvalMetrics>(json));
      } else {
        on_step(from_json<StepMetrics>(json));
      }
    } catch (const Json::exception& error) {
      fail("{}: not a line of metrics: {}", where, error.what());
    }
  }
}

}  // namespace fathom
