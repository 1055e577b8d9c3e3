#!/usr/bin/env python3
"""Makes tiny_f32/ and tiny_bf16/ (sharded): a small DeepseekV3ForCausalLM with a byte-level BPE tokenizer, as
transformers saves them, and tiny_expected.json: what transformers computes with them. Needs torch,
transformers 5.24 and tokenizers; the output is deterministic.

The expectations for the bf16 folder are of its weights in f32 arithmetic, which is how Fathom runs them.
"""

import json
import pathlib
import shutil

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, PreTrainedTokenizerFast

FOLDER = pathlib.Path(__file__).parent
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
CORPUS = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox runs home.",
    "It was the best of times, it was the worst of times, it was the age of wisdom.",
    "In the beginning there was the word, and the word was a token of 4096 bytes.",
    "Größe, café, naïve, 北京, 東京, здравствуй, 🙂🚀 and other text beyond ASCII.",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))\n",
]
PROMPTS = ["The quick brown fox", "It was the best of times, it was", "Größe 北京 🙂", "x"]
NEW_TOKENS = 24


def make_tokenizer():
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=EOS)


def make_model(vocab_size, seed, **overrides):
    sizes = dict(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=48,
        moe_intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_nope_head_dim=8,
        qk_rope_head_dim=8,
        v_head_dim=8,
        first_k_dense_replace=1,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        n_group=2,
        topk_group=1,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
        num_nextn_predict_layers=0,
    )
    config = DeepseekV3Config(**(sizes | overrides))
    torch.manual_seed(seed)
    model = DeepseekV3ForCausalLM(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            # Far wider than an initialisation: answers that are not all alike, logits that are not near ties.
            std = 1.0 if "embed_tokens" in name else 1.5 / value.shape[-1] ** 0.5
            value.normal_(1.0, 0.2) if value.dim() == 1 else value.normal_(0.0, std)
        for name, value in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                value.normal_(0.0, 0.1)
        # Token 1 ends a text: it must not come up before the expected answers are long enough.
        model.lm_head.weight[1] = 0.0
    return model


def expectations(model, tokenizer):
    """None when an answer hangs by a hair."""
    results = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"]
        with torch.no_grad():
            log_probabilities = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            answer = list(ids)
            margin = float("inf")
            for _ in range(NEW_TOKENS):
                best = model(torch.tensor([answer])).logits[0, -1].topk(2)
                margin = min(margin, (best.values[0] - best.values[1]).item())
                answer.append(best.indices[0].item())
        if margin < 5e-3:
            return None  # f32 in another order of summation might choose otherwise
        logprobs = [log_probabilities[i, ids[i + 1]].item() for i in range(len(ids) - 1)]
        results.append(
            {
                "prompt": prompt,
                "ids": ids,
                "logprobs": [None] + logprobs,
                "perplexity": float(torch.tensor(logprobs).double().mean().neg().exp()),
                "answer_ids": answer[len(ids) :],
                "answer": tokenizer.decode(answer[len(ids) :], skip_special_tokens=True),
            }
        )
    return results


def make(seed, tokenizer):
    """Writes the folders; False when an answer hangs by a hair with this seed."""
    model = make_model(len(tokenizer), seed)
    expected = {"made_by": "make_tiny_checkpoint.py"}
    for name, dtype, shard in [("tiny_f32", torch.float32, "5GB"), ("tiny_bf16", torch.bfloat16, "40KB")]:
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        model.to(dtype).save_pretrained(folder, max_shard_size=shard)
        tokenizer.save_pretrained(folder)
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        expected[name] = expectations(loaded.eval(), tokenizer)
        if expected[name] is None:
            return False
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (FOLDER / "tiny_expected.json").write_text(text + "\n", encoding="utf-8")
    return True


def main():
    tokenizer = make_tokenizer()
    next(seed for seed in range(100) if make(seed, tokenizer))


if __name__ == "__main__":
    main()
