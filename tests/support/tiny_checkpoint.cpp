#include "support/tiny_checkpoint.h"

#include <array>
#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "support/shared_data.h"

namespace fathom::test {

namespace fs = std::filesystem;

fs::path tiny_checkpoint(const std::string& name) {
  return golden("infer/goldens") / name;
}

std::vector<TinyExpectation> tiny_expectations(const std::string& name) {
  std::vector<TinyExpectation> expectations;
  const std::string file = name == "tiny_fp8" || name == "tiny_lora" ? name : "tiny";
  const Json expected = read_json_file(golden("infer/goldens/" + file + "_expected.json"));
  for (const Json& json : expected.at(name)) {
    TinyExpectation& one = expectations.emplace_back();
    one.prompt = json.at("prompt");
    one.ids = json.at("ids").get<std::vector<std::int32_t>>();
    for (const Json& value : json.at("logprobs"))
      one.logprobs.push_back(value.is_null() ? std::nullopt : std::optional<double>(value.get<double>()));
    one.perplexity = json.at("perplexity");
    one.answer_ids = json.at("answer_ids").get<std::vector<std::int32_t>>();
    one.answer = json.at("answer");
  }
  return expectations;
}

fs::path copy_tiny_checkpoint(const std::string& name, const fs::path& into) {
  fs::path copy = into / name;
  fs::copy(tiny_checkpoint(name), copy, fs::copy_options::recursive);
  return copy;
}

void set_config_key(const fs::path& folder, const std::string& key, const std::string& value) {
  Json config = read_json_file(folder / "config.json");
  config[key] = Json::parse(value);
  std::ofstream(folder / "config.json") << config.dump(1);
}

void set_first_value(const fs::path& folder, const std::string& tensor, float value) {
  static_assert(std::endian::native == std::endian::little);
  std::fstream file(folder / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  std::uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), sizeof(header_bytes));
  std::string header(header_bytes, ' ');
  file.read(header.data(), static_cast<std::streamsize>(header.size()));
  const std::uint64_t offset = Json::parse(header).at(tensor).at("data_offsets").at(0);
  file.seekp(static_cast<std::streamoff>(sizeof(header_bytes) + header_bytes + offset));
  file.write(reinterpret_cast<const char*>(&value), sizeof(value));
  require(file.good(), "{}: cannot change {}", folder.string(), tensor);
}

}  // namespace fathom::test
