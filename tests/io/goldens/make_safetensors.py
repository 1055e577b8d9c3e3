"""Writes files with the safetensors library, for tests/io: every element type in one file, and a sharded folder as
`huggingface_hub` saves a model.

Values: element i of a tensor is i - 3 (unsigned types: i), so that the test can compute them.

usage: python make_safetensors.py   (needs torch, safetensors, huggingface_hub)
"""

import pathlib

import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


def counted(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    count = torch.Size(shape).numel()
    first = 0 if dtype in (torch.uint8, torch.bool) else -3
    return torch.arange(first, first + count, dtype=torch.float32).to(dtype).reshape(shape)


def main() -> None:
    tensors = {
        "f32": counted((2, 3), torch.float32),
        "bf16": counted((5,), torch.bfloat16),
        "f16": counted((3, 1, 2), torch.float16),
        "e4m3": counted((2, 4), torch.float8_e4m3fn),
        "e5m2": counted((7,), torch.float8_e5m2),
        "i64": counted((4,), torch.int64),
        "i32": counted((4,), torch.int32),
        "u8": counted((3,), torch.uint8),
        "f64": counted((2,), torch.float64),
        "bool": counted((2,), torch.bool),
        "scalar": counted((), torch.float32),
        "empty": counted((0, 4), torch.float32),
        "名前.weight": counted((1, 2), torch.float32),
    }
    save_file(tensors, HERE / "types.safetensors", metadata={"format": "pt", "note": "a \"quoted\"\nline"})

    model = {f"model.layers.{i}.weight": counted((4, 4 + i), torch.float32) for i in range(3)}
    model["lm_head.weight"] = counted((3, 4), torch.bfloat16)
    (HERE / "sharded").mkdir(exist_ok=True)
    save_torch_state_dict(model, HERE / "sharded", max_shard_size=150)


main()
