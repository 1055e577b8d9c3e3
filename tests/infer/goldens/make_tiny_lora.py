#!/usr/bin/env python3
"""Makes tiny_lora/, an adapter of tiny_f32 as PEFT saves it (rank-stabilised, on every linear map, with a rank of
its own for some), tiny_lora_experts/, what comes of it when the experts' stacked matrices are taken apart as
older versions have them, and tiny_lora_expected.json: what PEFT computes with tiny_f32 and it. Needs torch,
transformers 5.24 and peft 0.21; the output is deterministic."""

import json
import pathlib
import shutil

import torch
from make_tiny_checkpoint import FOLDER, PROMPTS, expectations
from peft import LoraConfig, get_peft_model
from peft.utils import transformers_weight_conversion
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

LINEAR = ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


# PEFT takes gate_proj and its like to mean the stacked experts alone; here they mean dense and shared ones, too.
transformers_weight_conversion._MOE_TARGET_MODULE_MAPPING.clear()


def make(seed):
    model = AutoModelForCausalLM.from_pretrained(
        FOLDER / "tiny_f32", dtype=torch.float32, attn_implementation="eager"
    )
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tiny_f32")
    config = LoraConfig(
        r=2,
        lora_alpha=3,
        use_rslora=True,
        rank_pattern={"q_b_proj": 3, "layers.1.self_attn.kv_b_proj": 4},
        alpha_pattern={"o_proj": 5},
        target_modules=LINEAR,
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_" in name:
                value.normal_(0.0, 0.5 / value.shape[-1] ** 0.5)
    expected = expectations(adapted, tokenizer)
    if expected is None:
        return False
    folder = FOLDER / "tiny_lora"
    shutil.rmtree(folder, ignore_errors=True)
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    saved = folder / "adapter_config.json"
    settings = json.loads(saved.read_text())
    settings["base_model_name_or_path"] = "tiny_f32"
    for key in ("target_modules", "target_parameters"):
        settings[key] = sorted(settings[key])
    saved.write_text(json.dumps(settings, indent=2) + "\n")
    take_experts_apart(folder, FOLDER / "tiny_lora_experts", model.config)
    text = json.dumps({"made_by": "make_tiny_lora.py", "tiny_lora": expected}, ensure_ascii=False, indent=1)
    (FOLDER / "tiny_lora_expected.json").write_text(text + "\n", encoding="utf-8")
    return True


def take_experts_apart(stacked, folder, config):
    """gate_up_proj and down_proj of all experts as gate_proj, up_proj and down_proj of each."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stacked, folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    experts, inner = config.n_routed_experts, config.moe_intermediate_size
    for name in [name for name in tensors if ".mlp.experts." in name and "lora_A" in name]:
        a = tensors.pop(name)
        b = tensors.pop(name.replace("lora_A", "lora_B"))
        module = name.split(".mlp.experts.")[0] + ".mlp.experts"
        a = a.reshape(experts, -1, a.shape[-1])
        b = b.reshape(b.shape[0], -1, experts)
        parts = {"down_proj": slice(None)}
        if b.shape[0] == 2 * inner:
            parts = {"gate_proj": slice(0, inner), "up_proj": slice(inner, None)}
        for expert in range(experts):
            for part, rows in parts.items():
                tensors[f"{module}.{expert}.{part}.lora_A.weight"] = a[expert].contiguous().clone()
                tensors[f"{module}.{expert}.{part}.lora_B.weight"] = b[rows, :, expert].contiguous().clone()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    saved = folder / "adapter_config.json"
    settings = json.loads(saved.read_text())
    settings["target_parameters"] = None
    saved.write_text(json.dumps(settings, indent=2) + "\n")


def main():
    next(seed for seed in range(100) if make(seed))


if __name__ == "__main__":
    main()
