#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fathom::test {

/// What transformers makes of a prompt with a checkpoint of tests/infer/goldens (make_tiny_checkpoint.py,
/// make_tiny_fp8_checkpoint.py), or with tiny_f32 and an adapter (make_tiny_lora.py).
struct TinyExpectation {
  std::string prompt;
  std::vector<std::int32_t> ids;
  std::vector<std::optional<double>> logprobs;
  double perplexity = 0;
  std::vector<std::int32_t> answer_ids;  // greedy
  std::string answer;
};

/// "tiny_f32" (one file), "tiny_bf16" (three shards) or "tiny_fp8" (E4M3 with partial blocks, tied head); of
/// adapters "tiny_lora" (experts stacked) or "tiny_lora_experts" (the same with experts of their own).
std::filesystem::path tiny_checkpoint(const std::string& name);
std::vector<TinyExpectation> tiny_expectations(const std::string& name);

/// A copy that a test may spoil.
std::filesystem::path copy_tiny_checkpoint(const std::string& name, const std::filesystem::path& into);

/// Sets one key of a copy's config.json. @param value  JSON
void set_config_key(const std::filesystem::path& folder, const std::string& key, const std::string& value);

/// Overwrites the first value of a tensor of a copy of tiny_f32.
void set_first_value(const std::filesystem::path& folder, const std::string& tensor, float value);

}  // namespace fathom::test
