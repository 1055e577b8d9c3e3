#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/config.h"
#include "tensor/tensor.h"

namespace fathom {

/// A LoRA adapter (arXiv 2106.09685) as it lies in a file: W of some linear maps becomes W + factor · B · A.
struct AdapterFile {
  struct Part {
    std::string module;   // the map's name in the model: "model.layers.3.self_attn.q_proj"
    Tensor a;             // [rank, in], in the type it is stored in
    Tensor b;             // [out, rank]
    double factor = 1.0;  // lora_alpha / rank, or over its root with rslora
  };
  std::filesystem::path path;  // of the tensors
  std::vector<Part> parts;
};

/// Reads the folder that PEFT's `save_pretrained` writes: adapter_config.json and adapter_model.safetensors.
/// Experts may be stacked, as newer versions have them (model/stacked_experts.h): they are taken apart.
/// Throws `Error` naming file and field or tensor for what is no plain LoRA (DoRA, biases, whole modules,
/// other methods), for a matrix without its partner, and for ranks that do not fit together.
AdapterFile read_adapter(const std::filesystem::path& folder, const ModelConfig& config);

}  // namespace fathom
