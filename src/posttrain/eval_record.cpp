#include "posttrain/eval_record.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "posttrain/line_file.h"

namespace fathom {
namespace {

constexpr const char* kEvalKey = "fathom_eval";
constexpr int kEvalVersion = 1;

OrderedJson settings_to_json(const EvalSettings& settings) {
  return {{kEvalKey, kEvalVersion},
          {"model", settings.model},
          {"fingerprint", settings.fingerprint},
          {"split", settings.split},
          {"seed", settings.seed},
          {"format", settings.format},
          {"prefix", settings.prefix},
          {"temperature", settings.temperature},
          {"top_p", settings.top_p},
          {"max_tokens", settings.max_tokens},
          {"think_tokens", settings.think_tokens}};
}

EvalSettings settings_of_json(const Json& json) {
  return {.model = json.at("model"),
          .fingerprint = json.at("fingerprint"),
          .split = json.at("split"),
          .seed = json.at("seed"),
          .format = json.at("format"),
          .prefix = json.at("prefix"),
          .temperature = json.at("temperature"),
          .top_p = json.at("top_p"),
          .max_tokens = json.at("max_tokens"),
          .think_tokens = json.at("think_tokens")};
}

OrderedJson sample_to_json(const EvalSample& sample) {
  OrderedJson json = {{"task", sample.task},
                      {"index", sample.index},
                      {"sample", sample.sample},
                      {"id", sample.id},
                      {"question", sample.question},
                      {"reference", sample.reference},
                      {"text", sample.text},
                      {"tokens", sample.tokens},
                      {"reason", sample.reason},
                      {"thinking_cut", sample.was_cut},
                      {"accuracy", sample.reward.accuracy},
                      {"format", sample.reward.format},
                      {"language", sample.reward.language},
                      {"length", sample.reward.length},
                      {"extracted", sample.reward.extracted}};
  if (!sample.reward.explanation.empty()) json["explanation"] = sample.reward.explanation;
  return json;
}

EvalSample sample_of_json(const Json& json) {
  EvalSample sample;
  json.at("task").get_to(sample.task);
  json.at("index").get_to(sample.index);
  json.at("sample").get_to(sample.sample);
  json.at("id").get_to(sample.id);
  json.at("question").get_to(sample.question);
  json.at("reference").get_to(sample.reference);
  json.at("text").get_to(sample.text);
  json.at("tokens").get_to(sample.tokens);
  json.at("reason").get_to(sample.reason);
  json.at("thinking_cut").get_to(sample.was_cut);
  json.at("accuracy").get_to(sample.reward.accuracy);
  json.at("format").get_to(sample.reward.format);
  json.at("language").get_to(sample.reward.language);
  json.at("length").get_to(sample.reward.length);
  json.at("extracted").get_to(sample.reward.extracted);
  if (json.contains("explanation")) json.at("explanation").get_to(sample.reward.explanation);
  return sample;
}

/// Calls `read`, which takes fields of a line; what nlohmann says of a wrong one becomes an `Error`.
template <typename Read>
auto read_fields(const std::string& where, const Read& read) {
  try {
    return read();
  } catch (const Json::exception& error) {
    fail("{}: is not as `fathom eval` writes it: {}", where, printable(error.what()));
  }
}

/// Bytes up to the end of the last whole line.
std::int64_t whole_line_bytes(int descriptor, const std::string& name) {
  std::int64_t end = ::lseek(descriptor, 0, SEEK_END);
  require(end >= 0, "{}: {}", name, errno_text(errno));
  for (char c = 0; end > 0; --end) {
    require(::pread(descriptor, &c, 1, end - 1) == 1, "{}: cannot be read: {}", name, errno_text(errno));
    if (c == '\n') break;
  }
  return end;
}

void check_same_settings(const std::filesystem::path& file, const EvalSettings& there,
                         const EvalSettings& wanted) {
  const OrderedJson old = settings_to_json(there);
  const OrderedJson now = settings_to_json(wanted);
  for (const auto& [key, value] : now.items())
    require(key == "model" || old.at(key) == value,
            "{}: holds samples with {} {}, not {}: give another --output, or remove it", file.string(), key,
            old.at(key).dump(), value.dump());
}

}  // namespace

EvalRecord read_eval_record(const std::filesystem::path& file) {
  EvalRecord record;
  bool has_settings = false;
  bool was_cut = false;  // by a crash, which the last line alone can be
  std::string cut_where;
  for_each_line(file, [&](std::string_view text, const std::string& where) {
    require(!was_cut, "{}: is no JSON: was the file changed?", cut_where);
    Json json;
    try {
      json = parse_json(text, where);
    } catch (const Error&) {
      if (!has_settings) throw;
      was_cut = true;
      cut_where = where;
      return;
    }
    read_fields(where, [&] {
      if (has_settings) {
        record.samples.push_back(sample_of_json(json));
        return;
      }
      require(json.is_object() && json.contains(kEvalKey) && json.at(kEvalKey) == kEvalVersion,
              "{}: is no file of samples of `fathom eval` of this version", file.string());
      record.settings = settings_of_json(json);
      has_settings = true;
    });
  });
  require(has_settings, "{}: is empty, and no file of samples", file.string());
  return record;
}

EvalLog::EvalLog(const std::filesystem::path& file, const EvalSettings& settings) : file_(file) {
  std::error_code ignored;
  const bool is_there =
      std::filesystem::exists(file, ignored) && std::filesystem::file_size(file, ignored) > 0;
  if (is_there) {
    EvalRecord record = read_eval_record(file);
    check_same_settings(file, record.settings, settings);
    samples_ = std::move(record.samples);
    for (const EvalSample& sample : samples_) keys_.insert(sample.key());
  }
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  require(descriptor_ >= 0, "{}: cannot be opened for writing: {}", file.string(), errno_text(errno));
  require(::ftruncate(descriptor_, whole_line_bytes(descriptor_, file.string())) == 0,
          "{}: cannot be shortened: {}", file.string(), errno_text(errno));
  if (!is_there)
    write(settings_to_json(settings).dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

EvalLog::~EvalLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void EvalLog::append(EvalSample sample) {
  write(sample_to_json(sample).dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
  keys_.insert(sample.key());
  samples_.push_back(std::move(sample));
}

void EvalLog::write(std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = ::write(descriptor_, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "{}: cannot be written: {}", file_.string(), errno_text(errno));
    line.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace fathom
